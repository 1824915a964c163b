//! The relay: publishes the changes of Postgres to a broker, for invalidators that read from there.

use std::process::ExitCode;

use anyhow::Result;
use freshline::{
    config::Environment,
    shutdown::{self, drain},
};
use tokio_util::sync::CancellationToken;

mod app;
mod config;
mod primary;
mod session;
mod sink;
mod transaction;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--settings") => {
            let form = std::env::args().nth(2);
            print!("{}", freshline::config::listing(&config::settings(), form.as_deref()));
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("{other:?} is not taken: settings are variables, and --settings lists them");
            return ExitCode::from(2);
        }
    }
    let config = match config::load(&Environment) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(2);
        }
    };
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the relay ends: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever can fail without the runtime fails before it exists.
fn start(config: config::Config) -> Result<()> {
    // Two providers are in the tree, and rustls does not choose.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider was installed before");
    }
    config.logging.init()?;
    freshline::config::tell_unknown(&Environment);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(config))
}

async fn run(config: config::Config) -> Result<()> {
    let (stop, grace) = (CancellationToken::new(), config.grace);
    let app = app::App::build(config, &stop).await?;
    let mut tasks = app.spawn();
    let ended = tokio::select! {
        () = shutdown::requested() => None,
        Some(ended) = tasks.join_next() => Some(ended), // unasked: a failure, whatever it returned
    };
    stop.cancel();
    Ok(drain(tasks, grace, ended).await?)
}
