//! The control command on real servers: each test has a database, a slot, a Redis and an invalidator of its own.

mod dead_letters;
mod doctor;
mod explain;
mod house;
mod kafka;
mod nats;
mod plain;
mod status;
mod watch;
