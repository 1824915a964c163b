//! `up`: everything on this machine, from nothing to running, and back to nothing.

mod build;
mod console;
mod detach;
mod greeting;
pub mod leftovers;
mod ports;
mod programs;
pub mod ready;
mod servers;
mod supervisor;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::checkout::{Place, Where};
use crate::seed;
use crate::state::{Source, State};
use console::say;
use programs::Programs;
use servers::Servers;
use supervisor::Supervisor;

/// Signals this close together are one: `timeout`, for one, sends its signal to the process and then to its group.
const SAME_SIGNAL_MAX: Duration = Duration::from_secs(1);

/// What a shell answers for a command that was ended by SIGINT.
const STOPPED_AT_ONCE: i32 = 130;

/// Start Postgres, Redis, a broker if asked for, the API replicas, the invalidator and one warm run; Ctrl-C stops everything
#[derive(Debug, Clone, clap::Args)]
pub struct Up {
    /// How many API replicas to start
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    api: u16,
    /// Where the first API replica is to listen, and the others after it; a taken port is passed over
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    port: u16,
    /// How many products the catalogue is to have: fifteen that look real, the others generated
    #[arg(long, value_name = "N", default_value_t = seed::ROWS_DEFAULT, value_parser = seed::rows())]
    rows: u64,
    /// Where the invalidator takes changes from; a broker's servers are started too
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t = Source::Postgres)]
    source: Source,
    /// Use this Postgres instead of a private one, as a user who may create roles: its schema is migrated and, if empty, seeded
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Use this Redis instead of a private one
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// Leave out the demonstration, which changes rows by plain SQL and holds commits; on servers that were given it never runs
    #[arg(long)]
    no_demo: bool,
    /// Remove the data of the private instances first
    #[arg(long)]
    fresh: bool,
    /// Return when all is ready; `cargo xtask down` stops it
    #[arg(long)]
    detach: bool,
    /// Take the programs from this directory, such as target/release, instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
    /// Where this `up` writes what it says: it is the one that `--detach` started.
    #[arg(long, hide = true, value_name = "FILE")]
    detached_log: Option<PathBuf>,
}

impl Up {
    /// Runs until it is stopped by SIGINT, SIGTERM or SIGHUP; with `--detach` until all is ready.
    pub async fn run(self) -> Result<ExitCode> {
        let place = self.place.place()?;
        place.make()?;
        let Some(lock) = place.lock().await? else { bail!(already_up(&place)?) };
        if self.detach {
            drop(lock); // the one in the background takes it
            return detach::run(&place).await;
        }
        let stop = CancellationToken::new();
        let outcome = tokio::select! {
            outcome = self.until_stopped(&place, &stop) => outcome,
            Err(error) = stop_twice(&stop) => Err(error),
        };
        clean(&place)?;
        drop(lock); // last: whoever waits for it finds nothing running
        outcome.map(|()| ExitCode::SUCCESS)
    }

    /// Whether the demonstration runs: on private servers alone.
    fn shows(&self) -> bool {
        !self.no_demo && self.database_url.is_none() && self.redis_url.is_none()
    }

    async fn until_stopped(&self, place: &Place, stop: &CancellationToken) -> Result<()> {
        leftovers::end(place).await?;
        let state = State::begun(self.detached_log.clone())?;
        state.write(place)?;
        let Some(prepared) = stop.run_until_cancelled(self.prepare(place)).await else { return Ok(()) };
        let (servers, programs) = prepared?;
        let mut supervisor = Supervisor::start(place, state, servers, programs).await?;
        let outcome = supervisor.run(stop).await;
        supervisor.stop().await?;
        outcome
    }

    /// All that comes before the first of our programs starts.
    async fn prepare(&self, place: &Place) -> Result<(Servers, Programs)> {
        let directory = match &self.programs {
            Some(directory) => std::path::absolute(directory).with_context(|| format!("resolving {}", directory.display()))?,
            None => build::workspace().await?,
        };
        let servers = Servers::start(place, self).await?;
        let seeded = seed::fill(&servers.postgres_urls().superuser, self.rows, |line| say("up", line)).await?;
        say("up", &seeded);
        let programs = Programs::plan(self, place, &servers, directory)?;
        Ok((servers, programs))
    }
}

/// The first signal cancels `stop`. A second one ends this process at once: watchdogs end the rest, within ten seconds, and the next
/// `up` makes sure that they did.
async fn stop_twice(stop: &CancellationToken) -> Result<()> {
    stop_signal().await?;
    say("up", "stopping everything in order; once more to be rid of it at once");
    stop.cancel();
    tokio::time::sleep(SAME_SIGNAL_MAX).await;
    stop_signal().await?;
    std::process::exit(STOPPED_AT_ONCE);
}

async fn stop_signal() -> Result<()> {
    let hear = |kind| signal(kind).context("listening for signals");
    let (mut interrupt, mut terminate, mut hangup) =
        (hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?, hear(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

fn already_up(place: &Place) -> Result<String> {
    let pid = State::read(place)?.map_or("not known yet".to_owned(), |state| state.supervisor.pid.to_string());
    Ok(format!("it is up already (pid {pid}): `cargo xtask status` shows it, `cargo xtask down` stops it"))
}

/// Removes what says that something is running.
pub fn clean(place: &Place) -> Result<()> {
    for name in servers::URL_FILES {
        crate::state::remove(place, name)?;
    }
    State::remove(place)
}
