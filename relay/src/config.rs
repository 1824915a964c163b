//! The settings of this process: the only place that reads its environment.

use std::{net::SocketAddr, time::Duration};

use freshline::{
    broker::nats::NatsSettings,
    config::{
        DATABASE_URL, Description, Faults, GRACE, LOG, LOG_FORMAT, PUBLICATION, PostgresUrl, RELAY_SLOT, Reader, SLOT_DROP,
        SLOT_WARN, Setting, Vars,
    },
    replication::SlotLimits,
    telemetry::Logging,
};

const ADDRESS: Setting<SocketAddr> =
    Setting::address("RELAY_ADDRESS", "Where the relay answers `/metrics`, `/livez` and `/readyz`.").or("127.0.0.1:9103");

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
    pub logging: Logging,
    pub grace: Duration,
}

/// Every setting, for `--settings`.
pub fn settings() -> Vec<Description> {
    let own = [
        DATABASE_URL.describe(),
        PUBLICATION.describe(),
        RELAY_SLOT.describe(),
        SLOT_WARN.describe(),
        SLOT_DROP.describe(),
        ADDRESS.describe(),
        MAX_AGE.describe(),
        LOG.describe(),
        LOG_FORMAT.describe(),
        GRACE.describe(),
    ];
    own.into_iter().chain(NatsSettings::SETTINGS).collect()
}

/// Reads all of them.
///
/// # Errors
/// Every fault, and not only the first.
pub fn load(vars: &dyn Vars) -> Result<Config, Faults> {
    let mut read = Reader::new(vars);
    let (database_url, publication, slot) = (read.get(&DATABASE_URL), read.get(&PUBLICATION), read.get(&RELAY_SLOT));
    let (address, nats, max_age) = (read.get(&ADDRESS), NatsSettings::read(&mut read), read.get(&MAX_AGE));
    let (warn, drop) = (read.get(&SLOT_WARN), read.optional(&SLOT_DROP));
    let (filter, format, grace) = (read.get(&LOG), read.get(&LOG_FORMAT), read.get(&GRACE));
    read.finish(|| {
        Some(Config {
            database_url: database_url?,
            publication: publication?,
            slot: slot?,
            slot_limits: SlotLimits { warn_bytes: warn?, drop_bytes: drop? },
            address: address?,
            nats: nats?,
            max_age: max_age?,
            logging: Logging { filter: filter?, format: format? },
            grace: grace?,
        })
    })
}
