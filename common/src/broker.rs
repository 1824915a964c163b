//! The brokers that can stand between Postgres and the invalidator: where they are, and how to get in.

#[cfg(feature = "kafka")]
pub mod kafka;
mod message_id;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(all(feature = "kafka", feature = "nats"))]
mod source;

pub use message_id::{MessageId, NotOurs};
#[cfg(all(feature = "kafka", feature = "nats"))]
pub use source::{KafkaConfig, SourceConfig};
