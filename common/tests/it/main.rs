//! The library on real servers.

mod beside;
mod cache;
mod catalog;
mod model;
mod replication;
mod row_json;
mod rules;
