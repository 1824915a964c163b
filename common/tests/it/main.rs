//! The library on real servers.

mod replication;
