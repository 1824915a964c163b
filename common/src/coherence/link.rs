//! One connection to one Redis process, with everything the protocol must know of it: its run, the scripts loaded in it, its clock.
//!
//! A link never reconnects: a client that did would hide a restarted Redis. When it breaks it stays broken, and [`Links`](super::Links)
//! makes another.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, FromRedisValue, Value, aio::MultiplexedConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    entry::RedisTime,
    identity::Run,
    scripts::{SCRIPTS, Script},
};
use crate::{
    fault::{Classified, Kind},
    tls,
};

/// How long a connection may take to be made, hello and all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One connection to one Redis process. Cheap to clone.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

/// What the clones of a [`Link`] share.
pub(super) struct Shared {
    connection: MultiplexedConnection,
    run: Run,
    /// What `SCRIPT LOAD` answered for each of [`SCRIPTS`], in order.
    digests: Vec<String>,
    broken: CancellationToken,
    /// What `broken` says, to be read without its lock: each read of the cache asks.
    is_broken: AtomicBool,
    /// Whether the last call was given up.
    silent: AtomicBool,
    /// How often Redis has gone away, over all links of a keeper. Counted before it shows in `silent` or `is_broken`.
    outages: Arc<AtomicU64>,
    silenced: Notify,
    clock: Clock,
}

/// Why a call to Redis gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no connection, or it broke.
    #[error("no connection to Redis")]
    Down(#[source] Option<redis::RedisError>),
    /// Redis did not answer in time. What was asked may still be carried out.
    #[error("Redis did not answer in time")]
    Silent,
    /// Redis answered with an error: out of memory, loading its file, a replica.
    #[error("Redis refused a command")]
    Refused(#[source] redis::RedisError),
    /// Its certificate is not trusted, or ours is not.
    #[error("there is no trust between Redis and this process")]
    Untrusted(#[source] redis::RedisError),
    /// The user of the connection may not do what the protocol needs.
    #[error("Redis does not let this user in, or not do this")]
    Forbidden(#[source] redis::RedisError),
    /// Redis is older than 7.0, whose script flags are needed.
    #[error("this is Redis {0}, and at least 7.0 is needed")]
    TooOld(String),
    /// A reply of a shape that the scripts do not give.
    #[error("a reply from Redis makes no sense")]
    Reply(#[source] redis::RedisError),
}

impl Classified for LinkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Down(_) | Self::Silent | Self::Refused(_) => Kind::Transient,
            // A certificate is renewed, here or there, while this process runs.
            Self::Untrusted(_) => Kind::Transient,
            Self::Forbidden(_) | Self::TooOld(_) => Kind::Permanent,
            Self::Reply(_) => Kind::Bug,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Forbidden(_) => Some(
                "check user and password in FRESHLINE_REDIS_URL or FRESHLINE_REDIS_PASSWORD, and the user's rules with ACL GETUSER"
                    .into(),
            ),
            Self::TooOld(_) => Some("use Redis 7.0 or newer, or any Valkey".into()),
            Self::Untrusted(error) => tls::cause_of(error).map(|cause| tls::REDIS.remedy(cause)),
            Self::Down(_) | Self::Silent | Self::Refused(_) | Self::Reply(_) => None,
        }
    }
}

impl LinkError {
    /// Every word that [`Self::as_str`] answers with.
    pub const WORDS: [&'static str; 6] = ["down", "silent", "refused", "forbidden", "too-old", "reply"];

    /// A word for metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Down(_) => "down",
            Self::Silent => "silent",
            Self::Refused(_) => "refused",
            Self::Untrusted(_) => "untrusted",
            Self::Forbidden(_) => "forbidden",
            Self::TooOld(_) => "too-old",
            Self::Reply(_) => "reply",
        }
    }

    /// Whether nothing more can be had from the link that gave this error.
    fn is_final(&self) -> bool {
        matches!(self, Self::Down(_) | Self::Untrusted(_))
    }
}

impl From<redis::RedisError> for LinkError {
    fn from(error: redis::RedisError) -> Self {
        use redis::{ErrorKind::*, ServerErrorKind::NoPerm};
        match error.kind() {
            _ if tls::cause_of(&error).is_some() => Self::Untrusted(error),
            _ if error.is_timeout() => Self::Silent,
            _ if error.is_connection_dropped() || error.is_connection_refusal() || error.is_io_error() => Self::Down(Some(error)),
            AuthenticationFailed | Server(NoPerm) => Self::Forbidden(error),
            Parse | UnexpectedReturnType => Self::Reply(error),
            _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => Self::Forbidden(error),
            _ => Self::Refused(error),
        }
    }
}

impl Link {
    /// Connects, asks which process it is, and loads the scripts. Each later call is given up after `deadline`.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn connect(client: &redis::Client, deadline: Duration) -> Result<Self, LinkError> {
        Self::connect_counting(client, deadline, Arc::default()).await
    }

    /// The same; from then on each time that Redis goes away is counted.
    pub(super) async fn connect_counting(
        client: &redis::Client,
        deadline: Duration,
        outages: Arc<AtomicU64>,
    ) -> Result<Self, LinkError> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(Some(CONNECT_TIMEOUT));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| LinkError::Silent)??;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let run = supported_run(&info)?;
        let digests = load(&mut connection).await?;
        let clock = Clock::default();
        clock.read(&mut connection).await?;
        connection.set_response_timeout(deadline);
        let (broken, is_broken) = (CancellationToken::new(), AtomicBool::new(false));
        let (silent, silenced) = (AtomicBool::new(false), Notify::new());
        Ok(Self { shared: Arc::new(Shared { connection, run, digests, broken, is_broken, silent, outages, silenced, clock }) })
    }

    pub(super) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The Redis process at its other end.
    pub fn run(&self) -> Run {
        self.shared.run
    }

    pub(super) fn run_ref(&self) -> &Run {
        &self.shared.run
    }

    /// Redis's clock now, bounded from above: the last answer to TIME and all the time since it was asked.
    pub fn now(&self) -> RedisTime {
        self.shared.clock.now()
    }

    /// Asks Redis for its clock. Also tells whether the link still answers.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn time(&self) -> Result<RedisTime, LinkError> {
        let mut connection = self.shared.connection.clone();
        let read = self.shared.clock.read(&mut connection).await;
        self.heard(read)
    }

    /// Whether Redis failed to answer in time, and has not answered since.
    pub fn is_silent(&self) -> bool {
        self.shared.silent.load(Acquire)
    }

    /// Whether the connection is gone for good.
    pub fn is_broken(&self) -> bool {
        self.shared.is_broken.load(Acquire)
    }

    /// Waits until the connection is gone for good.
    pub async fn broken(&self) {
        self.shared.broken.cancelled().await;
    }

    /// Waits until a call is given up. For one waiter.
    pub(super) async fn silenced(&self) {
        self.shared.silenced.notified().await;
    }

    /// Sends one command and waits for its reply, up to the link's deadline.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn call<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, LinkError> {
        let mut connection = self.shared.connection.clone();
        self.heard(answered(connection.send_packed_command(command).await)).and_then(read_reply)
    }

    /// Sends commands together and waits for all replies, up to the link's deadline.
    ///
    /// # Errors
    /// The first [`LinkError`] of any of them.
    pub async fn call_all(&self, pipeline: &redis::Pipeline, replies: usize) -> Result<Vec<Value>, LinkError> {
        let mut connection = self.shared.connection.clone();
        self.heard(connection.send_packed_commands(pipeline, 0, replies).await)
    }

    /// Runs a script. One that Redis has forgotten is loaded again.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub(super) async fn run_script(&self, script: Script, keys: &[String], args: &[&[u8]]) -> Result<Value, LinkError> {
        let command = self.script_command(script, keys, args);
        let mut connection = self.shared.connection.clone();
        let mut reply = answered(connection.send_packed_command(&command).await);
        if reply.as_ref().is_err_and(|error| error.kind() == redis::ServerErrorKind::NoScript.into()) {
            self.heard(load(&mut connection).await)?;
            reply = answered(connection.send_packed_command(&command).await);
        }
        self.heard(reply)
    }

    /// The command that runs a script, for a pipeline.
    pub(super) fn script_command(&self, script: Script, keys: &[String], args: &[&[u8]]) -> redis::Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.shared.digests[script as usize]).arg(keys.len()).arg(keys).arg(args);
        command
    }

    /// Loads the scripts again, after SCRIPT FLUSH.
    pub(super) async fn reload(&self) -> Result<(), LinkError> {
        let mut connection = self.shared.connection.clone();
        self.heard(load(&mut connection).await).map(drop)
    }

    /// Notes what a reply says about the connection.
    fn heard<T, E: Into<LinkError>>(&self, reply: Result<T, E>) -> Result<T, LinkError> {
        let reply = reply.map_err(Into::into);
        match &reply {
            Err(error) if error.is_final() => {
                self.count_outage();
                self.shared.is_broken.store(true, Release);
                self.shared.broken.cancel();
            }
            Err(LinkError::Silent) => {
                self.count_outage();
                self.shared.silent.store(true, Release);
                self.shared.silenced.notify_one();
            }
            Ok(_) | Err(_) => {
                if self.is_silent() {
                    self.shared.silent.store(false, Release);
                }
            }
        }
        reply
    }

    /// Counts that Redis goes away, unless it is away. Two who notice at once may both count: it is another outage all the same.
    fn count_outage(&self) {
        if !self.is_silent() && !self.is_broken() {
            self.shared.outages.fetch_add(1, Relaxed);
        }
    }
}

/// The reply to a command that was sent packed: redis-rs gives an error of the server back as a value.
fn answered(reply: Result<Value, redis::RedisError>) -> Result<Value, redis::RedisError> {
    match reply {
        Ok(Value::ServerError(error)) => Err(error.into()),
        reply => reply,
    }
}

fn read_reply<T: FromRedisValue>(reply: Value) -> Result<T, LinkError> {
    T::from_redis_value(reply).map_err(|error| LinkError::Reply(error.into()))
}

/// Loads every script; answers with the digests as Redis computed them.
async fn load(connection: &mut MultiplexedConnection) -> Result<Vec<String>, redis::RedisError> {
    let mut pipeline = redis::pipe();
    for script in SCRIPTS {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.text());
    }
    pipeline.query_async(connection).await
}

fn supported_run(info: &str) -> Result<Run, LinkError> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    // Valkey answers with the Redis version that it is compatible with, 7.2 or later.
    let version = field("redis_version").unwrap_or("of unknown version");
    if version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_none_or(|major| major < 7) {
        return Err(LinkError::TooOld(version.to_owned()));
    }
    let missing = || LinkError::Reply((redis::ErrorKind::UnexpectedReturnType, "INFO server names no run_id").into());
    Run::from_info(info).ok_or_else(missing)
}

/// Redis's clock, bounded from above by a reply and the local time since it was asked for.
#[derive(Default)]
struct Clock {
    /// Redis's µs minus this process's monotonic µs, as of the last reading.
    ahead_micros: AtomicU64,
}

impl Clock {
    async fn read(&self, connection: &mut MultiplexedConnection) -> Result<RedisTime, redis::RedisError> {
        let asked = monotonic_micros();
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
        let time = seconds.saturating_mul(1_000_000).saturating_add(micros);
        self.ahead_micros.store(time.saturating_sub(asked), Relaxed);
        Ok(RedisTime::from_micros(time))
    }

    fn now(&self) -> RedisTime {
        RedisTime::from_micros(self.ahead_micros.load(Relaxed).saturating_add(monotonic_micros()))
    }
}

/// µs since this process first asked.
fn monotonic_micros() -> u64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_micros()).unwrap_or(u64::MAX)
}
