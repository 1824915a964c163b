//! Private Postgres, Redis and broker servers: found, installed or fetched, started, stopped, and broken on purpose.
//!
//! They listen on 127.0.0.1 only. Postgres and Redis ask for a generated password, kept in files of mode 0600: a superuser of Postgres, or a Redis
//! that can be told where to write, runs commands as its user, and other people may be on this machine. `trust` would hand them that.

mod browser;
mod caddy;
mod certificates;
mod connect;
mod container_tools;
mod daemon;
mod fetched;
mod find;
mod home;
mod install;
mod java;
mod kafka;
mod nats;
mod nginx;
mod password;
pub mod port;
mod postgres;
mod prometheus;
mod redis;
mod schemathesis;
mod user;

use anyhow::Result;

pub use browser::{Browser, ensure_browser};
pub use caddy::Caddy;
pub use certificates::{Authority, Certificate};
pub use connect::{Connect, ConnectOptions, Connector, Topology};
pub use container_tools::{check_with_hadolint, compose_config, ensure_container_tools};
pub use daemon::Daemon;
pub use find::{PostgresBinaries, RedisBinary, postgres, postgres_of, redis as redis_binary};
pub use home::Home;
pub use install::{Missing, ensure, ensure_build_tools};
pub use kafka::{KAFKA_USER, Kafka, KafkaLogin, KafkaOptions, KafkaTls};
pub use nats::{NATS_USER, Nats, NatsLogin, NatsOptions};
pub use nginx::{NGINX_CACHE, Nginx};
pub use password::Passwords;
pub use postgres::{Paused, Postgres, PostgresOptions, Shutdown};
pub use prometheus::{Prometheus, check_with_promtool};
pub use redis::{Redis, RedisOptions};
pub use schemathesis::{ensure_schemathesis, schemathesis};
pub use user::ServerUser;

/// Sees to it that Prometheus and promtool are here.
///
/// # Errors
/// If they are missing and may not be installed: with one line that says what to do.
pub fn ensure_prometheus() -> Result<()> {
    install::ensure_all(&[Missing::Prometheus])
}

/// Sees to it that the servers of brokers are here: nats-server, Kafka and Debezium, and what fetches and runs them.
///
/// # Errors
/// If something is missing and may not be installed, or can't be fetched: with one line that says what to do.
pub fn ensure_brokers() -> Result<()> {
    nats::program()?;
    java::Java::with_kafka()?;
    java::debezium()?;
    Ok(())
}
