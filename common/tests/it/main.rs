//! The library on real servers.

mod model;
mod replication;
mod row_json;
mod rules;
