//! Which source changes come from, and how the invalidator reads it: what the invalidator is told, and the control command looks at.

use super::{kafka::KafkaAddress, nats::NatsSettings};
use crate::{
    config::{Description, Reader, Setting, Word},
    envelope::Numerics,
    shard::Shard,
};

const SOURCE: Setting<SourceName> = Setting::word(
    "SOURCE",
    "Where changes come from: Postgres itself, the relay's stream in NATS JetStream, or in Kafka the topics of Debezium or the relay.",
)
.or("postgres");

const TOPICS: Setting<Vec<String>> = Setting::list(
    "KAFKA_TOPICS",
    "shop.all",
    "The topics to consume: the relay's; or of a connector the one that everything is routed into, or all, `.transaction` and `.message` too.",
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
#[derive(Debug, Clone)]
pub enum SourceConfig {
    /// A replication slot of the primary.
    Postgres,
    /// The relay's stream in NATS JetStream.
    Nats {
        /// Where it is.
        settings: NatsSettings,
        /// The durable consumer.
        consumer: String,
    },
    /// Topics of Kafka.
    Kafka(Box<KafkaConfig>),
}

/// How to consume from Kafka.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// How to reach it.
    pub address: KafkaAddress,
    /// The topics: all of a connector's, or the one into which they are routed.
    pub topics: Vec<String>,
    /// Under which name the offsets are kept.
    pub group: String,
    /// How the connector writes `numeric`.
    pub numerics: Numerics,
}

impl SourceConfig {
    /// What [`SourceConfig::read`] reads.
    pub fn settings() -> impl Iterator<Item = Description> {
        let kafka = [TOPICS.describe(), GROUP.describe(), DECIMALS.describe()];
        let nats = NatsSettings::SETTINGS.into_iter().chain([CONSUMER.describe()]);
        [SOURCE.describe()].into_iter().chain(nats).chain(KafkaAddress::SETTINGS).chain(kafka)
    }

    /// Reads them; `None` where one has a fault, which the reader keeps. A source's own settings are read where it is chosen, and not
    /// missed where it is not.
    pub fn read(read: &mut Reader<'_>) -> Option<Self> {
        match read.get(&SOURCE)? {
            SourceName::Postgres => Some(Self::Postgres),
            SourceName::Nats => {
                let (settings, consumer) = (NatsSettings::read(read), read.get(&CONSUMER));
                Some(Self::Nats { settings: settings?, consumer: consumer? })
            }
            SourceName::Kafka => {
                let (address, topics) = (KafkaAddress::read(read), read.get(&TOPICS));
                let (group, numerics) = (read.get(&GROUP), read.get(&DECIMALS));
                Some(Self::Kafka(Box::new(KafkaConfig { address: address?, topics: topics?, group: group?, numerics: numerics? })))
            }
        }
    }

    /// The same for one shard, which has a consumer of its own.
    pub fn of_shard(self, shard: Shard) -> Self {
        match self {
            Self::Postgres => Self::Postgres,
            Self::Nats { settings, consumer } => Self::Nats { settings, consumer: shard.name(&consumer) },
            Self::Kafka(kafka) => Self::Kafka(Box::new(KafkaConfig { group: shard.name(&kafka.group), ..*kafka })),
        }
    }

    /// Its word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats { .. } => "nats",
            Self::Kafka(_) => "kafka",
        }
    }
}
