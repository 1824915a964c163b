//! Why nothing can be published to Kafka.

use std::time::Duration;

use freshline::{
    broker::kafka::{KafkaRefusal, TopicFault, is_refusal},
    fault::{Classified, Kind},
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why nothing can be published to Kafka.
#[derive(Debug, thiserror::Error)]
pub enum KafkaRefused {
    /// No broker let us in.
    #[error(transparent)]
    Refused(#[from] KafkaRefusal),
    /// The settings are none that the client takes.
    #[error("the Kafka client does not take its settings")]
    Settings(#[source] KafkaError),
    /// Kafka refused, or did not answer.
    #[error("Kafka failed while {doing}")]
    Kafka {
        /// What was asked.
        doing: &'static str,
        /// What it said.
        source: KafkaError,
    },
    /// The topic could not be made.
    #[error("the topic {topic} cannot be made")]
    Make {
        /// Its name.
        topic: String,
        /// What Kafka said.
        source: RDKafkaErrorCode,
    },
    /// The topic is not one that changes can be kept in.
    #[error("the topic {topic} is not fit for changes: {}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unfit {
        /// Its name.
        topic: String,
        /// What is wrong with it, each with what it has to be.
        faults: Vec<TopicFault>,
    },
    /// A record was not stored.
    #[error("a record was not stored")]
    NotStored(#[source] KafkaError),
    /// A record has not been stored in time; whether it will be is unknown.
    #[error("Kafka has not stored a record for {} s", waited.as_secs())]
    Late {
        /// How long it was waited for.
        waited: Duration,
    },
    /// A record was stored where others had been: the topic was made anew, or has lost its end.
    #[error("partition {partition} has gone back from offset {before} to {offset}")]
    WentBack {
        /// The partition.
        partition: i32,
        /// Where the record was stored.
        offset: i64,
        /// Where the one before it had been.
        before: i64,
    },
    /// The topic has other partitions than when the session began.
    #[error("the topic has other partitions than it had")]
    Partitions,
    /// A question was given up.
    #[error("a question to Kafka was given up")]
    Ended,
}

impl Classified for KafkaRefused {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(refusal) => refusal.kind(),
            Self::Settings(_) | Self::Unfit { .. } => Kind::Permanent,
            Self::Kafka { source, .. } | Self::NotStored(source) if is_refusal(source) => Kind::Permanent,
            Self::Make {
                source: RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
                ..
            }
            | Self::Make { source: RDKafkaErrorCode::InvalidTopic | RDKafkaErrorCode::PolicyViolation, .. } => Kind::Permanent,
            // What the slot still has is sent again.
            Self::Kafka { .. } | Self::Make { .. } | Self::NotStored(_) | Self::Late { .. } => Kind::Transient,
            Self::WentBack { .. } | Self::Partitions | Self::Ended => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.remedy(),
            Self::Settings(_) => Some("check the FRESHLINE_KAFKA_ settings".to_owned()),
            Self::Kafka { source, .. } | Self::NotStored(source) if is_refusal(source) => Some(
                "check FRESHLINE_KAFKA_USER and its rights on the topic: describe, describe configs, read, write, and create if \
                 the relay is to make it"
                    .to_owned(),
            ),
            Self::Make { topic, .. } => Some(format!(
                "give this user the right to create topics, or make {topic} with cleanup.policy=delete and a retention.ms that is \
                 longer than the invalidator may be down"
            )),
            Self::Unfit { topic, .. } => Some(format!(
                "mend it with `kafka-configs.sh --alter --entity-type topics --entity-name {topic}`, or name another topic in \
                 FRESHLINE_KAFKA_TOPIC: the relay makes it"
            )),
            Self::Kafka { .. } => Some("check FRESHLINE_KAFKA_BROKERS, and that brokers listen there".to_owned()),
            Self::NotStored(_) | Self::Late { .. } | Self::WentBack { .. } | Self::Partitions | Self::Ended => None,
        }
    }
}
