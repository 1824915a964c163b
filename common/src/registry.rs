//! Which processes run: each puts a record of itself, with its own figures, into Redis, beside the protocol's keys, and renews it while
//! it lives.
//!
//! Best effort, for people alone: nothing in the protocol depends on it, and losing it loses nothing. A process that died is gone from
//! it when its record runs out.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use utoipa::ToSchema;

use crate::{
    admin::Readiness,
    coherence::{Link, LinkError, Links, Stripes},
    figures::{Figures, Meters},
    telemetry::Metrics,
};

/// How often a record is renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// How long a record stays without being renewed: nine renewals may be lost.
const RECORD_TTL: Duration = Duration::from_secs(10);

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It serves reads and writes.
    Api,
    /// It applies changes.
    Invalidator,
    /// It publishes changes to a broker.
    Relay,
    /// It fills keys.
    Warmer,
    /// It shows what happens, to somebody at the same machine.
    Demo,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Api => "api",
            Self::Invalidator => "invalidator",
            Self::Relay => "relay",
            Self::Warmer => "warmer",
            Self::Demo => "demo",
        })
    }
}

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    /// Its name in the registry: new with each start.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// Its process id on its host.
    pub pid: u32,
    /// The name of its host.
    pub host: String,
    /// Where it serves, if it does.
    pub address: Option<String>,
    /// Where it answers `/metrics`, `/livez` and `/readyz`.
    pub admin_address: Option<String>,
    /// When it started, by its own clock, in ms since 1970.
    pub started_ms: u64,
    /// The version of the program.
    pub version: String,
    /// Where it takes changes from: `postgres`, `nats` or `kafka`; none for those that take none.
    pub source: Option<String>,
    /// What it counted and measured; none from those that count nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
}

impl Process {
    /// This process, which begins now.
    pub fn this(role: Role) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            role,
            pid: std::process::id(),
            host: host(),
            address: None,
            admin_address: None,
            started_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source: None,
            figures: None,
        }
    }
}

/// Tells this process from others of its kind, in metrics and traces: its host and process id.
pub(crate) fn instance() -> String {
    format!("{}:{}", host(), std::process::id())
}

/// As the kernel knows it; `?` where it says nothing.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "?".to_owned() } else { name.to_owned() }
}

/// The task that keeps a process's record. To be spawned, and owned, by the process.
#[derive(Debug)]
pub struct Registration {
    links: Links,
    names: Names,
    process: Process,
    meters: Option<Meters>,
}

/// The keys: one hash tag, so that they lie in one slot, and not that of a stripe.
#[derive(Debug)]
struct Names {
    /// The ids of all records, each with the time at which it runs out, in ms of Redis's clock.
    index: String,
    /// What the name of a record begins with.
    record: String,
}

impl Names {
    fn new(stripes: &Stripes) -> Self {
        let namespace = stripes.namespace();
        Self { index: format!("{{{namespace}}}processes"), record: format!("{{{namespace}}}process:") }
    }

    fn record(&self, id: &str) -> String {
        format!("{}{id}", self.record)
    }
}

impl Registration {
    /// Of this process, in the Redis of these links.
    pub fn new(links: Links, stripes: &Stripes, process: Process) -> Self {
        Self { links, names: Names::new(stripes), process, meters: None }
    }

    /// The same, with the figures of these metrics and, where somebody asks this process whether it is ready, the answer.
    pub fn measured(self, metrics: &Metrics, readiness: Option<&Readiness>) -> Self {
        Self { meters: Some(Meters::new(metrics.clone(), readiness.cloned())), ..self }
    }

    /// Renews the record until `stop`, and then removes it. Redis may be away: it is written when it is back.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut renewals = tokio::time::interval(RENEWED_EVERY);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut links = self.links.clone();
        while stop.run_until_cancelled(renewals.tick()).await.is_some() {
            let Some(link) = stop.run_until_cancelled(links.ready()).await.flatten() else { break };
            if let Some(meters) = &mut self.meters {
                self.process.figures = Some(meters.take().await);
            }
            if let Err(error) = self.renew(&link).await {
                debug!(error = &error as &dyn std::error::Error, "the registry was not told of this process; next time");
            }
        }
        if let Some(link) = self.links.get()
            && let Err(error) = self.remove(&link).await
        {
            debug!(error = &error as &dyn std::error::Error, "the registry keeps this process until its record runs out");
        }
    }

    async fn renew(&self, link: &Link) -> Result<(), LinkError> {
        let Ok(record) = serde_json::to_string(&self.process) else { return Ok(()) };
        let (ttl_ms, now_ms, index) = (RECORD_TTL.as_millis() as u64, link.now().as_micros() / 1000, &self.names.index);
        let mut commands = redis::pipe();
        commands.cmd("SET").arg(self.names.record(&self.process.id)).arg(record).arg("PX").arg(ttl_ms);
        commands.cmd("ZADD").arg(index).arg(now_ms + ttl_ms).arg(&self.process.id);
        commands.cmd("ZREMRANGEBYSCORE").arg(index).arg("-inf").arg(now_ms);
        commands.cmd("PEXPIRE").arg(index).arg(ttl_ms);
        link.call_all(&commands, 4).await.map(drop)
    }

    async fn remove(&self, link: &Link) -> Result<(), LinkError> {
        let mut delete = redis::cmd("DEL");
        delete.arg(self.names.record(&self.process.id));
        link.call::<u64>(&delete).await?;
        let mut forget = redis::cmd("ZREM");
        forget.arg(&self.names.index).arg(&self.process.id);
        link.call::<u64>(&forget).await.map(drop)
    }
}

/// The processes that are registered now, by role and then by start. A record that another version wrote otherwise is left out.
///
/// # Errors
/// Any [`LinkError`].
pub async fn processes(link: &Link, stripes: &Stripes) -> Result<Vec<Process>, LinkError> {
    let names = Names::new(stripes);
    let mut range = redis::cmd("ZRANGEBYSCORE");
    range.arg(&names.index).arg(link.now().as_micros() / 1000).arg("+inf");
    let ids: Vec<String> = link.call(&range).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut get = redis::cmd("MGET");
    get.arg(ids.iter().map(|id| names.record(id)).collect::<Vec<_>>());
    let records: Vec<Option<String>> = link.call(&get).await?;
    let mut processes: Vec<Process> = records.iter().flatten().filter_map(|record| serde_json::from_str(record).ok()).collect();
    processes.sort_by(|a, b| (a.role, a.started_ms, &a.id).cmp(&(b.role, b.started_ms, &b.id)));
    Ok(processes)
}
