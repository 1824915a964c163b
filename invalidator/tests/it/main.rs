//! The invalidator on real servers: each test has a database, a slot, a Redis and a process of its own.

mod credentials;
mod faults;
mod gap;
mod hands;
mod house;
mod kafka;
mod kafka_relay;
mod letters;
mod life;
mod nats;
mod reader;
mod refusals;
mod shards;
mod shelf;
mod slot;
mod suite;
mod tls;
