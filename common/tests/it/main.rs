//! The library on real servers.

mod catalog;
mod model;
mod replication;
mod row_json;
mod rules;
