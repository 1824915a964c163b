//! `down`: the end of an `up` that was detached.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::checkout::{Place, Where};
use crate::state::State;
use crate::up::{clean, leftovers};

/// How long an `up` may take to stop everything in order: each program has its grace, then the servers.
const STOP_MAX: Duration = Duration::from_secs(120);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Stop everything that `cargo xtask up` started
#[derive(Debug, Clone, clap::Args)]
pub struct Down {
    #[command(flatten)]
    place: Where,
}

impl Down {
    /// Stops it in order and waits until nothing runs any more.
    pub async fn run(self) -> Result<ExitCode> {
        let place = self.place.place()?;
        if !place.is_up()? {
            return nothing(&place).await;
        }
        let state = State::read(&place)?.context("an `up` has only just begun: try again in a moment")?;
        state.supervisor.signal(Signal::SIGTERM)?;
        let deadline = tokio::time::Instant::now() + STOP_MAX;
        while place.is_up()? {
            if tokio::time::Instant::now() > deadline {
                bail!("`up` (pid {}) has not stopped after {STOP_MAX:?}: kill -9 it, then run this again", state.supervisor.pid);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        println!("Stopped.");
        Ok(ExitCode::SUCCESS)
    }
}

/// No `up` runs. One that was killed may have left something.
async fn nothing(place: &Place) -> Result<ExitCode> {
    if place.exists() {
        let _lock = place.lock().await?.context("an `up` has begun just now: run this again to stop it")?;
        leftovers::end(place).await?;
        clean(place)?;
    }
    println!("Nothing is up.");
    Ok(ExitCode::SUCCESS)
}
