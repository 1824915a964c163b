//! The settings of this process: the only place that reads its environment.

use std::{net::SocketAddr, time::Duration};

use freshline::{
    broker::{
        kafka::{KafkaAddress, RETENTION_MIN_MS},
        nats::NatsSettings,
    },
    config::{Description, Faults, Life, PUBLICATION, PostgresUrl, RELAY_SLOT, Reader, SLOT_DROP, SLOT_WARN, Setting, Vars, Word},
    replication::SlotLimits,
    service::Configuration,
};

use crate::sink::{To, kafka::ToKafka, nats::ToNats};

const ADDRESS: Setting<SocketAddr> =
    Setting::address("RELAY_ADDRESS", "Where the relay answers `/metrics`, `/livez` and `/readyz`.").or("127.0.0.1:9103");

const TO: Setting<Broker> = Setting::word("RELAY_TO", "Which broker the relay publishes to.").or("nats");

const MAX_AGE: Setting<Duration> = Setting::millis(
    "NATS_MAX_AGE_MS",
    600_000..=31_536_000_000,
    "How long the stream keeps a message: longer than the invalidator may be down, or the cache begins anew.",
)
.or("86400000");

const TOPIC: Setting<String> =
    Setting::text("KAFKA_TOPIC", "freshline.all", "The topic of the relay, which alone may write there. Made if it is not there.")
        .or("freshline.all");

const PARTITIONS: Setting<i32> = Setting::count(
    "KAFKA_PARTITIONS",
    1..=1_000,
    "The partitions of the topic where the relay makes it. With more than one, changed rows are removed from the cache and not replaced.",
)
.or("1");

const RETENTION: Setting<Duration> = Setting::millis(
    "KAFKA_RETENTION_MS",
    RETENTION_MIN_MS..=31_536_000_000,
    "How long the topic keeps a message where the relay makes it: longer than the invalidator may be down, or the cache begins anew.",
)
.or("86400000");

/// Where changes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broker {
    Nats,
    Kafka,
}

impl Word for Broker {
    const WORDS: &'static [(&'static str, Self)] = &[("nats", Self::Nats), ("kafka", Self::Kafka)];
}

/// What this process is told from outside.
#[derive(Debug)]
pub struct Config {
    pub database_url: PostgresUrl,
    pub publication: String,
    pub slot: String,
    pub slot_limits: SlotLimits,
    pub address: SocketAddr,
    pub to: To,
    pub life: Life,
}

impl Configuration for Config {
    fn settings() -> Vec<Description> {
        let own = [
            PostgresUrl::SETTINGS[0],
            PostgresUrl::SETTINGS[1],
            PUBLICATION.describe(),
            RELAY_SLOT.describe(),
            SLOT_WARN.describe(),
            SLOT_DROP.describe(),
            ADDRESS.describe(),
            TO.describe(),
        ];
        let nats = NatsSettings::SETTINGS.into_iter().chain([MAX_AGE.describe()]);
        let kafka = KafkaAddress::SETTINGS.into_iter().chain([TOPIC.describe(), PARTITIONS.describe(), RETENTION.describe()]);
        own.into_iter().chain(Life::SETTINGS).chain(nats).chain(kafka).collect()
    }

    fn load(vars: &dyn Vars) -> Result<Self, Faults> {
        let mut read = Reader::new(vars);
        let (database_url, publication, slot) = (PostgresUrl::read(&mut read), read.get(&PUBLICATION), read.get(&RELAY_SLOT));
        let (address, to) = (read.get(&ADDRESS), read_broker(&mut read));
        let (warn, drop) = (read.get(&SLOT_WARN), read.optional(&SLOT_DROP));
        let life = Life::read(&mut read);
        read.finish(|| {
            Some(Self {
                database_url: database_url?,
                publication: publication?,
                slot: slot?,
                slot_limits: SlotLimits { warn_bytes: warn?, drop_bytes: drop? },
                address: address?,
                to: to?,
                life: life?,
            })
        })
    }

    fn life(&self) -> &Life {
        &self.life
    }
}

/// A broker's own settings are read where it is chosen, and not missed where it is not.
fn read_broker(read: &mut Reader<'_>) -> Option<To> {
    match read.get(&TO)? {
        Broker::Nats => {
            let (settings, max_age) = (NatsSettings::read(read), read.get(&MAX_AGE));
            Some(To::Nats(ToNats { settings: settings?, max_age: max_age? }))
        }
        Broker::Kafka => {
            let (address, topic) = (KafkaAddress::read(read), read.get(&TOPIC));
            let (partitions, retention) = (read.get(&PARTITIONS), read.get(&RETENTION));
            Some(To::Kafka(ToKafka { address: address?, topic: topic?, partitions: partitions?, retention: retention? }))
        }
    }
}
