//! A private Postgres: its own data directory, port and passwords.
//!
//! `<home>/data` is the cluster, `<home>/pgpass` the passwords, `<home>/postgres.log` what it said since its last start.

mod cluster;
mod commits;
mod paused;

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;

pub use self::paused::Paused;
use super::password::Passwords;
use super::{Home, PostgresBinaries, port};
use crate::database::Login;
use crate::running::{Orphaned, Running};
use crate::until::within;

/// How long a server may take to accept connections, crash recovery of a big log included.
const START_MAX: Duration = Duration::from_secs(120);

/// How long a server may take to stop before it is killed.
const STOP_MAX: Duration = Duration::from_secs(30);

/// How long one connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How many ports are tried if others keep taking them.
const PORT_TRIES: usize = 5;

/// The name of its log.
const LOG: &str = "postgres.log";

/// What a new server is to be like.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Whether commits survive a crash of the machine (`fsync`). Tests don't need that, and are faster without.
    pub durable: bool,
    /// The port to use if it is free; without one, that of the last start on this data. If it is taken, any free port.
    pub port: Option<u16>,
    /// More lines for `postgresql.conf`, as (name, value).
    pub settings: Vec<(String, String)>,
}

/// How a server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions are ended, and everything is written.
    Fast,
    /// As in a crash: the next start recovers from the log.
    Immediate,
}

/// A running private Postgres. Dropped, it stops; its data stays unless its [`Home`] is a scratch one.
pub struct Postgres {
    running: Mutex<Option<Running>>, // first, so that the server is gone before its home
    home: Home,
    binaries: PostgresBinaries,
    options: PostgresOptions,
    passwords: Passwords,
    port: u16,
}

impl Postgres {
    /// Starts a server on the data in `home`, which is made if there is none, and waits until it accepts connections.
    ///
    /// A data directory that was left half made is set aside, and a server left over on it is stopped first.
    ///
    /// # Errors
    /// If Postgres is not installed, in the version that made the data; if it does not start: with the end of its log.
    pub async fn start(home: Home, options: PostgresOptions) -> Result<Self> {
        let passwords = Passwords::kept(&home, "pgpass", &Login::ALL.map(Login::postgres_name))?;
        let binaries = cluster::prepare(&home, &passwords, options.durable).await?;
        let port = options.port.or_else(|| cluster::last_port(&home)).unwrap_or_default();
        let mut server = Self { running: Mutex::new(None), home, binaries, options, passwords, port };
        for _ in 0..PORT_TRIES {
            if !(server.port != 0 && port::is_free(server.port)) {
                server.port = port::pick()?;
            }
            match server.launch().await {
                Err(error) if server.port_was_taken() => eprintln!("stage: port {}: {error:#}; trying another", server.port),
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
        bail!("Postgres found {PORT_TRIES} ports taken, one after the other, that were free a moment before")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Its major version, such as 15.
    pub fn major(&self) -> u32 {
        self.binaries.major
    }

    /// The directory of its programs: `psql`, `pg_recvlogical` and so on, where they are installed.
    pub fn bin(&self) -> &std::path::Path {
        &self.binaries.bin
    }

    /// The process id of the postmaster; none while it is stopped.
    pub async fn pid(&self) -> Option<u32> {
        self.running.lock().await.as_ref().map(Running::pid)
    }

    /// The URL of `database` for `login`, password included.
    pub fn url(&self, login: Login, database: &str) -> String {
        let user = login.postgres_name();
        format!("postgres://{user}:{}@127.0.0.1:{}/{database}", self.password(login), self.port)
    }

    /// The password of `login`. A role has it once [`crate::set_password`] was called.
    pub fn password(&self, login: Login) -> &str {
        self.passwords.of(login.postgres_name())
    }

    /// A connection of the superuser to `database`.
    pub async fn connect(&self, database: &str) -> Result<PgConnection> {
        let url = self.url(Login::Superuser, database);
        let connection = tokio::time::timeout(CONNECT_MAX, PgConnection::connect(&url)).await;
        connection.with_context(|| format!("no answer from Postgres within {CONNECT_MAX:?}"))?.context("connecting to Postgres")
    }

    /// Runs statements, separated by `;`, as the superuser in the database `postgres`. Each is a transaction of its own
    /// only if it is alone, so one that can't run inside a transaction has to be.
    pub async fn run(&self, sql: &str) -> Result<()> {
        let mut connection = self.connect("postgres").await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.with_context(|| format!("running {sql}"))?;
        connection.close().await.context("closing a connection to Postgres")
    }

    /// Sets a parameter by `alter system` and awaits that new sessions see it. One that needs a restart is refused.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        self.run(&format!("alter system set {name} = '{value}'")).await?;
        self.run("select pg_reload_conf()").await?;
        let seen = within(CONNECT_MAX, async || -> Result<()> {
            let mut connection = self.connect("postgres").await?;
            let (now, pending): (String, bool) =
                sqlx::query_as("select setting, pending_restart from pg_settings where name = lower($1)")
                    .bind(name)
                    .fetch_one(&mut connection)
                    .await?;
            connection.close().await?;
            if pending {
                bail!("{name} needs a restart")
            } else if now == value {
                Ok(())
            } else {
                bail!("{name} is {now}")
            }
        });
        seen.await.map_err(|last| anyhow::anyhow!("{name} = {value} did not take effect: {last}"))
    }

    /// Stops it and waits until it is gone.
    pub async fn stop(&self, how: Shutdown) -> Result<()> {
        let signal = match how {
            Shutdown::Fast => Signal::SIGINT,
            Shutdown::Immediate => Signal::SIGQUIT,
        };
        if let Some(mut running) = self.running.lock().await.take() {
            running.stop(signal, STOP_MAX).await?;
        }
        Ok(())
    }

    /// Kills the postmaster with -9, and waits until its children are gone: each ends by itself as soon as it notices, without a word to
    /// its client. Answers with how many there were. Until the last of them is gone no server can be started on this data.
    ///
    /// # Errors
    /// If it is stopped, or a child does not end.
    pub async fn kill(&self) -> Result<usize> {
        let mut running = self.running.lock().await.take().context("Postgres is stopped")?;
        // While it stands still, it starts none that would not be among these.
        running.signal(Signal::SIGSTOP)?;
        let children = paused::children(running.pid())?;
        running.kill().await?;
        let gone = within(STOP_MAX, async || match children.iter().find(|child| paused::is_alive(**child)) {
            None => Ok(()),
            Some(child) => Err(format!("process {child} is there")),
        });
        gone.await.map_err(|last| anyhow::anyhow!("a process of Postgres outlived it: {last}"))?;
        Ok(children.len())
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], on the same port.
    pub async fn start_again(&self) -> Result<()> {
        self.launch().await
    }

    /// Stops it and starts it again on the same port.
    pub async fn restart(&self, how: Shutdown) -> Result<()> {
        self.stop(how).await?;
        self.start_again().await
    }

    /// Stops it in the middle of whatever it does (SIGSTOP): connections stay, and new ones are taken by the kernel; nothing is answered.
    /// Dropped, what this answers with lets it go on.
    ///
    /// # Errors
    /// If it is stopped.
    pub async fn pause(&self) -> Result<Paused> {
        Paused::new(self.pid().await.context("Postgres is stopped")?)
    }

    /// Kills one of its server processes with -9. The postmaster then ends all others and recovers: a crash restart,
    /// after which transaction ids are used again. Await it with [`Self::ready`].
    ///
    /// # Errors
    /// If `pid` is not a child of this server.
    pub async fn kill_backend(&self, pid: i32) -> Result<()> {
        let postmaster = self.pid().await.context("Postgres is stopped")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("there is no process {pid}"))?;
        if !status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|parent| parent.trim() == postmaster.to_string())) {
            bail!("process {pid} is not a backend of this Postgres (postmaster {postmaster})");
        }
        signal::kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("killing backend {pid}"))
    }

    /// Awaits that it accepts connections, for instance after a crash restart.
    pub async fn ready(&self) -> Result<()> {
        let ready = within(START_MAX, async || self.run("select 1").await);
        ready.await.map_err(|last| anyhow::anyhow!("Postgres does not accept connections: {last}"))
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
        self.home.path().join(LOG)
    }

    fn data_path(&self) -> PathBuf {
        self.home.path().join(cluster::DATA)
    }

    async fn launch(&self) -> Result<()> {
        cluster::configure(&self.home, self.port, &self.options)?;
        let log = self.home.create(LOG)?;
        let mut command = self.home.user().command(self.binaries.bin.join("postgres"));
        command.arg("-D").arg(self.data_path()).stdout(Stdio::null()).stderr(log);
        let signal = if self.options.durable { Signal::SIGINT } else { Signal::SIGQUIT };
        let mut running = Running::spawn(&mut command, Orphaned { signal, scratch: self.home.scratch_path() })?;
        let pid = running.pid();
        let started = within(START_MAX, async || match running.ended() {
            Ok(None) if cluster::says_ready(&self.data_path(), pid) => Ok(Ok(())),
            Ok(None) => Err("it is starting".to_owned()),
            Ok(Some(status)) => Ok(Err(format!("it ended with {status}"))),
            Err(error) => Ok(Err(format!("{error:#}"))),
        });
        if let Err(status) = started.await.and_then(|started| started) {
            bail!("Postgres did not start: {status}. Its log ends:\n{}", self.log_tail());
        }
        *self.running.lock().await = Some(running);
        self.ready().await
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Postgres words it so in every version since 7, and runs with LC_ALL=C.
    fn port_was_taken(&self) -> bool {
        self.log_tail().contains("Address already in use")
    }
}
