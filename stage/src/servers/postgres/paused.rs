//! A Postgres that hangs, every process of it.

use std::fs;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// The processes of a server that have been stopped. Dropped, they go on.
#[must_use]
pub struct Paused {
    processes: Vec<Pid>,
}

impl Paused {
    /// Stops the postmaster, so that no process is added, and then its children.
    pub(super) fn new(postmaster: u32) -> Result<Self> {
        let mut paused = Self { processes: Vec::new() };
        paused.stop(Pid::from_raw(i32::try_from(postmaster).context("a pid beyond 2^31")?))?;
        for child in children(postmaster)? {
            paused.stop(child)?;
        }
        Ok(paused)
    }

    fn stop(&mut self, process: Pid) -> Result<()> {
        match signal::kill(process, Signal::SIGSTOP) {
            Ok(()) => self.processes.push(process),
            Err(Errno::ESRCH) => {} // it has ended meanwhile
            Err(error) => return Err(error).with_context(|| format!("stopping process {process}")),
        }
        Ok(())
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        for process in self.processes.drain(..) {
            if let Err(error) = signal::kill(process, Signal::SIGCONT) {
                eprintln!("stage: process {process} does not go on: {error}");
            }
        }
    }
}

/// The processes that this one has started.
pub(super) fn children(parent: u32) -> Result<Vec<Pid>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").context("listing processes")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default(); // one that has ended has none
        // The name in parentheses may hold anything; after it come the state and the parent.
        let of = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if of.is_some_and(|of| of == parent.to_string()) {
            children.push(Pid::from_raw(pid));
        }
    }
    Ok(children)
}

/// Whether a process does anything yet: one that has ended may be listed until somebody asks how.
pub(super) fn is_alive(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| !matches!(state, "Z" | "X"))
}
