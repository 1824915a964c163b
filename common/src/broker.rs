//! How to reach a broker: the settings that every process that talks to one has in common.

#[cfg(feature = "kafka")]
pub mod kafka;
