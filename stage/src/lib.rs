//! Real servers for tests, benches and `cargo xtask up`: private, on ports of their own, gone with the process that started them.
//!
//! - [`servers`] finds, installs, starts, stops and breaks Postgres and Redis;
//! - [`Stage`] is what a test stands on: a fresh database with the migrations applied, a Redis, the URLs of every login;
//! - [`Feed`] is what stands between its Postgres and an invalidator: nothing, the relay and NATS, or Debezium and Kafka;
//! - [`Process`] runs one of our own binaries and reads its log; [`Proxy`] stands before a server and misbehaves;
//! - [`Trust`] makes certificates for servers that speak TLS;
//! - [`RuleCutter`] stands before a Redis and takes rules out of the scripts, to show what they are for;
//! - [`until`] awaits a condition, so that no test has to sleep; [`seed`] is what a test chooses by that chooses at random.
//!
//! Nothing here outlives its owner: see `watchdog.rs` for what happens when the owner is killed with -9.

mod database;
mod feed;
mod process;
mod proxy;
mod random;
mod rule_cutter;
mod running;
mod seed;
pub mod servers;
mod stage;
mod trust;
mod until;
mod watchdog;

pub use database::{Login, migrate, set_password};
pub use feed::{Feed, Source};
pub use process::{Launch, Process, workspace_binary};
pub use proxy::{Fault, Proxy};
pub use random::Random;
pub use rule_cutter::{RuleCutter, rules_in};
pub use seed::{SEED_VARIABLE, new_seed, seed};
pub use stage::Stage;
pub use trust::Trust;
pub use until::{Probe, WAIT_MAX, until, until_within};
