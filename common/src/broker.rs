//! The brokers that can stand between Postgres and the invalidator: where they are, and how to get in.

#[cfg(feature = "nats")]
pub mod nats;
