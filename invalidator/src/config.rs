//! The settings of this process: the only place that reads its environment.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use freshline::{
    broker::SourceConfig,
    config::{Description, Faults, Life, PUBLICATION, RULES, Reader, SLOT, SLOT_DROP, SLOT_WARN, Setting, Shared, Vars},
    replication::SlotLimits,
    service::Configuration,
    shard::Shard,
};

use crate::applier::Replicas;

const ADDRESS: Setting<SocketAddr> =
    Setting::address("INVALIDATOR_ADDRESS", "Where the invalidator answers `/metrics`, `/livez` and `/readyz`.")
        .or("127.0.0.1:9102");

/// Protocol.md asks for four publications a second at least.
const POLL: Setting<Duration> = Setting::millis(
    "POLL_MS",
    10..=250,
    "How often the primary is asked for its snapshot, and the bound on staleness proven anew.",
)
.or("100");

const REPLICAS: Setting<u32> =
    Setting::count("REDIS_REPLICAS", 0..=16, "Replicas of Redis that have to confirm a change before it counts as applied.")
        .or("0");

const REPLICAS_TIMEOUT: Setting<Duration> = Setting::millis(
    "REDIS_REPLICAS_TIMEOUT_MS",
    10..=60_000,
    "How long to wait for those replicas before the change is sent again.",
)
.or("1000");

/// What a page of `freshline watch` or a dashboard shows, many times over: 10,000 records are about 1 MB.
const TRAIL: Setting<u32> = Setting::count(
    "TRAIL",
    0..=1_000_000,
    "About how many records of what was done are kept in Redis, for `freshline watch` and the live feed; 0 for none.",
)
.or("10000");

/// How long a call to Redis may take before it is sent again. Above any script's run, below a second of staleness.
pub const REDIS_DEADLINE: Duration = Duration::from_millis(500);

/// What this process is told from outside.
#[derive(Debug)]
pub struct Config {
    pub shared: Shared,
    pub address: SocketAddr,
    pub source: SourceConfig,
    pub shard: Shard,
    pub slot: String,
    pub publication: String,
    pub rules: Option<PathBuf>,
    pub poll_interval: Duration,
    pub replicas: Replicas,
    pub trail: u32,
    pub slot_limits: SlotLimits,
}

impl Configuration for Config {
    fn settings() -> Vec<Description> {
        let own = [
            ADDRESS.describe(),
            Shard::SETTING.describe(),
            SLOT.describe(),
            PUBLICATION.describe(),
            RULES.describe(),
            POLL.describe(),
            REPLICAS.describe(),
            REPLICAS_TIMEOUT.describe(),
            TRAIL.describe(),
            SLOT_WARN.describe(),
            SLOT_DROP.describe(),
        ];
        Shared::SETTINGS.into_iter().chain(own).chain(SourceConfig::settings()).collect()
    }

    fn load(vars: &dyn Vars) -> Result<Self, Faults> {
        let mut read = Reader::new(vars);
        let (shared, address) = (Shared::read(&mut read), read.get(&ADDRESS));
        let shard = Shard::read(&mut read, shared.as_ref().map(|shared| &shared.stripes));
        let source = SourceConfig::read(&mut read);
        let (slot, publication, rules) = (read.get(&SLOT), read.get(&PUBLICATION), read.optional(&RULES));
        let (poll_interval, trail) = (read.get(&POLL), read.get(&TRAIL));
        let (warn, drop) = (read.get(&SLOT_WARN), read.optional(&SLOT_DROP));
        let (count, timeout) = (read.get(&REPLICAS), read.get(&REPLICAS_TIMEOUT));
        read.finish(|| {
            Some(Self {
                shared: shared?,
                address: address?,
                source: source?.of_shard(shard?),
                shard: shard?,
                slot: shard?.name(&slot?),
                publication: publication?,
                rules: rules?,
                poll_interval: poll_interval?,
                replicas: Replicas { count: count?, timeout: timeout? },
                trail: trail?,
                slot_limits: SlotLimits { warn_bytes: warn?, drop_bytes: drop? },
            })
        })
    }

    fn life(&self) -> &Life {
        &self.shared.life
    }
}
