//! What an `up` has running, as a file that `status`, `down` and the next `up` read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use stage::Login;

use crate::checkout::Place;
use crate::identity::Identity;

/// The name of the file. It holds passwords, so its mode is 0600.
const FILE: &str = "state.json";

/// What an `up` has running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The `up` itself.
    pub supervisor: Identity,
    /// Where it writes what it says, if it was detached.
    pub log: Option<PathBuf>,
    /// Whether everything answered once that it is ready.
    pub ready: bool,
    /// The processes, the servers among them.
    pub processes: Vec<Member>,
    /// The URLs of Postgres.
    pub postgres: Option<Urls>,
    /// The URLs of Redis.
    pub redis: Option<Urls>,
    /// Where the invalidator takes changes from.
    pub source: Option<Source>,
    /// How that source's broker is reached, secret included: the URL of NATS, or the address of Kafka.
    pub broker: Option<String>,
}

/// Where the invalidator takes changes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// From Postgres itself
    Postgres,
    /// From NATS JetStream, where our relay puts them
    Nats,
    /// From Kafka, where Debezium puts them
    Kafka,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Nats, Self::Kafka];

    /// Its name in `FRESHLINE_SOURCE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats => "nats",
            Self::Kafka => "kafka",
        }
    }

    /// The slot in Postgres that its changes come from: each source reads one of its own.
    pub fn slot(self) -> &'static str {
        match self {
            Self::Postgres => "freshline",
            Self::Nats => "freshline_relay",
            Self::Kafka => "freshline_debezium",
        }
    }
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, such as `api-1`.
    pub name: String,
    /// Which process it is; none while it does not run.
    pub identity: Option<Identity>,
    /// Where it serves.
    pub address: Option<SocketAddr>,
    /// Where it answers `/livez`, `/readyz` and `/metrics`.
    pub admin_address: Option<SocketAddr>,
    /// Its log.
    pub log: PathBuf,
}

/// The URL of a server for each login, password included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urls {
    /// For whoever may do everything.
    pub superuser: String,
    /// For the API.
    pub api: String,
    /// For the invalidator.
    pub invalidator: String,
    /// For the warmer.
    pub warmer: String,
}

impl Urls {
    /// The URL that `url_of` gives for each login.
    pub fn new(url_of: impl Fn(Login) -> String) -> Self {
        Self {
            superuser: url_of(Login::Superuser),
            api: url_of(Login::Api),
            invalidator: url_of(Login::Invalidator),
            warmer: url_of(Login::Warmer),
        }
    }

    /// Replaces the URL for `login`.
    pub fn set(&mut self, login: Login, url: String) {
        *match login {
            Login::Superuser => &mut self.superuser,
            Login::Api => &mut self.api,
            Login::Invalidator => &mut self.invalidator,
            Login::Warmer => &mut self.warmer,
        } = url;
    }

    /// The URL for `login`.
    pub fn of(&self, login: Login) -> &str {
        match login {
            Login::Superuser => &self.superuser,
            Login::Api => &self.api,
            Login::Invalidator => &self.invalidator,
            Login::Warmer => &self.warmer,
        }
    }
}

impl State {
    /// What this process, an `up` that has just begun, has running.
    pub fn begun(log: Option<PathBuf>) -> Result<Self> {
        let supervisor = Identity::of(std::process::id())?;
        Ok(Self { supervisor, log, ready: false, processes: Vec::new(), postgres: None, redis: None, source: None, broker: None })
    }

    /// What the last `up` wrote; none if it ended in order. A file that can't be read is that of another version, and as good as none.
    pub fn read(place: &Place) -> Result<Option<Self>> {
        let path = place.file(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(serde_json::from_str(&text).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Writes it, as a whole.
    pub fn write(&self, place: &Place) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("a state is made of plain values")?;
        write_secret(place, FILE, &text)
    }

    /// Removes what was written.
    pub fn remove(place: &Place) -> Result<()> {
        remove(place, FILE)
    }
}

/// Writes a file of mode 0600 into the place, as a whole.
pub fn write_secret(place: &Place, name: &str, text: &str) -> Result<()> {
    let (path, new) = (place.file(name), place.file(&format!("{name}.new")));
    let written = || -> std::io::Result<()> {
        remove_if_there(&new)?;
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?.write_all(text.as_bytes())?;
        fs::rename(&new, &path)
    };
    written().with_context(|| format!("writing {}", path.display()))
}

/// Removes a file of the place, if it is there.
pub fn remove(place: &Place, name: &str) -> Result<()> {
    let path = place.file(name);
    remove_if_there(&path).with_context(|| format!("removing {}", path.display()))
}

fn remove_if_there(path: &std::path::Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
