//! The library on real servers.

mod cache;
mod replication;
