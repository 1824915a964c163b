//! Whether the cache takes fills of what this Postgres answers, and the waiting until it does.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use freshline::{
    catalog::DatabaseError,
    coherence::{Control, Link, LinkError, Links, Source, Stripes},
    fault::{Classified, Kind},
};
use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often a gate that is shut is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long one look waits for a connection to Redis, and for Postgres.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);

/// Looks at Redis and Postgres together.
pub struct Gate {
    links: Links,
    stripes: Stripes,
    pool: PgPool,
    wait: Duration,
    stop: CancellationToken,
    is_known_shut: AtomicBool,
}

/// Why nothing can be filled now.
#[derive(Debug, thiserror::Error)]
pub enum Shut {
    /// A stripe has no control record of this Redis process.
    #[error("the cache {0} is closed: no invalidator has opened it")]
    Closed(String),
    /// The cache was opened for the changes of another history.
    #[error("the cache follows another Postgres ({cache}) than the one that rows are read from ({database})")]
    OtherHistory {
        /// Of which the invalidator applies changes.
        cache: Source,
        /// To which the sessions of this process belong.
        database: String,
    },
    /// There is no connection to Redis.
    #[error("Redis is not reachable")]
    NoLink,
    /// Redis did not say.
    #[error("the cache cannot be looked at")]
    Redis(#[from] LinkError),
    /// Postgres did not say to which history it belongs.
    #[error("Postgres cannot be asked which history it is of")]
    Postgres(#[from] DatabaseError),
    /// It belongs to none that can be named.
    #[error(
        "freshline.source() is null: this is a standby, or the owner of the function may not see when the checkpointer started"
    )]
    Sourceless,
}

impl Classified for Shut {
    fn kind(&self) -> Kind {
        match self {
            Self::Closed(_) | Self::OtherHistory { .. } | Self::NoLink | Self::Sourceless => Kind::Transient,
            Self::Redis(error) => error.kind(),
            Self::Postgres(error) => error.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Closed(_) => Some(
                "start freshline-invalidator, or ask its /readyz what it waits for; FRESHLINE_REDIS_URL, FRESHLINE_NAMESPACE and \
                 FRESHLINE_STRIPES have to be the same for both"
                    .into(),
            ),
            Self::OtherHistory { .. } => Some(
                "let FRESHLINE_DATABASE_URL of this process and of the invalidator name the same primary and database server"
                    .into(),
            ),
            Self::NoLink => Some("check that Redis runs where FRESHLINE_REDIS_URL says".into()),
            Self::Redis(error) => error.remedy(),
            Self::Postgres(error) => error.remedy(),
            Self::Sourceless => Some(
                "let FRESHLINE_DATABASE_URL name the primary; there, as a superuser: grant pg_read_all_stats to the owner of \
                 freshline.source()"
                    .into(),
            ),
        }
    }
}

impl Gate {
    /// A gate that is waited for up to `wait`, or until `stop`.
    pub fn new(links: Links, stripes: Stripes, pool: PgPool, wait: Duration, stop: CancellationToken) -> Self {
        Self { links, stripes, pool, wait, stop, is_known_shut: AtomicBool::new(false) }
    }

    /// Waits until fills are taken. True then, false if the run was stopped before.
    ///
    /// # Errors
    /// Why they are not, if that does not pass by itself, or not in time.
    pub async fn opened(&self) -> Result<bool, Shut> {
        let deadline = Instant::now() + self.wait;
        loop {
            let Some(looked) = self.stop.run_until_cancelled(self.look()).await else { return Ok(false) };
            let Err(shut) = looked else {
                self.note_open();
                return Ok(true);
            };
            if shut.kind() != Kind::Transient || Instant::now() >= deadline {
                return Err(shut);
            }
            self.note_shut(&shut);
            if self.stop.run_until_cancelled(sleep(LOOK_INTERVAL)).await.is_none() {
                return Ok(false);
            }
        }
    }

    async fn look(&self) -> Result<(), Shut> {
        let link = timeout(LOOK_DEADLINE, self.links.clone().ready()).await.ok().flatten().ok_or(Shut::NoLink)?;
        let source = self.source().await?;
        for stripe in self.stripes.all() {
            let control = self.control(&link, &self.stripes.ctl(stripe)).await?;
            if control.source.to_string() != source {
                return Err(Shut::OtherHistory { cache: control.source, database: source });
            }
        }
        Ok(())
    }

    /// The control record, if it is of this Redis process.
    async fn control(&self, link: &Link, ctl: &str) -> Result<Control, Shut> {
        let bytes: Option<Vec<u8>> = link.call(redis::cmd("GET").arg(ctl)).await?;
        let control = bytes.and_then(|bytes| Control::decode(&bytes)).filter(|control| control.run == link.run());
        control.ok_or_else(|| Shut::Closed(self.stripes.namespace().to_owned()))
    }

    /// The history that rows are read from.
    async fn source(&self) -> Result<String, Shut> {
        // not cached: it says whose rows these are, and is held against the cache's own source
        let asked = sqlx::query_scalar!("select freshline.source()").fetch_one(&self.pool);
        let source = timeout(LOOK_DEADLINE, asked).await.map_err(|_| DatabaseError::Silent(LOOK_DEADLINE))?;
        source.map_err(DatabaseError::from)?.ok_or(Shut::Sourceless)
    }

    fn note_shut(&self, shut: &Shut) {
        if !self.is_known_shut.swap(true, Relaxed) {
            let (seconds, remedy) = (self.wait.as_secs(), shut.remedy());
            warn!(remedy, "waiting up to {seconds} s: {}", freshline::telemetry::chain(shut));
        }
    }

    fn note_open(&self) {
        if self.is_known_shut.swap(false, Relaxed) {
            info!("the cache is open");
        }
    }
}
