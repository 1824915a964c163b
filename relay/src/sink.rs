//! Where messages go.

pub mod nats;

use freshline::{broker::nats::MessageId, coherence::Lsn};

/// The last message that is stored.
#[derive(Debug, Clone)]
pub struct Last {
    /// Its id, if it is one of ours.
    pub id: Option<MessageId>,
    /// Every commit that ends up to here is stored, where the message tells.
    pub position: Option<Lsn>,
}
