//! The servers are real, private, break as told, and are gone with whoever started them.

mod kafka;
mod nats;
mod postgres;
mod process;
mod proxy;
mod redis;
mod rule_cutter;
mod stage;
mod watchdog;
