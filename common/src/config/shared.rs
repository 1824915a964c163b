//! The settings that several processes have in common.

use std::{path::PathBuf, time::Duration};

use super::{Description, Optional, PostgresUrl, Reader, RedisUrl, Setting, Word};
use crate::{
    coherence::Stripes,
    telemetry::{
        LogFormat, Logging,
        trace::{CollectorUrl, Ratio, Tracing},
    },
};

/// What the cache's keys begin with.
pub const NAMESPACE: Setting<String> =
    Setting::namespace("NAMESPACE", "Keeps this cache apart from others in the same Redis. The same for every process.")
        .or("freshline");

/// How many stripes the cache has.
pub const STRIPES: Setting<u16> = Setting::count(
    "STRIPES",
    1..=1024,
    "Stripes of the cache: 1 on a single Redis, some per master on a cluster. The same for every process.",
)
.or("1");

/// Where changes are read from.
pub const SLOT: Setting<String> =
    Setting::namespace("SLOT", "The replication slot that changes are read from. Made if it is not there; one per cache.")
        .or("freshline");

/// Where the relay reads from.
pub const RELAY_SLOT: Setting<String> =
    Setting::namespace("RELAY_SLOT", "The replication slot that the relay reads from. Made if it is not there; one per broker.")
        .or("freshline_relay");

/// What a busy primary writes in some minutes.
pub const SLOT_WARN: Setting<u64> = Setting::count(
    "SLOT_WARN_BYTES",
    1_048_576..=1_125_899_906_842_624,
    "Log that the slot may hold back on the primary before it is warned of.",
)
.or("1073741824");

/// What no disk is to be filled beyond.
pub const SLOT_DROP: Optional<u64> = Setting::count(
    "SLOT_DROP_BYTES",
    16_777_216..=1_125_899_906_842_624,
    "Log that the slot may hold back before it is dropped on purpose, so that it never fills the primary's disk: the cache is then \
     opened anew. Left out: it is never dropped.",
)
.optional();

/// Which changes are read.
pub const PUBLICATION: Setting<String> =
    Setting::namespace("PUBLICATION", "The publication that names the tables whose changes are read.").or("freshline");

/// What changes touch.
pub const RULES: Optional<PathBuf> =
    Setting::path("RULES", "The rules file that maps tables to cached keys and tags. Left out: the catalogue's own.").optional();

/// How old a value may be that is served from the cache. The default is the promise of the design: five seconds.
pub const MAX_STALENESS: Setting<Duration> = Setting::millis(
    "MAX_STALENESS_MS",
    500..=3_600_000,
    "The oldest that a value served from the cache may be. At least twice the 250 ms at which the bound is proven anew.",
)
.or("5000");

/// How long a value stays.
pub const VALUE_TTL: Setting<Duration> =
    Setting::millis("VALUE_TTL_MS", 1000..=604_800_000, "How long a value stays in Redis unless it changes, give or take 10 %.")
        .or("600000");

/// How long it is known that a row does not exist.
pub const ABSENT_TTL: Setting<Duration> =
    Setting::millis("ABSENT_TTL_MS", 1000..=604_800_000, "How long it stays in Redis that there is no such row.").or("60000");

/// How long somebody may take to fill a key.
pub const LEASE_TTL: Setting<Duration> = Setting::millis(
    "LEASE_TTL_MS",
    1000..=5000,
    "How long the right to fill a key is held at most; above the time that one read of Postgres takes.",
)
.or("2000");

/// What to log.
///
/// The replication client logs an error at each disconnect, which is told once already, with what is done about it.
const LOG: Setting<String> = Setting::log_filter("LOG", "What to log.").or("info,pgwire_replication=off");

/// How to log it.
pub(super) const LOG_FORMAT: Setting<LogFormat> =
    Setting::word("LOG_FORMAT", "Log lines for people, or JSON objects, one a line, for a collector.").or("human");

/// How long a process may take to end.
const GRACE: Setting<Duration> =
    Setting::millis("GRACE_MS", 0..=600_000, "How long work under way may take to end after SIGTERM; then it is aborted.")
        .or("10000");

/// Where traces go.
const TRACES_URL: Optional<CollectorUrl> = Setting::parsed(
    "TRACES_URL",
    "http://127.0.0.1:4318",
    "The collector that takes traces, as OTLP over HTTP with JSON. Left out: nothing is traced.",
)
.optional();

/// A trace costs some microseconds and a kilobyte for each step; one in a hundred is not felt.
const TRACES_RATIO: Setting<Ratio> = Setting::parsed(
    "TRACES_RATIO",
    "0.01",
    "How many requests are traced, of 1. One that comes with a `traceparent` is traced if that says so, and only then.",
)
.or("0.01");

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("human", Self::Human), ("json", Self::Json)];
}

/// How a process lives: what it says, and how long it may take to end.
#[derive(Debug, Clone)]
pub struct Life {
    /// What to log, and how.
    pub logging: Logging,
    /// What to trace; `None` where nothing is.
    pub traces: Option<Tracing>,
    /// How long work under way may take to end.
    pub grace: Duration,
}

impl Life {
    /// The settings that [`Life::read`] reads.
    pub const SETTINGS: [Description; 3] = [LOG.describe(), LOG_FORMAT.describe(), GRACE.describe()];

    /// Reads them all; `None` where one has a fault, which the reader keeps.
    pub fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (filter, format, grace) = (read.get(&LOG), read.get(&LOG_FORMAT), read.get(&GRACE));
        Some(Self { logging: Logging { filter: filter?, format: format? }, traces: None, grace: grace? })
    }
}

/// The values that every process needs which uses the cache.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where the primary is.
    pub database_url: PostgresUrl,
    /// Where the cache is.
    pub redis_url: RedisUrl,
    /// How names are spread over the cache.
    pub stripes: Stripes,
    /// How the process lives.
    pub life: Life,
}

impl Shared {
    /// The settings that [`Shared::read`] reads.
    pub const SETTINGS: [Description; 14] = [
        PostgresUrl::SETTINGS[0],
        PostgresUrl::SETTINGS[1],
        RedisUrl::SETTINGS[0],
        RedisUrl::SETTINGS[1],
        RedisUrl::SETTINGS[2],
        RedisUrl::SETTINGS[3],
        RedisUrl::SETTINGS[4],
        NAMESPACE.describe(),
        STRIPES.describe(),
        LOG.describe(),
        LOG_FORMAT.describe(),
        TRACES_URL.describe(),
        TRACES_RATIO.describe(),
        GRACE.describe(),
    ];

    /// Reads them all; `None` where one has a fault, which the reader keeps.
    pub fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (database_url, redis_url) = (PostgresUrl::read(read), RedisUrl::read(read));
        let (namespace, stripes) = (read.get(&NAMESPACE), read.get(&STRIPES));
        let (collector, ratio, life) = (read.optional(&TRACES_URL), read.get(&TRACES_RATIO), Life::read(read));
        Some(Self {
            database_url: database_url?,
            redis_url: redis_url?,
            stripes: Stripes::new(&namespace?, stripes?)?,
            life: Life { traces: traced(collector?, ratio?), ..life? },
        })
    }
}

fn traced(collector: Option<CollectorUrl>, ratio: Ratio) -> Option<Tracing> {
    collector.map(|collector| Tracing { collector, ratio })
}
