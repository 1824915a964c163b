//! The settings of this command: those of the processes that it looks at, from the same variables.

use std::{path::PathBuf, time::Duration};

use freshline::{
    broker::SourceConfig,
    coherence::Stripes,
    config::{
        Description, Faults, MAX_STALENESS, NAMESPACE, Optional, PUBLICATION, PostgresUrl, RELAY_SLOT, RULES, Reader, RedisUrl,
        SLOT, SLOT_WARN, STRIPES, Setting, Vars,
    },
    shard::Shard,
};
use secrecy::SecretString;

const CONNECT_URL: Optional<SecretString> = Setting::secret(
    "KAFKA_CONNECT_URL",
    "Where Kafka Connect answers, such as http://connect:8083: its Debezium connector is checked as well.",
)
.optional();

const INVALIDATOR_ROLE: Setting<String> =
    Setting::text("INVALIDATOR_ROLE", "shop_invalidator", "The role of the invalidator, whose rights `doctor` looks at.")
        .or("freshline_invalidator");

const READER_ROLES: Setting<Vec<String>> = Setting::list(
    "READER_ROLES",
    "shop_api,shop_jobs",
    "The roles that read the tables for the cache, whose rights `doctor` looks at.",
)
.or("freshline_api,freshline_warmer");

/// What this command is told from outside.
#[derive(Debug)]
pub struct Config {
    pub database_url: PostgresUrl,
    pub redis_url: RedisUrl,
    pub stripes: Stripes,
    pub source: SourceConfig,
    pub connect_url: Option<SecretString>,
    pub shard: Shard,
    pub slot: String,
    pub relay_slot: String,
    pub slot_warn_bytes: u64,
    pub publication: String,
    pub rules: Option<PathBuf>,
    pub max_staleness: Duration,
    pub invalidator_role: String,
    pub reader_roles: Vec<String>,
}

/// Every setting, for `settings`.
pub fn settings() -> Vec<Description> {
    let own = [
        NAMESPACE.describe(),
        STRIPES.describe(),
        Shard::SETTING.describe(),
        SLOT.describe(),
        RELAY_SLOT.describe(),
        SLOT_WARN.describe(),
        PUBLICATION.describe(),
        RULES.describe(),
        MAX_STALENESS.describe(),
        INVALIDATOR_ROLE.describe(),
        READER_ROLES.describe(),
    ];
    let servers = PostgresUrl::SETTINGS.into_iter().chain(RedisUrl::SETTINGS);
    servers.chain(own).chain(SourceConfig::settings()).chain([CONNECT_URL.describe()]).collect()
}

/// Reads all of them.
///
/// # Errors
/// Every fault, and not only the first.
pub fn load(vars: &dyn Vars) -> Result<Config, Faults> {
    let mut read = Reader::new(vars);
    let (database_url, redis_url) = (PostgresUrl::read(&mut read), RedisUrl::read(&mut read));
    let stripes = match (read.get(&NAMESPACE), read.get(&STRIPES)) {
        (Some(namespace), Some(stripes)) => Stripes::new(&namespace, stripes),
        _ => None,
    };
    let shard = Shard::read(&mut read, stripes.as_ref());
    let (slot, publication, rules) = (read.get(&SLOT), read.get(&PUBLICATION), read.optional(&RULES));
    let (source, connect_url) = (SourceConfig::read(&mut read), read.optional(&CONNECT_URL));
    let (relay_slot, slot_warn, max_staleness) = (read.get(&RELAY_SLOT), read.get(&SLOT_WARN), read.get(&MAX_STALENESS));
    let (invalidator_role, reader_roles) = (read.get(&INVALIDATOR_ROLE), read.get(&READER_ROLES));
    read.finish(|| {
        Some(Config {
            database_url: database_url?,
            redis_url: redis_url?,
            stripes: stripes?,
            source: source?.of_shard(shard?),
            connect_url: connect_url?,
            shard: shard?,
            slot: slot?,
            relay_slot: relay_slot?,
            slot_warn_bytes: slot_warn?,
            publication: publication?,
            rules: rules?,
            max_staleness: max_staleness?,
            invalidator_role: invalidator_role?,
            reader_roles: reader_roles?,
        })
    })
}
