//! The settings of this process, read and checked before anything is bound or connected.

mod manage;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use freshline::{
    cache,
    config::{
        ABSENT_TTL, Description, Faults, LEASE_TTL, Life, MAX_STALENESS, Optional, PUBLICATION, Reader, Setting, Shared, VALUE_TTL,
        Vars,
    },
    server::Limits,
    service::Configuration,
};
use http::HeaderValue;

use crate::caching::Caching;

pub use self::manage::Manage;

const ADDRESS: Setting<SocketAddr> = Setting::address("API_ADDRESS", "Where the API listens.").or("127.0.0.1:8080");

const CONNECTIONS_MAX: Setting<usize> =
    Setting::count("API_CONNECTIONS_MAX", 1..=1_000_000, "Connections from callers at a time; further ones wait to be accepted.")
        .or("4096");

/// Above the minute for which balancers keep an idle connection: who closes first must not be us.
const IDLE: Setting<Duration> = Setting::millis(
    "API_IDLE_MS",
    100..=3_600_000,
    "How long a connection may take until the head of its next request is there; then it is closed.",
)
.or("75000");

const BODY_MAX: Setting<usize> =
    Setting::count("API_BODY_MAX_BYTES", 1024..=67_108_864, "The largest body that a write may have.").or("262144");

const BODY: Setting<Duration> =
    Setting::millis("API_BODY_MS", 100..=600_000, "How long the body of a write may take to come.").or("10000");

/// On a busy machine 50 ms were not enough for a caller that connects and asks at once.
const FIRST_WORD: Duration = Duration::from_secs(2);

const LAME_DUCK: Setting<Duration> = Setting::millis(
    "API_LAME_DUCK_MS",
    0..=600_000,
    "After SIGTERM: how long requests are still accepted, each answered with `Connection: close`, while `/readyz` says no. Behind a \
     balancer, longer than it takes to notice.",
)
.or("500");

const READ_SESSIONS_MAX: Setting<u32> = Setting::count(
    "API_READ_SESSIONS_MAX",
    1..=1000,
    "Reads of Postgres at a time, and sessions kept for them: what protects it when the cache is away.",
)
.or("16");

const WRITE_SESSIONS_MAX: Setting<u32> =
    Setting::count("API_WRITE_SESSIONS_MAX", 1..=1000, "Writes to Postgres at a time, and sessions kept for them.").or("8");

const SESSION_WAIT: Setting<Duration> = Setting::millis(
    "API_SESSION_WAIT_MS",
    10..=60_000,
    "How long a request waits for a session of Postgres to be free, or to be made, before it is answered with 503.",
)
.or("2000");

const STATEMENT: Setting<Duration> =
    Setting::millis("API_STATEMENT_MS", 10..=600_000, "How long Postgres may work on one statement.").or("2000");

const CORS_ORIGINS: Optional<Vec<String>> = Setting::list(
    "API_CORS_ORIGINS",
    "https://shop.example,http://localhost:3000",
    "Whose pages may ask this API from a browser, or * for any. Left out: only its own.",
)
.optional();

const REDIS_DEADLINE: Setting<Duration> =
    Setting::millis("API_REDIS_DEADLINE_MS", 5..=10_000, "How long Redis may take for one call; then Postgres is asked.").or("100");

const BUSY_WAIT: Setting<Duration> = Setting::millis(
    "API_BUSY_WAIT_MS",
    0..=5000,
    "How long a read waits for another's fill of the same key before it asks Postgres.",
)
.or("200");

const FALLBACK_MAX: Setting<usize> = Setting::count(
    "API_FALLBACK_MAX_BYTES",
    0..=1_073_741_824,
    "Memory for values that are read from Postgres while Redis is away: each is served again, but never to a token, until it is as old \
     as FRESHLINE_MAX_STALENESS_MS. 0: Postgres is asked each time.",
)
.or("33554432");

const HEAD: Setting<Duration> = Setting::millis(
    "API_HEAD_MS",
    100..=600_000,
    "How long the head of a request may take from its first byte to its last, and the handshake of TLS; then the connection is closed.",
)
.or("10000");

const STALL: Setting<Duration> = Setting::millis(
    "API_STALL_MS",
    100..=600_000,
    "How long a caller may take nothing of an answer that waits for him; then the connection is closed.",
)
.or("10000");

const CERTIFICATE_FILE: Optional<PathBuf> = Setting::path(
    "API_CERTIFICATE_FILE",
    "The certificate (PEM, its chain behind it) to answer HTTPS with; with a key. Left out: HTTP.",
)
.optional();

const KEY_FILE: Optional<PathBuf> = Setting::path("API_KEY_FILE", "The key (PEM) of that certificate.").optional();

/// What this process needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every process needs.
    pub shared: Shared,
    /// Where to listen.
    pub address: SocketAddr,
    /// The connections.
    pub limits: Limits,
    /// The certificate to answer HTTPS with, and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The bodies of writes.
    pub body: Body,
    /// Postgres.
    pub database: Database,
    /// How long Redis may take for one call.
    pub redis_deadline: Duration,
    /// The cache.
    pub cache: cache::Settings,
    /// The publication that names the tables whose changes are read: for those who ask for a key to be explained.
    pub publication: String,
    /// The management calls.
    pub manage: Manage,
    /// What browsers and caches of others may do.
    pub http: Http,
}

/// What browsers and caches of others may do.
#[derive(Debug, Clone)]
pub struct Http {
    /// What may be kept.
    pub caching: Caching,
    /// The pages of which origins may ask.
    pub cors: Vec<HeaderValue>,
}

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub struct Body {
    /// Its size in bytes, at most.
    pub len_max: usize,
    /// How long it may take to come.
    pub deadline: Duration,
}

/// What is asked of Postgres at most.
#[derive(Debug, Clone, Copy)]
pub struct Database {
    /// Reads at a time.
    pub read_sessions_max: u32,
    /// Writes at a time.
    pub write_sessions_max: u32,
    /// How long a request waits for a session.
    pub session_wait: Duration,
    /// How long a statement may take.
    pub statement: Duration,
}

impl Configuration for Config {
    fn settings() -> Vec<Description> {
        let own = [
            ADDRESS.describe(),
            CONNECTIONS_MAX.describe(),
            IDLE.describe(),
            HEAD.describe(),
            STALL.describe(),
            CERTIFICATE_FILE.describe(),
            KEY_FILE.describe(),
            LAME_DUCK.describe(),
            BODY_MAX.describe(),
            BODY.describe(),
            READ_SESSIONS_MAX.describe(),
            WRITE_SESSIONS_MAX.describe(),
            SESSION_WAIT.describe(),
            STATEMENT.describe(),
            REDIS_DEADLINE.describe(),
            MAX_STALENESS.describe(),
            VALUE_TTL.describe(),
            ABSENT_TTL.describe(),
            LEASE_TTL.describe(),
            BUSY_WAIT.describe(),
            FALLBACK_MAX.describe(),
            PUBLICATION.describe(),
        ];
        let own = Shared::SETTINGS.into_iter().chain(own).chain(Manage::SETTINGS);
        own.chain(Caching::SETTINGS).chain([CORS_ORIGINS.describe()]).collect()
    }

    fn load(vars: &dyn Vars) -> Result<Self, Faults> {
        let mut read = Reader::new(vars);
        let shared = Shared::read(&mut read);
        let (address, redis_deadline, publication) = (read.get(&ADDRESS), read.get(&REDIS_DEADLINE), read.get(&PUBLICATION));
        let manage = Manage::read(&mut read, address);
        let body = Body::read(&mut read);
        let database = Database::read(&mut read);
        let cache = cache_settings(&mut read);
        let (http, limits) = (Http::read(&mut read), limits(&mut read, shared.as_ref()));
        let tls = read.both(&CERTIFICATE_FILE, &KEY_FILE);
        read.finish(|| {
            Some(Self {
                shared: shared?,
                address: address?,
                limits: limits?,
                tls: tls?,
                body: body?,
                database: database?,
                redis_deadline: redis_deadline?,
                http: http?,
                // A load takes a session, so there are as many of one as of the other, and a load waits as long as a session would.
                cache: cache::Settings {
                    loads_max: database?.read_sessions_max as usize,
                    load_wait: database?.session_wait,
                    ..cache?
                },
                publication: publication?,
                manage: manage?,
            })
        })
    }

    fn life(&self) -> &Life {
        &self.shared.life
    }

    fn is_https(vars: &dyn Vars) -> bool {
        Reader::new(vars).optional(&CERTIFICATE_FILE).flatten().is_some()
    }
}

impl Http {
    fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (caching, cors) = (Caching::read(read), read.optional(&CORS_ORIGINS));
        let Some(origins) = cors? else { return Some(Self { caching: caching?, cors: Vec::new() }) };
        match origins.iter().map(|origin| origin_of(origin)).collect() {
            Some(cors) => Some(Self { caching: caching?, cors }),
            None => read
                .fault(&CORS_ORIGINS.describe(), "has an origin that is none: neither * nor scheme://host, with a port or without"),
        }
    }
}

/// An origin as browsers write it (RFC 6454, 6.2), or any.
fn origin_of(text: &str) -> Option<HeaderValue> {
    let is_origin = text == "*"
        || text.split_once("://").is_some_and(|(scheme, host)| {
            matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' '])
        });
    HeaderValue::from_str(text).ok().filter(|_| is_origin)
}

impl Body {
    fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (len_max, deadline) = (read.get(&BODY_MAX), read.get(&BODY));
        Some(Self { len_max: len_max?, deadline: deadline? })
    }
}

impl Database {
    fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (reads, writes) = (read.get(&READ_SESSIONS_MAX), read.get(&WRITE_SESSIONS_MAX));
        let (session_wait, statement) = (read.get(&SESSION_WAIT), read.get(&STATEMENT));
        Some(Self { read_sessions_max: reads?, write_sessions_max: writes?, session_wait: session_wait?, statement: statement? })
    }
}

fn limits(read: &mut Reader<'_>, shared: Option<&Shared>) -> Option<Limits> {
    let (connections, idle, lame_duck) = (read.get(&CONNECTIONS_MAX), read.get(&IDLE), lame_duck(read, shared));
    let (head, stall) = (read.get(&HEAD), read.get(&STALL));
    Some(Limits {
        connections: connections?,
        idle: idle?,
        head: head?,
        stall: stall?,
        lame_duck: lame_duck?,
        first_word: FIRST_WORD,
        grace: shared?.life.grace,
    })
}

/// It is a part of the grace, and has to leave some.
fn lame_duck(read: &mut Reader<'_>, shared: Option<&Shared>) -> Option<Duration> {
    let lame_duck = read.get(&LAME_DUCK)?;
    if !lame_duck.is_zero() && shared.is_some_and(|shared| shared.life.grace <= lame_duck) {
        return read.fault(&LAME_DUCK.describe(), "is neither 0 nor below FRESHLINE_GRACE_MS");
    }
    Some(lame_duck)
}

fn cache_settings(read: &mut Reader<'_>) -> Option<cache::Settings> {
    let (max_staleness, value_ttl, absent_ttl) = (read.get(&MAX_STALENESS), read.get(&VALUE_TTL), read.get(&ABSENT_TTL));
    let (lease_ttl, busy_wait, fallback) = (read.get(&LEASE_TTL), read.get(&BUSY_WAIT), read.get(&FALLBACK_MAX));
    Some(cache::Settings {
        max_staleness: max_staleness?,
        value_ttl: value_ttl?,
        absent_ttl: absent_ttl?,
        lease_ttl: lease_ttl?,
        busy_wait: busy_wait?,
        fallback_bytes_max: fallback?,
        ..cache::Settings::default()
    })
}
