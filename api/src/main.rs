//! The API: serves the catalogue's products from the cache, and writes them to Postgres only.

use std::process::ExitCode;

mod app;
mod body;
mod caching;
mod coding;
mod condition;
mod config;
mod cors;
mod events;
mod extract;
mod files;
mod front;
mod gauges;
mod headers;
mod health;
mod manage;
mod meter;
mod openapi;
mod page;
mod problem;
mod product;
mod read;
mod request_id;
mod routes;
mod services;
mod tally;
mod traced;
mod web;
mod write;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    freshline::service::run("freshline-api", app::start)
}
