//! Which process a pid meant: a number is given to another process sooner or later, its start is not.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// How long a process has to end after SIGTERM before it is killed.
const END_MAX: Duration = Duration::from_secs(30);

/// How often a process that is to end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One process of this machine, for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its process id.
    pub pid: u32,
    /// Which boot of the machine, and after how many clock ticks of it the process began.
    pub started: String,
}

impl Identity {
    /// The process that has this pid now.
    pub fn of(pid: u32) -> Result<Self> {
        let started = started(pid).with_context(|| format!("there is no process {pid}"))?;
        Ok(Self { pid, started })
    }

    /// Whether it still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        started(self.pid).as_ref() == Some(&self.started)
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.is_alive() {
            let pid = i32::try_from(self.pid).context("a pid beyond 2^31")?;
            signal::kill(Pid::from_raw(pid), signal).with_context(|| format!("sending {signal} to {pid}"))?;
        }
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it is still running after `bound`.
    pub async fn gone(&self, bound: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + bound;
        while self.is_alive() {
            if tokio::time::Instant::now() > deadline {
                bail!("process {} is still running after {bound:?}", self.pid);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Asks it to end, and kills it if it does not.
    pub async fn end(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        if self.gone(END_MAX).await.is_err() {
            self.signal(Signal::SIGKILL)?;
        }
        self.gone(END_MAX).await
    }
}

fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; after it come the state (field 3) and, as field 22, the start.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields.first(), None | Some(&("Z" | "X"))) {
        return None;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{}:{}", boot.trim(), fields.get(19)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_another_process_has_by_now_is_not_alive() {
        let me = Identity::of(std::process::id()).expect("we run");
        assert!(me.is_alive());
        let before = Identity { started: "another boot:1".into(), ..me };
        assert!(!before.is_alive());
        before.signal(Signal::SIGKILL).expect("it is left alone");
    }

    #[tokio::test]
    async fn a_process_that_hears_is_ended_and_its_end_is_seen() {
        let launch = stage::Launch::new("shell", "/bin/sh").argument("-c").argument("while :; do sleep 0.05; done");
        let process = stage::Process::start(launch).expect("it starts");
        let identity = Identity::of(process.pid()).expect("it runs");
        identity.end().await.expect("it ends");
        assert!(!identity.is_alive());
    }
}
