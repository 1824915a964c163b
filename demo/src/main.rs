//! The demonstration: plain SQL by a session that knows no cache, and the usual way (DEL on change, SET on a miss) beside Freshline, with
//! commits held in the gap. For the dashboard and the documentation; on loopback, on a database that is there for it, and nowhere else.

use std::process::ExitCode;

mod app;
mod clock;
mod config;
mod form;
mod hold;
mod page;
mod problem;
mod routes;
mod sql;
mod usual;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    freshline::service::run("freshline-demo", app::start)
}
