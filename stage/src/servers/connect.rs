//! A private Kafka Connect with Debezium: one process, its connectors told in files. Starting one takes three to five seconds.
//!
//! `<home>/connect.properties` is the worker's configuration, `<home>/connect-<name>.properties` a connector's,
//! `<home>/connect.offsets` how far each has come: without that file a connector begins where its slot stands.

mod connector;
mod rest;

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::OnceCell;

use super::Home;
use super::daemon::{Daemon, Look, Recipe};
use super::java::{self, Java};
use super::kafka::{Kafka, MESSAGE_MAX_BYTES};
use crate::until::within;

pub use connector::{Connector, Topology};

/// How long it may take until every connector streams, its snapshot included.
const START_MAX: Duration = Duration::from_secs(120);

/// How long it may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(30);

/// The largest heap, in MiB. 190 MB are in use after the start.
const HEAP_MIB: u32 = 384;

/// The name of the file with each connector's progress.
const OFFSETS: &str = "connect.offsets";

/// A connector says this when it has taken its snapshot, if any, and its slot is being read.
const STREAMING: &str = "Starting streaming";

/// Connect goes on without a connector that failed. It says one of these.
const FAILURES: [&str; 2] = ["will not recover until manually restarted", "Failed to create connector"];

/// What all our workers have in common. Small JSON, sent at once, and offsets written each second: only then does a slot move on.
const SETTINGS: [(&str, &str); 9] = [
    ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
    ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
    ("key.converter.schemas.enable", "false"),
    ("value.converter.schemas.enable", "false"),
    ("offset.flush.interval.ms", "1000"),
    // Half the memory and half the time of looking through all classes.
    ("plugin.discovery", "service_load"),
    ("connector.client.config.override.policy", "All"),
    ("producer.linger.ms", "0"),
    ("producer.compression.type", "none"),
];

/// What a new Connect is to be like.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// The port of its REST interface to use if it is free; without one, that of the last start in this home. If it is taken, any
    /// free port.
    pub port: Option<u16>,
    /// More lines for the worker's configuration, as (name, value): they come last, so they win.
    pub settings: Vec<(String, String)>,
}

/// A running Connect. Dropped, it is killed. What can be done to it beside what is here: see [`Daemon`].
pub struct Connect {
    daemon: Daemon,
}

impl Deref for Connect {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

/// One worker for those tests of this process that don't break it. It is never dropped: its watchdog ends it when the process is gone.
static SHARED: OnceCell<Connect> = OnceCell::const_new();

impl Connect {
    /// The worker that all tests of this process share, on [`Kafka::shared`]: for connectors of a name that no other test has.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn shared() -> Result<&'static Self> {
        let start = async || {
            let brokers = Kafka::shared().await?.brokers();
            Self::start(Home::scratch()?, &brokers, Vec::new(), ConnectOptions::default()).await
        };
        SHARED.get_or_try_init(start).await
    }

    /// Starts a worker that writes to the Kafka at `brokers`, and waits until every connector streams.
    ///
    /// # Errors
    /// If Java, Kafka or Debezium are not here and can't be had; if it does not start, or a connector fails: with the log's words.
    pub async fn start(home: Home, brokers: &str, connectors: Vec<Connector>, options: ConnectOptions) -> Result<Self> {
        let (java, plugins) = (Java::with_kafka()?, java::debezium()?);
        let (asked, expected) = (options.port, connectors.len());
        let brokers = brokers.to_owned();
        let prepare = move |home: &Home, ports: &[u16]| {
            let worker = home.write("connect.properties", &configuration(home, ports[0], &brokers, &plugins, &options))?;
            let mut command = java.command(home, "org.apache.kafka.connect.cli.ConnectStandalone", HEAP_MIB)?;
            command.arg(worker);
            for connector in &connectors {
                let file = format!("connect-{}.properties", connector.name);
                command.arg(home.write(&file, &java::properties(connector.settings()))?);
            }
            Ok(command)
        };
        let recipe = Recipe {
            name: "connect",
            ports: 1,
            start_max: START_MAX,
            stop_max: STOP_MAX,
            prepare: Box::new(prepare),
            look: Box::new(move |log| look(log, expected)),
        };
        Ok(Self { daemon: Daemon::start(home, asked, recipe).await? })
    }

    /// Makes a connector while the worker runs, and waits until its task does. It ends with [`Self::remove`], or with the worker.
    ///
    /// # Errors
    /// If the connector fails: with its reason.
    pub async fn add(&self, connector: &Connector) -> Result<()> {
        let (port, asked) = (self.port(), connector.clone());
        blocking(move || rest::add(port, &asked)).await?;
        self.runs(&connector.name).await
    }

    /// Stops one connector while the worker runs: its slot is read by nobody.
    pub async fn stop_one(&self, name: &str) -> Result<()> {
        let (port, asked) = (self.port(), name.to_owned());
        blocking(move || rest::stop(port, &asked)).await?;
        let stopped = within(START_MAX, async || match self.state(name).await {
            Ok(rest::State::Stopped) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        stopped.await.map_err(|last| anyhow!(last))
    }

    /// Lets a connector go on after [`Self::stop_one`], and waits until its task does. It is made again, and goes on from what is noted
    /// under its name. Connect's own `resume` locks the configurations before the worker and all else locks the worker first, so with
    /// anything else done to Connect at the time, neither ever ends (Kafka 4.3.1, `MemoryConfigBackingStore.putTargetState`).
    ///
    /// # Errors
    /// If the connector fails: with its reason.
    pub async fn start_one(&self, connector: &Connector) -> Result<()> {
        let (port, name) = (self.port(), connector.name.clone());
        blocking(move || rest::remove(port, &name)).await?;
        self.add(connector).await
    }

    /// Removes the progress of a connector after [`Self::stop_one`]: it will begin where its slot stands.
    pub async fn forget_one(&self, name: &str) -> Result<()> {
        let (port, asked) = (self.port(), name.to_owned());
        blocking(move || rest::forget(port, &asked)).await
    }

    /// Removes a connector made by [`Self::add`], and waits until it reads no more. How far it has come stays noted.
    ///
    /// # Errors
    /// If there is none, or Connect does not answer.
    pub fn remove(&self, name: &str) -> Result<()> {
        rest::remove(self.port(), name)
    }

    async fn runs(&self, name: &str) -> Result<()> {
        let running = within(START_MAX, async || match self.state(name).await {
            Ok(rest::State::Running) => Ok(Ok(())),
            Ok(rest::State::Failed(trace)) => Ok(Err(trace)),
            other => Err(format!("{other:?}")),
        });
        match running.await.map_err(|last| anyhow!(last))? {
            Ok(()) => Ok(()),
            Err(trace) => bail!("the connector {name} failed: {trace}"),
        }
    }

    async fn state(&self, name: &str) -> Result<rest::State> {
        let (port, asked) = (self.port(), name.to_owned());
        blocking(move || rest::state(port, &asked)).await
    }

    /// Removes the progress of all connectors, while it is stopped: the next start begins where the slots stand.
    pub fn forget_offsets(&self) -> Result<()> {
        let path = self.offsets();
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }

    fn offsets(&self) -> PathBuf {
        self.home().path().join(OFFSETS)
    }
}

async fn blocking<T: Send + 'static>(asks: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(asks).await.context("asking Connect")?
}

fn look(log: &str, connectors: usize) -> Look {
    if let Some(reason) = failure(log) {
        return Look::Failed(reason);
    }
    let streaming = log.matches(STREAMING).count();
    if streaming >= connectors && log.contains("Kafka Connect started") { Look::Ready } else { Look::NotYet }
}

/// What a connector failed of: the exceptions, without the places in the code, that stand below the line that says so.
fn failure(log: &str) -> Option<String> {
    let mut lines = log.lines().skip_while(|line| !FAILURES.iter().any(|words| line.contains(words)));
    let first = lines.next()?;
    let trace = lines.take_while(|line| !line.starts_with(|c: char| c.is_ascii_digit())); // the next entry begins with its time
    let exceptions = trace.filter(|line| !line.starts_with('\t'));
    Some(std::iter::once(first).chain(exceptions).collect::<Vec<_>>().join("\n"))
}

fn configuration(home: &Home, port: u16, brokers: &str, plugins: &Path, options: &ConnectOptions) -> String {
    let own = [
        ("bootstrap.servers", brokers.to_owned()),
        ("listeners", format!("http://127.0.0.1:{port}")),
        ("plugin.path", plugins.display().to_string()),
        ("offset.storage.file.filename", home.path().join(OFFSETS).display().to_string()),
        ("producer.max.request.size", MESSAGE_MAX_BYTES.to_string()),
    ];
    let settings = SETTINGS.map(|(name, value)| (name, value.to_owned()));
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
    java::properties(settings.into_iter().chain(own).chain(given))
}
