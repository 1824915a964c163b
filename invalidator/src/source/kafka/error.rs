//! Why a stream from Kafka cannot go on.

use freshline::{
    broker::kafka::{KafkaRefusal, is_refusal},
    coherence,
    dead_letters::DeadLetterError,
    fault::{Classified, Kind},
    primary::PrimaryError,
};
use rdkafka::error::KafkaError;

use crate::source::ahead::Ended;

/// Why a stream from Kafka cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum KafkaFailed {
    /// No broker let us in.
    #[error(transparent)]
    Refused(#[from] KafkaRefusal),
    /// Kafka refused something, or did not answer.
    #[error("Kafka failed while {doing}")]
    Kafka {
        /// What was asked.
        doing: &'static str,
        /// What it said.
        source: KafkaError,
    },
    /// A topic is not there.
    #[error("there is no topic {topic}")]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// The settings are none that the client takes.
    #[error("the Kafka client does not take its settings")]
    Settings(#[source] KafkaError),
    /// A topic has other partitions than when the stream began.
    #[error("the topics have {now} partitions, and had {before}")]
    Partitions {
        /// How many were assigned.
        before: usize,
        /// How many there are.
        now: usize,
    },
    /// The turn is lost.
    #[error(transparent)]
    Turn(#[from] PrimaryError),
    /// A message that cannot be used could not be kept; it is not acknowledged.
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// The primary crashed or was promoted.
    #[error("the primary's history changed from {from} to {to}")]
    SourceChanged {
        /// What the stream was of.
        from: coherence::Source,
        /// What the server is in now.
        to: coherence::Source,
    },
    /// The task that reads is gone.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl KafkaFailed {
    /// A failure while doing this.
    pub fn doing(doing: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }
}

impl Classified for KafkaFailed {
    fn kind(&self) -> Kind {
        match self {
            Self::Kafka { source, .. } if is_refusal(source) => Kind::Permanent,
            Self::Settings(_) => Kind::Permanent,
            Self::Refused(refusal) => refusal.kind(),
            Self::Turn(error) => error.kind(),
            Self::DeadLetters(error) => error.kind(),
            Self::Kafka { .. } | Self::NoTopic { .. } | Self::Partitions { .. } | Self::SourceChanged { .. } | Self::Ended(_) => {
                Kind::Transient
            }
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Kafka { source, .. } if is_refusal(source) => {
                Some("check FRESHLINE_KAFKA_USER and its rights: read on the topics, read on the group, describe on both".into())
            }
            Self::Refused(refusal) => refusal.remedy(),
            Self::Settings(_) => Some("check the FRESHLINE_KAFKA_ settings".into()),
            Self::NoTopic { .. } => Some("start the connector or relay, which makes it, or mend FRESHLINE_KAFKA_TOPICS".into()),
            Self::Turn(error) => error.remedy(),
            Self::DeadLetters(error) => error.remedy(),
            Self::Kafka { .. } | Self::Partitions { .. } | Self::SourceChanged { .. } | Self::Ended(_) => None,
        }
    }
}
