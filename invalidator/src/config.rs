//! The settings of this process: the only place that reads its environment.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use freshline::{
    broker::{kafka::KafkaAddress, nats::NatsSettings},
    config::{Description, Faults, Life, PUBLICATION, RULES, Reader, SLOT, SLOT_DROP, SLOT_WARN, Setting, Shared, Vars, Word},
    envelope::Numerics,
    replication::SlotLimits,
    service::Configuration,
};

use crate::{applier::Replicas, shard::Shard};

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
    "About how many records of what was done are kept in Redis, for `freshline watch`; 0 for none.",
)
.or("10000");

/// How long a call to Redis may take before it is sent again. Above any script's run, below a second of staleness.
pub const REDIS_DEADLINE: Duration = Duration::from_millis(500);

const SOURCE: Setting<SourceName> = Setting::word(
    "SOURCE",
    "Where changes come from: Postgres itself, the relay's stream in NATS JetStream, or Debezium's topics in Kafka.",
)
.or("postgres");

const TOPICS: Setting<Vec<String>> = Setting::list(
    "KAFKA_TOPICS",
    "shop.all",
    "The topics to consume: the one that everything is routed into, or all of the connector's, `.transaction` and `.message` too.",
)
.or("freshline.all");

const GROUP: Setting<String> = Setting::text(
    "KAFKA_GROUP",
    "freshline",
    "The group under which Kafka keeps the offsets, and the name of the turn that only one invalidator has. One per cache.",
)
.or("freshline");

const DECIMALS: Setting<Numerics> =
    Setting::word("KAFKA_DECIMALS", "The connector's `decimal.handling.mode`; under precise, NaN cannot be told from null.")
        .or("string");

const CONSUMER: Setting<String> =
    Setting::namespace("NATS_CONSUMER", "The durable consumer that remembers how far the stream was applied. One per cache.")
        .or("freshline");

const SHARD: Setting<Shard> = Setting::parsed(
    "SHARD",
    "1/2",
    "Which share of the stripes this process applies, where one is not enough for all: each of n processes has one, 1/n to n/n, and a \
     slot or consumer of its own, named after the one that is set.",
)
.or("1/1");

/// Where changes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceName {
    Postgres,
    Nats,
    Kafka,
}

impl Word for SourceName {
    const WORDS: &'static [(&'static str, Self)] = &[("postgres", Self::Postgres), ("nats", Self::Nats), ("kafka", Self::Kafka)];
}

/// Where changes come from, and how to reach it where that is not the primary.
#[derive(Debug)]
pub enum SourceConfig {
    Postgres,
    Nats { settings: NatsSettings, consumer: String },
    Kafka(Box<KafkaConfig>),
}

/// How to consume from Kafka.
#[derive(Debug)]
pub struct KafkaConfig {
    pub address: KafkaAddress,
    pub topics: Vec<String>,
    pub group: String,
    pub numerics: Numerics,
}

impl SourceConfig {
    /// Its word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats { .. } => "nats",
            Self::Kafka(_) => "kafka",
        }
    }
}

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
            SOURCE.describe(),
            SHARD.describe(),
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
        let kafka = [TOPICS.describe(), GROUP.describe(), DECIMALS.describe()];
        let nats = NatsSettings::SETTINGS.into_iter().chain([CONSUMER.describe()]);
        Shared::SETTINGS.into_iter().chain(own).chain(nats).chain(KafkaAddress::SETTINGS).chain(kafka).collect()
    }

    fn load(vars: &dyn Vars) -> Result<Self, Faults> {
        let mut read = Reader::new(vars);
        let (shared, address) = (Shared::read(&mut read), read.get(&ADDRESS));
        let shard = read_shard(&mut read, shared.as_ref());
        let source = read_source(&mut read, shard);
        let (slot, publication, rules) = (read.get(&SLOT), read.get(&PUBLICATION), read.optional(&RULES));
        let (poll_interval, trail) = (read.get(&POLL), read.get(&TRAIL));
        let (warn, drop) = (read.get(&SLOT_WARN), read.optional(&SLOT_DROP));
        let (count, timeout) = (read.get(&REPLICAS), read.get(&REPLICAS_TIMEOUT));
        read.finish(|| {
            Some(Self {
                shared: shared?,
                address: address?,
                source: source?,
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

/// One that has no stripe would do nothing, and look as if it did.
fn read_shard(read: &mut Reader<'_>, shared: Option<&Shared>) -> Option<Shard> {
    let shard = read.get(&SHARD)?;
    if shared.is_some_and(|shared| shard.count() > shared.stripes.count()) {
        return read.fault(&SHARD.describe(), "has more shards than FRESHLINE_STRIPES has stripes");
    }
    Some(shard)
}

/// A source's own settings are read where it is chosen, and not missed where it is not.
fn read_source(read: &mut Reader<'_>, shard: Option<Shard>) -> Option<SourceConfig> {
    match read.get(&SOURCE)? {
        SourceName::Postgres => Some(SourceConfig::Postgres),
        SourceName::Nats => {
            let (settings, consumer) = (NatsSettings::read(read), read.get(&CONSUMER));
            Some(SourceConfig::Nats { settings: settings?, consumer: shard?.name(&consumer?) })
        }
        SourceName::Kafka => {
            let (address, topics) = (KafkaAddress::read(read), read.get(&TOPICS));
            let (group, numerics) = (read.get(&GROUP), read.get(&DECIMALS));
            Some(SourceConfig::Kafka(Box::new(KafkaConfig {
                address: address?,
                topics: topics?,
                group: shard?.name(&group?),
                numerics: numerics?,
            })))
        }
    }
}
