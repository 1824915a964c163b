//! The library on real servers.

mod model;
mod replication;
