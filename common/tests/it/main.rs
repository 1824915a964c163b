//! The library on real servers.

mod catalog;
mod cache;
mod model;
mod replication;
mod row_json;
mod rules;
