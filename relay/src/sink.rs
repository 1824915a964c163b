//! Where messages go: the choice of a broker, and what the two have in common.

pub mod kafka;
pub mod nats;

use freshline::{
    broker::MessageId,
    coherence::Lsn,
    envelope::{Record, decode},
    fault::{Classified, Kind},
};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::{
    kafka::{Kafka, KafkaRefused, ToKafka},
    nats::{Nats, NatsError, ToNats},
};
use crate::transaction::Letter;

/// Which broker, and where.
#[derive(Debug, Clone)]
pub enum To {
    /// A stream of NATS JetStream.
    Nats(ToNats),
    /// A topic of Kafka.
    Kafka(ToKafka),
}

/// A broker that is published to. What it stores is a beginning of what it is sent, without gaps, in each of its partitions.
pub enum Sink {
    /// A stream of NATS JetStream.
    Nats(Box<Nats>),
    /// A topic of Kafka.
    Kafka(Kafka),
}

/// Done when a message is stored, and all before it in its partition.
pub type Stored = BoxFuture<'static, Result<(), SinkError>>;

/// Why messages cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// NATS takes none.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// Kafka takes none.
    #[error(transparent)]
    Kafka(#[from] KafkaRefused),
    /// What was published to is not any more what it was.
    #[error("the broker is lost, or what is published to has changed")]
    Lost,
}

impl SinkError {
    /// Whether it shows that messages are gone that had been stored. The end of what is published to may look well all the same.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Kafka(KafkaRefused::WentBack { .. }))
    }
}

impl Classified for SinkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Nats(error) => error.kind(),
            Self::Kafka(error) => error.kind(),
            Self::Lost => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Nats(error) => error.remedy(),
            Self::Kafka(error) => error.remedy(),
            Self::Lost => None,
        }
    }
}

impl To {
    /// The name of the stream or topic.
    pub fn name(&self) -> &str {
        match self {
            Self::Nats(to) => &to.settings.stream,
            Self::Kafka(to) => &to.topic,
        }
    }

    /// Connects, makes the stream or topic if it is not there, and reads what it holds last.
    ///
    /// # Errors
    /// [`SinkError`].
    pub async fn connect(&self) -> Result<(Sink, Option<Last>), SinkError> {
        Ok(match self {
            Self::Nats(to) => {
                let (nats, last) = Nats::connect(to).await?;
                (Sink::Nats(Box::new(nats)), last)
            }
            Self::Kafka(to) => {
                let (kafka, last) = Kafka::connect(to).await?;
                (Sink::Kafka(kafka), last)
            }
        })
    }
}

impl Sink {
    /// The longest value that the broker takes.
    pub fn value_len_max(&self) -> usize {
        match self {
            Self::Nats(nats) => nats.value_len_max(),
            Self::Kafka(kafka) => kafka.value_len_max(),
        }
    }

    /// Cancelled when what is sent would no longer follow what was sent before.
    pub fn lost(&self) -> CancellationToken {
        match self {
            Self::Nats(nats) => nats.lost(),
            Self::Kafka(kafka) => kafka.lost(),
        }
    }

    /// What the slot need not have any more once this message is stored, with all before it.
    pub fn confirms(&self, letter: &Letter) -> Option<Lsn> {
        match self {
            Self::Nats(_) => letter.confirms,
            Self::Kafka(kafka) => kafka.confirms(letter),
        }
    }

    /// Sends a message. Waits while the broker's client has no room.
    ///
    /// # Errors
    /// [`SinkError`].
    pub async fn publish(&mut self, letter: Letter) -> Result<Stored, SinkError> {
        match self {
            Self::Nats(nats) => Ok(nats.publish(letter).await?),
            Self::Kafka(kafka) => Ok(kafka.publish(letter).await?),
        }
    }
}

/// The last message that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Its id, if it is one of ours.
    pub id: Option<MessageId>,
    /// Every commit that ends up to here is stored, where the message tells.
    pub position: Option<Lsn>,
}

impl Last {
    /// What a message says by its id and value.
    pub fn of(id: Option<&str>, value: Option<&[u8]>) -> Self {
        Self { id: id.and_then(|id| id.parse().ok()), position: position(value) }
    }
}

/// How far the log is stored, as its last message tells it.
fn position(value: Option<&[u8]>) -> Option<Lsn> {
    match decode(None, value).ok()? {
        Record::Change(envelope) => envelope.origin.end.filter(|_| envelope.origin.is_last),
        Record::Message(logical) => logical.origin.end.filter(|_| logical.origin.is_last),
        Record::End(boundary) => Some(boundary.position),
        Record::Heartbeat(heartbeat) => heartbeat.position,
        Record::Hole(hole) => Some(hole.position),
        Record::Begin(_) | Record::Tombstone => None,
    }
}
