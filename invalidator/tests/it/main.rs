//! The invalidator on real servers: each test has a database, a slot, a Redis and a process of its own.

mod credentials;
mod faults;
mod gap;
mod house;
mod kafka;
mod kafka_relay;
mod life;
mod nats;
mod refusals;
mod slot;
