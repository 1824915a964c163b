//! The library on real servers.

mod beside;
mod cache;
mod catalog;
mod envelope;
mod model;
mod replication;
mod row_json;
mod rules;
