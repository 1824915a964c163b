//! The library on real servers.

mod cache;
mod model;
mod replication;
