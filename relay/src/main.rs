//! The relay: publishes the changes of Postgres to a broker, for invalidators that read from there.

use std::process::ExitCode;

mod app;
mod config;
mod session;
mod sink;
mod transaction;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    freshline::service::run("freshline-relay", app::start)
}
