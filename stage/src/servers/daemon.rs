//! What Redis and the brokers have in common: a process in a home, on ports of its own, that says in its log when it is ready.
//!
//! `<home>/<name>.log` is what it said since its last start, `<home>/<name>.ports` the ports of that start.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::sync::Mutex;

use super::{Home, port};
use crate::running::{Orphaned, Running};
use crate::until::within;

/// How many sets of ports are tried if others keep taking them.
const PORT_TRIES: usize = 5;

/// What every program says, in some words around it, when a port was taken between our look and its bind.
const PORT_TAKEN: &str = "address already in use";

/// Makes the configuration for these ports, in this home, and the command that starts the program with it.
type Prepare = Box<dyn Fn(&Home, &[u16]) -> Result<Command> + Send + Sync>;

/// How one kind of server is started, and how it shows that it is ready.
pub(super) struct Recipe {
    /// The name of its files, and in messages.
    pub name: &'static str,
    /// How many ports it listens on.
    pub ports: usize,
    /// How long it may take to be ready.
    pub start_max: Duration,
    /// How long it may take to stop before it is killed.
    pub stop_max: Duration,
    /// Called before each start.
    pub prepare: Prepare,
    /// What its log of this start tells.
    pub look: Box<dyn Fn(&str) -> Look + Send + Sync>,
}

/// What a look at the log of a server that is starting shows.
pub(super) enum Look {
    /// It does its work.
    Ready,
    /// It is on its way.
    NotYet,
    /// It runs, and never will do its work: with the line that says why.
    Failed(String),
}

/// A running server. Dropped, it is killed; its data stays unless its [`Home`] is a scratch one.
pub struct Daemon {
    running: Mutex<Option<Running>>, // first, so that the server is gone before its home
    home: Home,
    recipe: Recipe,
    ports: Vec<u16>,
}

impl Daemon {
    /// Starts it and waits until it is ready: on `asked` if that is free, else on the ports of the last start in this home.
    pub(super) async fn start(home: Home, asked: Option<u16>, recipe: Recipe) -> Result<Self> {
        let mut ports = last_ports(&home, recipe.name);
        ports.resize(recipe.ports, 0);
        if let (Some(first), Some(asked)) = (ports.first_mut(), asked) {
            *first = asked;
        }
        let mut daemon = Self { running: Mutex::new(None), home, recipe, ports };
        for _ in 0..PORT_TRIES {
            daemon.choose_ports()?;
            match daemon.start_again().await {
                Err(error) if daemon.port_was_taken() => eprintln!("stage: {error:#}; trying other ports"),
                Err(error) => return Err(error),
                Ok(()) => return Ok(daemon),
            }
        }
        bail!("{} found {PORT_TRIES} ports taken, one after the other, that were free a moment before", daemon.recipe.name)
    }

    /// Its port on 127.0.0.1; of several the one for clients.
    pub fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or_default()
    }

    /// The port after that one, if it has several.
    pub(super) fn second_port(&self) -> Option<u16> {
        self.ports.get(1).copied()
    }

    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The process id; none while it is stopped.
    pub async fn pid(&self) -> Option<u32> {
        self.running.lock().await.as_ref().map(Running::pid)
    }

    /// Ends it in order.
    pub async fn stop(&self) -> Result<()> {
        if let Some(mut running) = self.running.lock().await.take() {
            running.stop(Signal::SIGTERM, self.recipe.stop_max).await?;
        }
        Ok(())
    }

    /// Kills it with -9 and waits until it is gone.
    pub async fn kill(&self) -> Result<()> {
        if let Some(mut running) = self.running.lock().await.take() {
            running.kill().await?;
        }
        Ok(())
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], on the same ports and data, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready: with the end of its log.
    pub async fn start_again(&self) -> Result<()> {
        let mut command = (self.recipe.prepare)(&self.home, &self.ports)?;
        let words: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        self.home.write(&ports_file(self.recipe.name), &words.join(" "))?;
        let log = self.home.create(&log_file(self.recipe.name))?;
        command.stderr(log.try_clone()?).stdout(log).stdin(Stdio::null());
        let orphaned = Orphaned { signal: Signal::SIGKILL, scratch: self.home.scratch_path() };
        let mut running = Running::spawn(&mut command, orphaned)?;
        let started = within(self.recipe.start_max, async || match running.ended() {
            Ok(None) => self.look(),
            Ok(Some(status)) => Ok(Err(format!("it ended with {status}"))),
            Err(error) => Ok(Err(format!("{error:#}"))),
        });
        if let Err(status) = started.await.and_then(|started| started) {
            bail!("{} did not start: {status}. Its log ends:\n{}", self.recipe.name, self.log_tail());
        }
        *self.running.lock().await = Some(running);
        Ok(())
    }

    /// Kills it and starts it again on the same ports and data.
    pub async fn restart(&self) -> Result<()> {
        self.kill().await?;
        self.start_again().await
    }

    /// Stops it in the middle of whatever it does (SIGSTOP): connections stay, nothing is answered.
    pub async fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP).await
    }

    /// Lets it go on after [`Self::pause`].
    pub async fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT).await
    }

    /// How it ended, if it is not running any more without having been stopped.
    pub async fn ended(&self) -> Result<Option<ExitStatus>> {
        match self.running.lock().await.as_mut() {
            Some(running) => running.ended(),
            None => Ok(None),
        }
    }

    /// Its log since the last start.
    pub fn log_path(&self) -> PathBuf {
        self.home.path().join(log_file(self.recipe.name))
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let mut running = self.running.lock().await;
        running.as_mut().with_context(|| format!("{} is stopped", self.recipe.name))?.signal(signal)
    }

    /// As [`within`] wants it: an error is "not yet", an error inside `Ok` is final.
    fn look(&self) -> Result<Result<(), String>, &'static str> {
        match (self.recipe.look)(&self.log()) {
            Look::Ready => Ok(Ok(())),
            Look::NotYet => Err("it is starting"),
            Look::Failed(line) => Ok(Err(line)),
        }
    }

    fn choose_ports(&mut self) -> Result<()> {
        for place in 0..self.ports.len() {
            let port = self.ports[place];
            if port == 0 || !port::is_free(port) {
                self.ports[place] = pick_besides(&self.ports)?;
            }
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_else(|error| error.to_string())
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn port_was_taken(&self) -> bool {
        self.log().to_lowercase().contains(PORT_TAKEN)
    }
}

fn pick_besides(ports: &[u16]) -> Result<u16> {
    loop {
        let port = port::pick()?;
        if !ports.contains(&port) {
            return Ok(port);
        }
    }
}

fn last_ports(home: &Home, name: &str) -> Vec<u16> {
    let words = fs::read_to_string(home.path().join(ports_file(name))).unwrap_or_default();
    words.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn ports_file(name: &str) -> String {
    format!("{name}.ports")
}

fn log_file(name: &str) -> String {
    format!("{name}.log")
}
