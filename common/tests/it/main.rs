//! The library on real servers.

mod catalog;
mod model;
mod replication;
