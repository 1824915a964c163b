//! A private Kafka: one node, broker and controller in one process. Starting one takes three seconds on an idle machine.
//!
//! `<home>/kafka.properties` is its configuration, `<home>/kafka-data` its logs. Topics are made, removed and given another
//! retention by a client; they are made with one partition where one writes to a topic that is not there.

use std::ops::Deref;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use super::daemon::{Daemon, Look, Recipe};
use super::java::{self, Java};
use super::password::Passwords;
use super::{Certificate, Home, port};
use crate::running::{Orphaned, Running};

/// How long it may take to be ready. One that was killed comes back only when its old registration has expired.
const START_MAX: Duration = Duration::from_secs(120);

/// How long it may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(30);

/// How long it may take to make its data directory.
const FORMAT_MAX: Duration = Duration::from_secs(60);

/// The name of its configuration.
const CONFIGURATION: &str = "kafka.properties";

/// The name of its directory of data.
const DATA: &str = "kafka-data";

/// Any id does: there is one node in the cluster.
const CLUSTER: &str = "AAAAAAAAQACAAAAAAAAAAQ";

/// The largest heap, in MiB. 160 MB are in use after the start.
const HEAP_MIB: u32 = 256;

/// Enough to keep a large row in one event. The same on Connect's side.
pub(super) const MESSAGE_MAX_BYTES: u32 = 16 << 20;

/// What all our servers have in common: one node, so one copy of everything, and no waiting for others.
const SETTINGS: [(&str, &str); 21] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("num.partitions", "1"),
    ("default.replication.factor", "1"),
    ("min.insync.replicas", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("num.network.threads", "2"),
    ("num.io.threads", "2"),
    ("log.cleaner.dedupe.buffer.size", "4194304"),
    // A killed broker comes back when its session is over: 9 s by default.
    ("broker.heartbeat.interval.ms", "500"),
    ("broker.session.timeout.ms", "3000"),
    // Nobody else could be elected: half a second less at each start.
    ("controller.quorum.election.timeout.ms", "300"),
    ("controller.quorum.fetch.timeout.ms", "600"),
];

/// Who logs in where a password is asked for.
pub const KAFKA_USER: &str = "freshline";

/// What a client has to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KafkaLogin {
    /// Nothing.
    #[default]
    Open,
    /// The user [`KAFKA_USER`] with the password [`Kafka::password`], by SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    Password,
}

/// What a broker that speaks TLS shows and asks for.
#[derive(Debug, Clone)]
pub struct KafkaTls {
    /// What it shows.
    pub certificate: Certificate,
    /// Who signed what it is shown, as PEM; it asks for nothing where this is left out.
    pub asks_of: Option<PathBuf>,
}

/// What a new server is to be like.
#[derive(Debug, Clone, Default)]
pub struct KafkaOptions {
    /// The port to use if it is free; without one, that of the last start in this home. If it is taken, any free port.
    pub port: Option<u16>,
    /// What a client has to show. The same at each start on one home.
    pub login: KafkaLogin,
    /// Whether it speaks TLS, and how.
    pub tls: Option<KafkaTls>,
    /// More lines for its configuration, as (name, value): they come last, so they win. `log.retention.check.interval.ms` of some
    /// hundred makes a short retention act at once.
    pub settings: Vec<(String, String)>,
}

/// A running private Kafka. Dropped, it is killed. What can be done to it beside what is here: see [`Daemon`].
pub struct Kafka {
    daemon: Daemon,
    password: String,
}

impl Deref for Kafka {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

/// One broker for those tests of this process that don't break it. It is never dropped: its watchdog ends it when the process is gone.
static SHARED: OnceCell<Kafka> = OnceCell::const_new();

impl Kafka {
    /// The broker that all tests of this process share, for what it does not suffer from: topics of a name that no other test has.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn shared() -> Result<&'static Self> {
        SHARED.get_or_try_init(async || Self::start(Home::scratch()?, KafkaOptions::default()).await).await
    }

    /// Starts a broker on the data in `home`, which is made if there is none, and waits until it serves.
    ///
    /// # Errors
    /// If Java or Kafka are not here and can't be had: with what to install; if it does not start: with the end of its log.
    pub async fn start(home: Home, options: KafkaOptions) -> Result<Self> {
        let java = Java::with_kafka()?;
        let password = Passwords::kept(&home, "kafka.passwords", &[KAFKA_USER])?.of(KAFKA_USER).to_owned();
        if !home.path().join(DATA).join("meta.properties").exists() {
            format(&java, &home, &options, &password).await?;
        }
        let asked = options.port;
        let known = password.clone();
        let ports = options.ports();
        let prepare = move |home: &Home, ports: &[u16]| {
            let configuration = home.write(CONFIGURATION, &configuration(home, ports, &options, &known))?;
            let mut command = java.command(home, "kafka.Kafka", HEAP_MIB)?;
            command.arg(configuration);
            Ok(command)
        };
        let recipe = Recipe {
            name: "kafka",
            ports,
            start_max: START_MAX,
            stop_max: STOP_MAX,
            prepare: Box::new(prepare),
            look: Box::new(|log| if log.contains("Kafka Server started") { Look::Ready } else { Look::NotYet }),
        };
        Ok(Self { daemon: Daemon::start(home, asked, recipe).await?, password })
    }

    /// The password that it asks for, if it does.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its address, as `bootstrap.servers` wants it.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }
}

/// Makes the data directory: once, for Kafka refuses to start without its cluster's id.
async fn format(java: &Java, home: &Home, options: &KafkaOptions, password: &str) -> Result<()> {
    let configuration =
        home.write(CONFIGURATION, &configuration(home, &[port::pick()?, port::pick()?, port::pick()?], options, password))?;
    let log = home.create("kafka-format.log")?;
    let mut command = java.command(home, "kafka.tools.StorageTool", HEAP_MIB)?;
    command.args(["format", "--cluster-id", CLUSTER, "--config"]).arg(configuration);
    if options.login == KafkaLogin::Password {
        // Others on this machine can see it for a second: the tool takes it in no other way. Good for tests.
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            command.arg("--add-scram").arg(format!("{mechanism}=[name={KAFKA_USER},password={password}]"));
        }
    }
    command.stderr(log.try_clone()?).stdout(log).stdin(Stdio::null());
    let mut running = Running::spawn(&mut command, Orphaned { signal: Signal::SIGKILL, scratch: home.scratch_path() })?;
    let status = running.wait(FORMAT_MAX).await?;
    if status.success() {
        return Ok(());
    }
    let log = std::fs::read_to_string(home.path().join("kafka-format.log")).context("reading what Kafka said")?;
    bail!("formatting Kafka's data directory ended with {status}:\n{log}")
}

impl KafkaOptions {
    /// For clients and for the controller; and one for the broker itself where it would not trust what it shows to clients.
    fn ports(&self) -> usize {
        if self.tls.is_some() { 3 } else { 2 }
    }
}

fn configuration(home: &Home, ports: &[u16], options: &KafkaOptions, password: &str) -> String {
    let (client, controller) = (ports[0], ports[1]);
    let mut listeners = format!("CLIENT://127.0.0.1:{client}");
    if options.tls.is_some() {
        listeners += &format!(",INTERNAL://127.0.0.1:{}", ports[2]);
    }
    let own = [
        ("log.dirs", home.path().join(DATA).display().to_string()),
        ("listeners", format!("{listeners},CONTROLLER://127.0.0.1:{controller}")),
        ("advertised.listeners", listeners),
        ("controller.quorum.voters", format!("1@127.0.0.1:{controller}")),
        ("message.max.bytes", MESSAGE_MAX_BYTES.to_string()),
    ];
    let settings = SETTINGS.map(|(name, value)| (name, value.to_owned()));
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
    java::properties(settings.into_iter().chain(own).chain(security(options, password)).chain(given))
}

/// What clients have to show, and what the broker shows itself.
fn security(options: &KafkaOptions, password: &str) -> Vec<(&'static str, String)> {
    let (protocol, between) = match (options.login, &options.tls) {
        (KafkaLogin::Open, None) => ("PLAINTEXT", "CLIENT"),
        (KafkaLogin::Password, None) => ("SASL_PLAINTEXT", "CLIENT"),
        (KafkaLogin::Open, Some(_)) => ("SSL", "INTERNAL"),
        (KafkaLogin::Password, Some(_)) => ("SASL_SSL", "INTERNAL"),
    };
    let mut settings = vec![
        ("listener.security.protocol.map", format!("CLIENT:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT")),
        ("inter.broker.listener.name", between.to_owned()),
    ];
    if options.login == KafkaLogin::Password {
        settings.extend(passwords(password));
    }
    settings.extend(options.tls.iter().flat_map(certificates));
    settings
}

fn passwords(password: &str) -> [(&'static str, String); 5] {
    let module = |name: &str, options: &str| format!("org.apache.kafka.common.security.{name} required{options};");
    let known = format!(" username=\"{KAFKA_USER}\" password=\"{password}\" user_{KAFKA_USER}=\"{password}\"");
    [
        ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned()),
        ("sasl.mechanism.inter.broker.protocol", "PLAIN".to_owned()),
        ("listener.name.client.plain.sasl.jaas.config", module("plain.PlainLoginModule", &known)),
        ("listener.name.client.scram-sha-256.sasl.jaas.config", module("scram.ScramLoginModule", "")),
        ("listener.name.client.scram-sha-512.sasl.jaas.config", module("scram.ScramLoginModule", "")),
    ]
}

fn certificates(tls: &KafkaTls) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("listener.name.client.ssl.keystore.type", "PEM".to_owned()),
        ("listener.name.client.ssl.keystore.location", tls.certificate.both.display().to_string()),
    ];
    if let Some(authority) = &tls.asks_of {
        settings.extend([
            ("listener.name.client.ssl.truststore.type", "PEM".to_owned()),
            ("listener.name.client.ssl.truststore.location", authority.display().to_string()),
            ("listener.name.client.ssl.client.auth", "required".to_owned()),
        ]);
    }
    settings
}
