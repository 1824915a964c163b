//! A private Redis (or Valkey): its own process, directory, port and passwords. Starting one takes some milliseconds.
//!
//! `<home>/redis.conf` is its configuration, `<home>/redis.passwords` the passwords, `<home>/redis.log` what it said since its
//! last start, `<home>/dump.rdb` the file it loads at start if there is one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use super::password::Passwords;
use super::{Home, Missing, RedisBinary, find, port};
use crate::database::Login;
use crate::running::{Orphaned, Running};
use crate::until::within;

/// How long a server may take to answer a PING, loading of a file included.
const START_MAX: Duration = Duration::from_secs(60);

/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// How long any answer may take while a test talks to it directly.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long a server may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How many ports are tried if others keep taking them.
const PORT_TRIES: usize = 5;

/// The name of its log.
const LOG: &str = "redis.log";

/// The name of its configuration.
const CONFIGURATION: &str = "redis.conf";

/// The name of its file of data. A copy of it can be put back: see [`Redis::restart_from`].
const DUMP: &str = "dump.rdb";

/// What all our servers have in common. Nothing is saved unless asked for. `DEBUG` is allowed, from this
/// machine, because tests make it hang.
const SETTINGS: [(&str, &str); 7] = [
    ("bind", "127.0.0.1"),
    ("save", "\"\""),
    ("appendonly", "no"),
    ("daemonize", "no"),
    ("dbfilename", DUMP),
    ("enable-debug-command", "local"),
    ("maxmemory-policy", "noeviction"),
];

/// What a role may do: everything but administer, with the exceptions that it needs to know whom it talks to.
const ROLE_RIGHTS: &str = "~* &* +@all -@admin -@dangerous +info +role +config|get";

/// What a new server is to be like.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// The port to use if it is free; without one, that of the last start in this home. If it is taken, any free port.
    pub port: Option<u16>,
    /// More lines for `redis.conf`, as (name, value): they come last, so they win.
    pub settings: Vec<(String, String)>,
}

/// The port that was written last into the configuration of this home.
fn last_port(home: &Home) -> Option<u16> {
    let lines = fs::read_to_string(home.path().join(CONFIGURATION)).ok()?;
    lines.lines().find_map(|line| line.strip_prefix("port ")?.parse().ok())
}

/// A running private Redis. Dropped, it is killed.
pub struct Redis {
    running: Mutex<Option<Running>>, // first, so that the server is gone before its home
    home: Home,
    binary: RedisBinary,
    options: RedisOptions,
    passwords: Passwords,
    port: u16,
}

impl Redis {
    /// Starts a server in `home` and waits until it answers.
    ///
    /// # Errors
    /// If Redis is not installed; if it does not start: with the end of its log.
    pub async fn start(home: Home, options: RedisOptions) -> Result<Self> {
        let binary = find::redis().with_context(|| Missing::Redis.to_string())?;
        let passwords = Passwords::kept(&home, "redis.passwords", &Login::ALL.map(Login::redis_name))?;
        let port = options.port.or_else(|| last_port(&home)).unwrap_or_default();
        let mut server = Self { running: Mutex::new(None), home, binary, options, passwords, port };
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
        bail!("Redis found {PORT_TRIES} ports taken, one after the other, that were free a moment before")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Its program, beside which `redis-cli` usually lies.
    pub fn program(&self) -> &Path {
        &self.binary.program
    }

    /// The URL for `login`, password included.
    pub fn url(&self, login: Login) -> String {
        let user = login.redis_name();
        format!("redis://{user}:{}@127.0.0.1:{}/", self.passwords.of(user), self.port)
    }

    /// The process id; none while it is stopped.
    pub async fn pid(&self) -> Option<u32> {
        self.running.lock().await.as_ref().map(Running::pid)
    }

    /// A new connection of the superuser.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url(Login::Superuser)).context("a Redis URL of our own making")?;
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_MAX)).set_response_timeout(Some(ANSWER_MAX));
        client.get_multiplexed_async_connection_with_config(&config).await.context("connecting to Redis")
    }

    /// Runs one command as the superuser: `redis.run::<i64>(&["DEL", "key"])`.
    pub async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let (name, arguments) = words.split_first().context("a command of no words")?;
        let mut connection = self.connect().await?;
        redis::cmd(name).arg(arguments).query_async(&mut connection).await.with_context(|| format!("running {}", words.join(" ")))
    }

    /// Ends it in order, without saving.
    pub async fn stop(&self) -> Result<()> {
        if let Some(mut running) = self.running.lock().await.take() {
            running.stop(Signal::SIGTERM, STOP_MAX).await?;
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

    /// Starts it again after [`Self::stop`] or [`Self::kill`], on the same port, with what its file holds: a new process with a new run id.
    pub async fn start_again(&self) -> Result<()> {
        self.launch().await
    }

    /// Kills it and starts it again on the same port.
    pub async fn restart(&self) -> Result<()> {
        self.kill().await?;
        self.start_again().await
    }

    /// Writes all it holds to a file and copies that to `path`, to be put back later.
    pub async fn save_to(&self, path: &Path) -> Result<()> {
        self.run::<()>(&["SAVE"]).await?;
        let dump = self.dump_path();
        fs::copy(&dump, path).with_context(|| format!("copying {} to {}", dump.display(), path.display()))?;
        fs::remove_file(&dump).with_context(|| format!("removing {}", dump.display()))
    }

    /// Kills it and starts it again, on the same port, with what the file `path` holds: a Redis restored from an old backup.
    pub async fn restart_from(&self, path: &Path) -> Result<()> {
        self.kill().await?;
        let dump = self.dump_path();
        fs::copy(path, &dump).with_context(|| format!("copying {} to {}", path.display(), dump.display()))?;
        self.home.user().give(&dump)?;
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

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.running.lock().await.as_mut().context("Redis is stopped")?.signal(signal)
    }

    async fn launch(&self) -> Result<()> {
        let configuration = self.home.write(CONFIGURATION, &self.configuration())?;
        let log = self.home.create(LOG)?;
        let mut command = self.home.user().command(&self.binary.program);
        command.arg(configuration).stderr(log.try_clone()?).stdout(log).stdin(Stdio::null());
        let orphaned = Orphaned { signal: Signal::SIGKILL, scratch: self.home.scratch_path() };
        let mut running = Running::spawn(&mut command, orphaned)?;
        let started = within(START_MAX, async || match running.ended() {
            Ok(None) => self.answers().await.map(Ok),
            Ok(Some(status)) => Ok(Err(format!("it ended with {status}"))),
            Err(error) => Ok(Err(format!("{error:#}"))),
        });
        if let Err(status) = started.await.and_then(|started| started) {
            bail!("{} did not start: {status}. Its log ends:\n{}", self.binary.program.display(), self.log_tail());
        }
        *self.running.lock().await = Some(running);
        Ok(())
    }

    async fn answers(&self) -> Result<()> {
        let pid: String = self.run(&["INFO", "server"]).await?;
        if pid.contains("run_id:") { Ok(()) } else { Err(anyhow!("no run_id in the answer to INFO")) }
    }

    fn configuration(&self) -> String {
        let own = [("port", self.port.to_string()), ("dir", format!("\"{}\"", self.home.path().display()))];
        let settings = SETTINGS.map(|(name, value)| (name, value.to_owned()));
        let given = self.options.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let users = Login::ALL.map(|login| ("user", self.user_line(login)));
        let lines = settings.into_iter().chain(own).chain(users).chain(given).map(|(name, value)| format!("{name} {value}\n"));
        lines.collect()
    }

    fn user_line(&self, login: Login) -> String {
        let rights = if login == Login::Superuser { "~* &* +@all" } else { ROLE_RIGHTS };
        let user = login.redis_name();
        format!("{user} on >{} {rights}", self.passwords.of(user))
    }

    fn dump_path(&self) -> PathBuf {
        self.home.path().join(DUMP)
    }

    /// Its log since the last start.
    pub fn log_path(&self) -> PathBuf {
        self.home.path().join(LOG)
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    fn port_was_taken(&self) -> bool {
        self.log_tail().contains("Address already in use")
    }
}
