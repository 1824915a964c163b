//! What keeps a comparison from its end.

use freshline::{coherence::LinkError, replication::ReplicationError, telemetry::chain};

use crate::hold::HoldError;

/// What keeps a comparison from its end. It is told to whoever asked for it, and to nobody else.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Postgres refused, or is away.
    #[error("Postgres did not do its part")]
    Sql(#[from] sqlx::Error),
    /// The consumer of the usual way has no stream.
    #[error("the change stream did not do its part")]
    Stream(#[from] ReplicationError),
    /// Redis refused, or is away.
    #[error("Redis did not do its part")]
    Redis(#[from] LinkError),
    /// There is no connection to Redis.
    #[error("there is no connection to Redis")]
    NoRedis,
    /// No commit is held.
    #[error("no commit is held")]
    Hold(#[from] HoldError),
    /// A replica cannot be asked.
    #[error("a replica of the API did not answer")]
    Api(#[from] reqwest::Error),
    /// A replica answered something else than the product.
    #[error("a replica of the API answered {status} without the product's price")]
    NoPrice {
        /// The status.
        status: u16,
    },
    /// Somebody deleted the row.
    #[error("the product is gone")]
    Gone,
    /// Something took longer than it ever should.
    #[error("{what} took longer than {} ms", .bound.as_millis())]
    Late {
        /// What.
        what: &'static str,
        /// How long it was given.
        bound: std::time::Duration,
    },
}

impl Failure {
    /// All that is known of it, in one line.
    pub fn detail(&self) -> String {
        chain(self)
    }
}
