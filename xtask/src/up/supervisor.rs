//! Keeps programs and servers running until told to stop, then stops them in order.

mod keeper;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use stage::Process;
use tokio_util::sync::CancellationToken;

use super::console::say;
use super::greeting;
use super::programs::Programs;
use super::servers::Servers;
use crate::checkout::Place;
use crate::identity::Identity;
use crate::state::{Member, State};
use crate::tail::Tail;
use keeper::Keeper;

/// How often processes and logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long everything may take to be ready.
const READY_MAX: Duration = Duration::from_secs(90);

/// How often a program may end before it was ever ready: then it won't be, and its log says why.
const FAILED_STARTS_MAX: u32 = 3;

/// How long a program may take to stop in order before it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Everything that runs. Dropped, it stops too, each process for itself.
pub struct Supervisor<'a> {
    place: &'a Place,
    state: State,
    warm: Option<Process>, // programs before servers: they are dropped in this order
    keepers: Vec<Keeper>,
    programs: Programs,
    servers: Servers,
    server_logs: Vec<(String, Tail)>,
}

impl<'a> Supervisor<'a> {
    /// Starts the programs.
    pub async fn start(place: &'a Place, mut state: State, servers: Servers, programs: Programs) -> Result<Self> {
        state.postgres = Some(servers.postgres_urls().clone());
        state.redis = Some(servers.redis_urls().clone());
        (state.source, state.broker) = (Some(servers.broker().source()), servers.broker().address());
        let keepers = programs.kept.iter().cloned().map(Keeper::start).collect::<Result<_>>()?;
        let members = servers.members().await?;
        let server_logs = members.iter().map(|member| (member.name.clone(), Tail::from_start(&member.log))).collect();
        let mut supervisor = Self { place, state, warm: None, keepers, programs, servers, server_logs };
        supervisor.write_down().await?;
        Ok(supervisor)
    }

    /// Runs until `stop`. It may be dropped at any await.
    ///
    /// # Errors
    /// If the programs don't become ready.
    pub async fn run(&mut self, stop: &CancellationToken) -> Result<()> {
        let Some(ready) = stop.run_until_cancelled(self.until_ready()).await else { return Ok(()) };
        ready?;
        self.warm = Some(Process::start(self.programs.warm.clone())?);
        self.write_down().await?;
        greeting::print(self.place, &self.state).await?;
        self.state.ready = true;
        self.write_down().await?; // only now: whoever started this in the background shows what was printed so far
        stop.run_until_cancelled(self.watch()).await.unwrap_or(Ok(()))
    }

    /// Stops the programs in order, each awaited, then the servers.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(warm) = &mut self.warm {
            warm.stop(STOP_MAX).await?;
        }
        for keeper in &mut self.keepers {
            keeper.ask_to_stop()?; // all at once: each may take its whole grace
        }
        for keeper in &mut self.keepers {
            keeper.stop(STOP_MAX).await?;
        }
        self.servers.stop().await?;
        self.print_server_logs()
    }

    async fn until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        let client = reqwest::Client::new();
        loop {
            let Err(reason) = self.all_ready(&client).await else { return Ok(()) };
            if let Some(keeper) = self.keepers.iter().find(|keeper| keeper.failures() >= FAILED_STARTS_MAX) {
                bail!(
                    "{} ended {FAILED_STARTS_MAX} times before it was ready. Its log ends:\n{}",
                    keeper.name(),
                    keeper.log_tail()
                );
            }
            if Instant::now() > deadline {
                return Err(reason.context(format!("not ready after {READY_MAX:?}")));
            }
            self.look().await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn all_ready(&self, client: &reqwest::Client) -> Result<()> {
        for keeper in &self.keepers {
            keeper.ready(client).await.with_context(|| format!("{} is not ready", keeper.name()))?;
        }
        Ok(())
    }

    async fn watch(&mut self) -> Result<()> {
        loop {
            self.look().await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts again what has ended, and prints what the servers logged.
    async fn look(&mut self) -> Result<()> {
        let mut changed = self.servers.mend().await?;
        for keeper in &mut self.keepers {
            changed |= keeper.look().await?;
        }
        if let Some(warm) = &mut self.warm
            && let Some(status) = warm.ended()?
        {
            say("warmer", &format!("the warm run is over ({status})"));
            (self.warm, changed) = (None, true);
        }
        if changed {
            self.write_down().await?;
        }
        self.print_server_logs()
    }

    fn print_server_logs(&mut self) -> Result<()> {
        for (name, log) in &mut self.server_logs {
            for line in log.lines().with_context(|| format!("reading the log of {name}"))? {
                say(name, &line);
            }
        }
        Ok(())
    }

    async fn write_down(&mut self) -> Result<()> {
        let mut members: Vec<Member> = self.keepers.iter().map(Keeper::member).collect();
        let warm = self.warm.as_ref().map(|warm| Identity::of(warm.pid())).and_then(Result::ok);
        let log = self.programs.warm_log.clone();
        members.push(Member { name: "warmer".into(), identity: warm, address: None, admin_address: None, log });
        members.extend(self.servers.members().await?);
        self.state.processes = members;
        self.state.write(self.place)
    }
}
