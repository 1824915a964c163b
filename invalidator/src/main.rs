//! The invalidator: consumes the changes of Postgres and keeps the cache in Redis true.
//!
//! source → plan → apply → publish → acknowledge, one file each.

use std::process::ExitCode;

mod app;
mod applier;
mod apply;
mod config;
mod ledger;
mod plan;
mod poll;
mod publish;
mod redis_gauges;
mod session;
mod source;
mod told;
mod trail;
mod transaction;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    freshline::service::run("freshline-invalidator", app::start)
}
