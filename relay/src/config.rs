//! The settings of this process: the only place that reads its environment.

use std::{net::SocketAddr, time::Duration};

use freshline::{
    broker::nats::NatsSettings,
    config::{DATABASE_URL, Description, Faults, Life, PUBLICATION, PostgresUrl, Reader, SLOT_DROP, SLOT_WARN, Setting, Vars},
    replication::SlotLimits,
    service::Configuration,
};

const ADDRESS: Setting<SocketAddr> =
    Setting::address("RELAY_ADDRESS", "Where the relay answers `/metrics`, `/livez` and `/readyz`.").or("127.0.0.1:9103");

const SLOT: Setting<String> =
    Setting::namespace("RELAY_SLOT", "The replication slot that the relay reads from. Made if it is not there; one per broker.")
        .or("freshline_relay");

const MAX_AGE: Setting<Duration> = Setting::millis(
    "NATS_MAX_AGE_MS",
    600_000..=31_536_000_000,
    "How long the stream keeps a message: longer than the invalidator may be down, or the cache begins anew.",
)
.or("86400000");

/// What this process is told from outside.
#[derive(Debug)]
pub struct Config {
    pub database_url: PostgresUrl,
    pub publication: String,
    pub slot: String,
    pub slot_limits: SlotLimits,
    pub address: SocketAddr,
    pub nats: NatsSettings,
    pub max_age: Duration,
    pub life: Life,
}

impl Configuration for Config {
    fn settings() -> Vec<Description> {
        let own = [
            DATABASE_URL.describe(),
            PUBLICATION.describe(),
            SLOT.describe(),
            SLOT_WARN.describe(),
            SLOT_DROP.describe(),
            ADDRESS.describe(),
            MAX_AGE.describe(),
        ];
        own.into_iter().chain(Life::SETTINGS).chain(NatsSettings::SETTINGS).collect()
    }

    fn load(vars: &dyn Vars) -> Result<Self, Faults> {
        let mut read = Reader::new(vars);
        let (database_url, publication, slot) = (read.get(&DATABASE_URL), read.get(&PUBLICATION), read.get(&SLOT));
        let (address, nats, max_age) = (read.get(&ADDRESS), NatsSettings::read(&mut read), read.get(&MAX_AGE));
        let (warn, drop) = (read.get(&SLOT_WARN), read.optional(&SLOT_DROP));
        let life = Life::read(&mut read);
        read.finish(|| {
            Some(Self {
                database_url: database_url?,
                publication: publication?,
                slot: slot?,
                slot_limits: SlotLimits { warn_bytes: warn?, drop_bytes: drop? },
                address: address?,
                nats: nats?,
                max_age: max_age?,
                life: life?,
            })
        })
    }

    fn life(&self) -> &Life {
        &self.life
    }
}
