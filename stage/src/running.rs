//! A child process that is ours to end: in a process group of its own, and watched over in case we are killed.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::until::within;
use crate::watchdog::Watchdog;

/// How long a process that was killed with -9 may take to be gone.
const KILLED_MAX: Duration = Duration::from_secs(10);

/// How long a process that is dropped has to end by its signal before it is killed.
const DROPPED_MAX: Duration = Duration::from_secs(10);

/// How a process is ended when nobody did it in order: it was dropped, or we were killed.
#[derive(Debug, Clone)]
pub(crate) struct Orphaned {
    /// The signal it gets; SIGKILL after ten seconds.
    pub signal: Signal,
    /// A directory to remove once it has ended, if we were killed.
    pub scratch: Option<PathBuf>,
}

/// A running child. Dropped, it is ended as [`Orphaned`] says.
pub(crate) struct Running {
    child: Child,
    orphaned: Orphaned,
    watchdog: Option<Watchdog>,
    status: Option<ExitStatus>,
}

impl Running {
    /// Starts `command` in a process group of its own, so that a Ctrl-C in our terminal reaches only us.
    pub(crate) fn spawn(command: &mut Command, orphaned: Orphaned) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command.process_group(0).spawn().with_context(|| format!("starting {}", program.display()))?;
        let watchdog = Watchdog::over(child.id(), orphaned.signal, orphaned.scratch.as_deref());
        let mut running = Self { child, orphaned, watchdog: None, status: None };
        running.watchdog = Some(watchdog?); // if it failed, `running` ends the child here
        Ok(running)
    }

    /// Its process id. Another process may have it once this one's end has been seen by [`Self::ended`].
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output and error, where they were piped and not taken before.
    pub(crate) fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Sends it a signal. One that has ended already is left alone.
    ///
    /// SIGKILL goes to its whole group: who is ended by it can't end those that it has started, and nginx's do not end by themselves.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        let pid = Pid::from_raw(i32::try_from(self.pid()).context("a pid beyond 2^31")?);
        let send = if signal == Signal::SIGKILL { signal::killpg } else { signal::kill };
        send(pid, signal).with_context(|| format!("sending {signal} to {pid}"))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() && self.is_over() {
            self.watchdog = None; // before its pid is given back
            self.status = self.child.try_wait().context("asking how a child has ended")?;
        }
        Ok(self.status)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it is still running after `bound`.
    pub(crate) async fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let pid = self.pid();
        match within(bound, async || self.ended().transpose().ok_or("it is running")).await {
            Ok(status) => status,
            Err(_) => bail!("process {pid} is still running after {bound:?}"),
        }
    }

    /// Asks it to end by `signal`, and kills it with -9 when it has not done so after `bound`.
    pub(crate) async fn stop(&mut self, signal: Signal, bound: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        match self.wait(bound).await {
            Ok(status) => Ok(status),
            Err(_) => self.kill().await,
        }
    }

    /// Kills it with -9 and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait(KILLED_MAX).await
    }

    /// Whether it has ended without having been waited for. Seen in /proc rather than by waiting, which would free the pid.
    fn is_over(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // The name in parentheses may hold anything; the state is the first word after it.
        stat.rsplit(')').next().is_none_or(|rest| matches!(rest.trim_start().chars().next(), None | Some('Z' | 'X')))
    }

    /// Ends it from where nothing can be awaited.
    fn end_now(&mut self) -> Result<()> {
        for signal in [self.orphaned.signal, Signal::SIGCONT, Signal::SIGKILL] {
            self.signal(signal)?;
            let deadline = Instant::now() + if signal == Signal::SIGCONT { Duration::ZERO } else { DROPPED_MAX };
            while Instant::now() < deadline {
                if self.ended()?.is_some() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        bail!("process {} could not be killed", self.pid())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.end_now() {
            eprintln!("stage: {error:#}");
        }
    }
}
