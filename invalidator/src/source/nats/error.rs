//! Why a stream cannot be read on.

use freshline::{
    broker::nats::NatsRefusal,
    coherence,
    dead_letters::DeadLetterError,
    fault::{Classified, Kind},
    primary::PrimaryError,
};

use crate::source::ahead::Ended;

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum NatsFailed {
    /// There is no connection.
    #[error("NATS cannot be used")]
    Connect(#[source] NatsRefusal),
    /// There is no such stream.
    #[error("the stream {stream} is not there")]
    NoStream {
        /// Its name.
        stream: String,
    },
    /// The server refused something, or did not answer.
    #[error("NATS did not answer while {doing}")]
    Asking {
        /// What it was asked for.
        doing: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server has stopped sending.
    #[error("the stream is silent: not even a heartbeat came")]
    Silent(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection is lost.
    #[error("the connection to NATS is lost")]
    Lost,
    /// The session that has the turn is lost.
    #[error("the turn is lost")]
    Turn(#[from] PrimaryError),
    /// A message that cannot be used could not be kept.
    #[error("a dead letter cannot be kept")]
    DeadLetter(#[from] DeadLetterError),
    /// The primary crashed or was promoted.
    #[error("the primary's history changed from {from} to {to}")]
    SourceChanged {
        /// What it was.
        from: coherence::Source,
        /// What it is.
        to: coherence::Source,
    },
    /// The task that reads is gone.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl NatsFailed {
    pub(super) fn asking<E: std::error::Error + Send + Sync + 'static>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Asking { doing, cause: Box::new(cause) }
    }
}

impl Classified for NatsFailed {
    fn kind(&self) -> Kind {
        match self {
            Self::Connect(error) => error.kind(),
            Self::Turn(error) => error.kind(),
            Self::DeadLetter(error) => error.kind(),
            Self::NoStream { .. }
            | Self::Asking { .. }
            | Self::Silent(_)
            | Self::Lost
            | Self::SourceChanged { .. }
            | Self::Ended(_) => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.remedy(),
            Self::Turn(error) => error.remedy(),
            Self::DeadLetter(error) => error.remedy(),
            Self::NoStream { .. } => Some(
                "start freshline-relay, which makes it; or mend FRESHLINE_NATS_STREAM, which has to be the same for both".into(),
            ),
            Self::Asking { .. } => Some("check that this user may look at the stream, and make and delete its consumers".into()),
            Self::Silent(_) | Self::Lost | Self::SourceChanged { .. } | Self::Ended(_) => None,
        }
    }
}
