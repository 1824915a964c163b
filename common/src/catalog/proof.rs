//! What a write of Postgres proves.

use crate::coherence::{Lsn, Xid};

/// What a reader has to see in order to see a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteProof {
    /// The history in which the next two mean something.
    pub source: Box<str>,
    /// The transaction that wrote.
    pub xid: Xid,
    /// The log's insert position after the commit returned: the commit lies below it.
    pub lsn: Lsn,
}
