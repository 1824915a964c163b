//! Freshline keeps a Redis cache in front of Postgres true, from Postgres's own change stream.
//!
//! This library is what Freshline's processes share, and what other services use to read through the cache:
//!
//! - [`coherence`] decides, and does no I/O beyond calling its own scripts: snapshots, proofs, entries, fences, leases;
//! - [`cache`] is what a service calls: get or load one value, many, a list; tokens; the staleness bound;
//! - [`change`] and [`replication`] bring changes in, [`envelope`] through a broker; [`rules`] maps them to dependencies;
//! - [`broker`] connects to those who may stand between Postgres and the invalidator;
//! - [`check`] says what has to hold before changes are read; [`primary`] asks the primary what no stream tells; [`registry`] and [`trail`] tell people what runs, with its [`figures`], and what it does, by their [`clock`]s;
//! - [`explain`] tells all that is known of one key;
//! - [`dead_letters`] keeps what a source could not use;
//! - [`catalog`] is the reference application's product and its queries;
//! - [`breaker`] keeps calls from a server that does not answer; [`tls`] says why it is not trusted, and what to do;
//! - [`config`], [`telemetry`], [`retry`], [`shutdown`], [`server`], [`admin`], [`problem`], [`service`] are what every process needs around that.

pub mod admin;
pub mod breaker;
#[cfg(any(feature = "nats", feature = "kafka"))]
pub mod broker;
pub mod cache;
pub mod catalog;
pub mod change;
pub mod check;
pub mod clock;
pub mod coherence;
pub mod config;
pub mod dead_letters;
pub mod envelope;
pub mod explain;
pub mod fault;
pub mod figures;
mod places;
pub mod primary;
pub mod problem;
pub mod registry;
pub mod replication;
pub mod retry;
pub mod row_json;
pub mod rules;
pub mod server;
pub mod service;
pub mod shard;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod trail;
