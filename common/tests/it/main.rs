//! The library on real servers.

mod cache;
mod catalog;
mod envelope;
mod model;
mod replication;
mod row_json;
mod rules;
