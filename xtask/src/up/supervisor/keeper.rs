//! Keeps one program running: one that ended is started again, at once at first, then with growing pauses.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use stage::Process;

use crate::identity::Identity;
use crate::state::Member;
use crate::up::console::say;
use crate::up::programs::Program;
use crate::up::ready;

/// A program that ran this long has started well; its next end begins a new count.
const STEADY_AFTER: Duration = Duration::from_secs(20);

/// The longest pause before a start.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// One program and its process.
pub struct Keeper {
    program: Program,
    process: Process,
    since: Instant,
    /// How often in a row it has ended soon after its start.
    failures: u32,
    /// When it is to be started again; none while it runs.
    due: Option<Instant>,
}

impl Keeper {
    /// Starts it.
    pub fn start(program: Program) -> Result<Self> {
        let process = Process::start(program.launch.clone())?;
        Ok(Self { program, process, since: Instant::now(), failures: 0, due: None })
    }

    /// The name of its process.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Asks it whether it is ready.
    ///
    /// # Errors
    /// If it is not, with what it says is missing; or if another program answers in its place.
    pub async fn ready(&self, client: &reqwest::Client) -> Result<()> {
        let address = self.program.admin_address;
        ready::ask(client, address).await?;
        if !ready::listens(self.process.pid(), address.port()) {
            bail!("another program answers on {address}");
        }
        Ok(())
    }

    /// How often in a row it has ended soon after its start.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.process.tail()
    }

    /// It, as a process of the state.
    pub fn member(&self) -> Member {
        let identity = if self.due.is_none() { Identity::of(self.process.pid()).ok() } else { None };
        let Program { name, address, admin_address, log, .. } = self.program.clone();
        Member { name, identity, address, admin_address: Some(admin_address), log }
    }

    /// Notices that it has ended, and starts it again when it is time. Whether either happened.
    pub async fn look(&mut self) -> Result<bool> {
        match self.due {
            Some(due) if Instant::now() >= due => {
                self.process.restart().await?;
                (self.since, self.due) = (Instant::now(), None);
                say(self.name(), &format!("started again (pid {})", self.process.pid()));
                Ok(true)
            }
            Some(_) => Ok(false),
            None => self.notice_end(),
        }
    }

    fn notice_end(&mut self) -> Result<bool> {
        let Some(status) = self.process.ended()? else { return Ok(false) };
        let failures = if self.since.elapsed() > STEADY_AFTER { 1 } else { self.failures + 1 };
        let pause = pause(failures);
        (self.failures, self.due) = (failures, Some(Instant::now() + pause));
        let when = if pause.is_zero() { "now".to_owned() } else { format!("in {} s", pause.as_secs()) };
        say(self.name(), &format!("it ended ({status}); it is started again {when}"));
        Ok(true)
    }

    /// Asks it to stop and returns at once.
    pub fn ask_to_stop(&mut self) -> Result<()> {
        self.process.terminate()
    }

    /// Stops it; if it has not ended after `bound`, it is killed.
    pub async fn stop(&mut self, bound: Duration) -> Result<()> {
        let asked = Instant::now();
        let status = self.process.stop(bound).await?;
        let how = if asked.elapsed() >= bound {
            format!("killed: it had not stopped after {bound:?}")
        } else {
            format!("stopped ({status})")
        };
        say(self.name(), &how);
        Ok(())
    }
}

/// No pause after the first failure, then 1, 2, 4, 8, 10 s.
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => PAUSE_MAX.min(Duration::from_secs(1 << (more - 2).min(6))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    use stage::Launch;

    fn program(script: &str) -> Program {
        Program {
            name: "program".into(),
            launch: Launch::new("program", "/bin/sh").argument("-c").argument(script),
            address: None,
            admin_address: SocketAddr::from(([127, 0, 0, 1], 1)),
            log: "/dev/null".into(),
        }
    }

    #[tokio::test]
    async fn a_program_that_was_killed_is_started_again_and_its_new_pid_is_known() {
        let mut keeper = Keeper::start(program("while :; do sleep 0.05; done")).expect("it starts");
        let before = keeper.member().identity.expect("it runs");
        before.signal(nix::sys::signal::Signal::SIGKILL).expect("it is killed");
        stage::until("its end is noticed", async || keeper.look().await).await;
        assert_eq!(keeper.member().identity, None);
        stage::until("it is started again", async || keeper.look().await).await;
        let after = keeper.member().identity.expect("it runs again");
        assert!(after != before && after.is_alive());
    }

    #[tokio::test]
    async fn a_program_that_always_ends_is_started_with_growing_pauses() {
        let mut keeper = Keeper::start(program("echo refused; exit 3")).expect("it starts");
        for failures in 1..=2 {
            stage::until("its end is noticed", async || keeper.look().await.map(|_| keeper.failures() == failures)).await;
        }
        assert!(keeper.due.is_some_and(|due| due > Instant::now()), "the second start has to wait");
        assert!(keeper.log_tail().contains("refused"));
        let pauses: Vec<u64> = (1..=7).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 10, 10]);
    }
}
