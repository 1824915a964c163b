//! The read path: what a service calls to read a value from the cache, or from Postgres and into the cache.
//!
//! A value that is read here was true in Postgres no longer ago than [`Settings::max_staleness`]; is never older than a change that
//! had been applied before the read began; and never older than the write whose [`Token`](crate::coherence::Token) the reader shows.
//! Redis can only make a read slower, never fail it. While it is away, a service that sets [`Settings::fallback_bytes_max`] gives up the second
//! of these, and keeps the others: see `cache/fallback.rs`.
//!
//! What a service owes in return: its loader reads the value and `pg_current_snapshot()` in **one statement** (or one repeatable-read
//! transaction), begun when it is called and not before, on a **read-only** session that learned its source in an earlier statement.
//!
//! # A service of somebody else
//! Its own table, its own names; a rules file tells the invalidator the same names.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use freshline::{
//!     cache::{Cache, CacheError, Json, Loaded, ProofSyntax, ReadProof, Settings, Want},
//!     coherence::{CacheKey, Links, Stripes, Tag},
//! };
//! use serde::{Deserialize, Serialize};
//! use sqlx::{Executor, PgPool, Row, postgres::PgPoolOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Train {
//!     number: i32,
//!     platform: Option<String>,
//!     delay_minutes: i32,
//! }
//!
//! #[derive(Debug, thiserror::Error)]
//! enum LoadError {
//!     #[error("Postgres did not answer")]
//!     Postgres(#[from] sqlx::Error),
//!     #[error("Postgres answered with something else than a proof")]
//!     Proof(#[from] ProofSyntax),
//!     #[error("the value has no JSON")]
//!     Json(#[from] serde_json::Error),
//! }
//!
//! /// One train: the row and its proof in one statement. The outer join keeps the proof where there is no such train.
//! async fn load_train(pool: &PgPool, number: i32) -> Result<Loaded<Option<Json<Train>>>, LoadError> {
//!     let sql = "select pg_current_snapshot()::text, current_setting('freshline.source', true), t.number, t.platform, t.delay_minutes
//!                from (select) as always left join trains t on t.number = $1";
//!     let row = sqlx::query(sql).bind(number).fetch_one(pool).await?;
//!     let proof = ReadProof::parse(row.try_get(0)?, row.try_get(1)?)?;
//!     let value = match row.try_get::<Option<i32>, _>(2)? {
//!         Some(number) => Some(Json::new(Train { number, platform: row.try_get(3)?, delay_minutes: row.try_get(4)? })?),
//!         None => None,
//!     };
//!     Ok(Loaded { value, proof })
//! }
//!
//! /// The numbers of all trains that leave from a station: a list, under a tag that every change of its members touches.
//! async fn load_station(pool: &PgPool, station: &str) -> Result<Loaded<Option<Json<Vec<i32>>>>, LoadError> {
//!     let sql = "select pg_current_snapshot()::text, current_setting('freshline.source', true),
//!                       array(select number from trains where station = $1 order by departure)";
//!     let row = sqlx::query(sql).bind(station).fetch_one(pool).await?;
//!     let proof = ReadProof::parse(row.try_get(0)?, row.try_get(1)?)?;
//!     Ok(Loaded { value: Some(Json::new(row.try_get(2)?)?), proof })
//! }
//!
//! # async fn service() -> Result<(), Box<dyn std::error::Error>> {
//! // Read-only sessions that know their source. On a standby they have none, and what they read is never filled.
//! let pool = PgPoolOptions::new()
//!     .after_connect(|session, _| {
//!         Box::pin(async move {
//!             session.execute("set default_transaction_read_only = on").await?;
//!             let learn = "select set_config('freshline.source', coalesce(freshline.source(), ''), false) where not pg_is_in_recovery()";
//!             session.execute(learn).await?;
//!             Ok(())
//!         })
//!     })
//!     .connect("postgres://station@db/railway")
//!     .await?;
//!
//! let stop = CancellationToken::new();
//! let (links, keeper) = Links::new(redis::Client::open("redis://cache/")?, Duration::from_millis(100));
//! let keeping = tokio::spawn(keeper.run(stop.clone()));
//! let stripes = Stripes::new("railway", 1).ok_or("a namespace is 1 to 32 letters")?;
//! let cache = Cache::new(links, stripes, Settings::default());
//!
//! let key = CacheKey::new("trains:4711");
//! let found = cache.get(&key, &Want::default(), || load_train(&pool, 4711)).await?;
//! match &found.value {
//!     Some(train) => println!("{} minutes late, as of {:?} ago", train.value().delay_minutes, found.age),
//!     None => println!("no such train"),
//! }
//!
//! let (page, tags) = (CacheKey::new("departures:Praha"), [Tag::new("trains:station=Praha")]);
//! let numbers = cache.get_tagged(&page, &tags, &Want::default(), || load_station(&pool, "Praha")).await?;
//! # drop(numbers);
//!
//! stop.cancel();
//! keeping.await?;
//! # Ok(())
//! # }
//! ```

mod abandoned;
mod door;
mod explanation;
mod fallback;
mod fills;
mod flight;
mod found;
mod freshness;
mod leases;
mod loads;
mod lookup;
mod meters;
mod miss;
mod proof;
mod settings;
mod value;
mod warm;

use std::sync::Arc;

use tracing::debug;

pub use explanation::{ExplainedControl, ExplainedEntry, ExplainedLoad, ExplainedRedis, ExplainedTag, Explanation, Step};
pub use fallback::FallbackSize;
pub use found::{CacheError, FillOutcome, Found, Origin, Want, Warmed};
pub use proof::{Loaded, ProofSyntax, ReadProof};
pub use settings::Settings;
pub use value::{Json, Value};

use self::{
    abandoned::Abandoned,
    door::Door,
    explanation::Trace,
    fallback::Fallback,
    flight::Flights,
    loads::Loads,
    lookup::{Ask, Sight},
    meters::Meters,
    miss::{Miss, Misses},
};
use crate::coherence::{CacheKey, Links, Refusal, Stripes, Tag};

/// The cache of one Redis, read through. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
}

/// What the clones of a [`Cache`] share.
struct Shared {
    stripes: Stripes,
    /// The name of each stripe's control record.
    controls: Box<[String]>,
    settings: Settings,
    door: Door,
    misses: Arc<Misses>,
    abandoned: Abandoned,
    loads: Loads,
    fallback: Fallback,
    meters: Meters,
}

impl Cache {
    /// The cache behind these links. Made after the process's metrics are set up: what is counted goes to the recorder of that moment.
    pub fn new(links: Links, stripes: Stripes, settings: Settings) -> Self {
        let shared = Shared {
            controls: stripes.all().map(|stripe| stripes.ctl(stripe)).collect(),
            settings,
            door: Door::new(links, &stripes, settings.closed_pause),
            misses: Flights::new(),
            abandoned: Abandoned::new(settings.lease_ttl),
            loads: Loads::new(settings.loads_max, settings.load_wait),
            fallback: Fallback::new(settings.fallback_bytes_max),
            meters: Meters::new(),
            stripes,
        };
        Self { shared: Arc::new(shared) }
    }

    /// One value: from the cache if it may serve it, and otherwise as `load` reads it.
    ///
    /// `load` runs at most once, and may be left out; it has its own deadline. May be dropped at any time.
    ///
    /// # Errors
    /// [`CacheError`]: the loader's own error, or no place to load in time.
    pub async fn get<V, E, L, F>(&self, key: &CacheKey, want: &Want, load: L) -> Result<Found<V>, CacheError<E>>
    where
        V: Value,
        L: FnOnce() -> F + Send,
        F: Future<Output = Result<Loaded<Option<V>>, E>> + Send,
    {
        self.get_tagged(key, &[], want, load).await
    }

    /// One value that depends on tags besides its key: a list. Its tags are named in the same order by all who read it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_tagged<V, E, L, F>(
        &self,
        key: &CacheKey,
        tags: &[Tag],
        want: &Want,
        load: L,
    ) -> Result<Found<V>, CacheError<E>>
    where
        V: Value,
        L: FnOnce() -> F + Send,
        F: Future<Output = Result<Loaded<Option<V>>, E>> + Send,
    {
        let ask = Ask { tags, want };
        let mut trace = Trace::new(want.explain);
        let sight = self.shared.look_at_one(key, ask).await;
        trace.step("look");
        self.shared.note(key, &sight);
        match sight {
            Ok(served) => {
                let mut found = served.found();
                trace.explain(std::slice::from_mut(&mut found));
                Ok(found)
            }
            Err(refused) => {
                let load = move |_: Vec<usize>| async move { load().await.map(Loaded::alone) };
                // Boxed, so that a hit does not carry around the room that a miss takes.
                let mut found = Box::pin(Miss::new(&self.shared, ask, vec![key], vec![refused], trace).run(load)).await?;
                Ok(found.remove(0))
            }
        }
    }

    /// Many values, in the order of their keys: one look at Redis, then one `load` for all that it cannot serve, given the indexes of
    /// their keys and answering in that order.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Panics
    /// Where `load` answers with another number of values than it was asked for.
    pub async fn get_many<V, E, L, F>(&self, keys: &[CacheKey], want: &Want, load: L) -> Result<Vec<Found<V>>, CacheError<E>>
    where
        V: Value,
        L: FnOnce(Vec<usize>) -> F + Send,
        F: Future<Output = Result<Loaded<Vec<Option<V>>>, E>> + Send,
    {
        let ask = Ask { tags: &[], want };
        let mut trace = Trace::new(want.explain);
        let keys: Vec<_> = keys.iter().collect();
        let sights = self.shared.look(&keys, ask).await;
        trace.step("look");
        let (mut found, mut missed, mut refused) = (Vec::with_capacity(keys.len()), Vec::new(), Vec::new());
        for (at, sight) in sights.into_iter().enumerate() {
            self.shared.note(keys[at], &sight);
            match sight {
                Ok(served) => found.push(Some(served.found())),
                Err(refusal) => {
                    found.push(None);
                    missed.push(at);
                    refused.push(refusal);
                }
            }
        }
        if !missed.is_empty() {
            let missed_keys = missed.iter().map(|at| keys[*at]).collect();
            let load_missed = |at: Vec<usize>| load(at.into_iter().map(|at| missed[at]).collect());
            let miss = Miss::new(&self.shared, ask, missed_keys, refused, trace);
            let loaded = Box::pin(miss.run(load_missed)).await?;
            missed.into_iter().zip(loaded).for_each(|(at, loaded)| found[at] = Some(loaded));
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// How much is kept in memory because Redis is away.
    pub fn fallback_size(&self) -> FallbackSize {
        self.shared.fallback.size()
    }

    /// What a reader of this value would find now: nothing is leased, loaded or filled.
    pub async fn explain(&self, key: &CacheKey, tags: &[Tag], want: &Want) -> Box<Explanation> {
        let want = Want { explain: true, ..want.clone() };
        let ask = Ask { tags, want: &want };
        let explanation = match self.shared.look_at_one::<bytes::Bytes>(key, ask).await {
            Ok(served) => served.explanation,
            Err(refused) => refused.explanation,
        };
        explanation.unwrap_or_else(|| Explanation::blind(key, ask, Refusal::Unreachable, self.shared.settings.max_staleness))
    }

    /// Fills keys ahead of their readers, by lease and fill alone: nothing that is there, or newer, is overwritten. One outcome for
    /// each key, in order. `load` as in [`get_many`](Self::get_many); no more keys than can be read and filled while a lease lasts.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Panics
    /// As [`get_many`](Self::get_many).
    pub async fn warm<V, E, L, F>(&self, keys: &[CacheKey], load: L) -> Result<Vec<Warmed>, CacheError<E>>
    where
        V: Value,
        L: FnOnce(Vec<usize>) -> F + Send,
        F: Future<Output = Result<Loaded<Vec<Option<V>>>, E>> + Send,
    {
        self.shared.warm(keys, load).await
    }
}

impl Shared {
    /// Counts and tells what a first look came to.
    fn note<V>(&self, key: &CacheKey, sight: &Sight<V>) {
        match sight {
            Ok(served) => {
                self.meters.served(served.origin);
                debug!(cache.key = %key, cache.proven_by = ?served.grounds.proven_by, "hit: {key}");
            }
            Err(refused) => {
                self.meters.miss(refused.refusal);
                debug!(cache.key = %key, cache.refusal = %refused.refusal, "miss: {key}, {}", refused.refusal);
            }
        }
    }
}
