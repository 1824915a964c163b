//! The library on real servers.

mod replication;
mod row_json;
mod rules;
