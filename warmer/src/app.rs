//! One run, put together: ids → chunks → cache, and the report of it.

use std::{sync::Arc, time::Duration};

use freshline::{
    cache::Cache,
    catalog::{Reads, SessionOptions, read_pool},
    coherence::{Link, LinkError, LinkKeeper, Links},
    fault::{Classified, Kind},
    registry::{Process, Registration, Role},
    retry::{GivenUp, Policy, retry},
};
use sqlx::PgPool;
use tokio::{
    sync::{Mutex, mpsc},
    task::{JoinError, JoinSet},
    time::{Instant, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::{Config, Options, REDIS_DEADLINE, Which},
    gate::{Gate, Shut},
    ids::{Gather, Ids, IdsError, chunks_of},
    rate::Rate,
    report::Report,
    tally::{Summary, Tally},
    warm::{Again, WarmError, Warmer},
};

/// After how long refused ids are offered once more. Together above the two seconds that another's lease lasts.
const AGAIN_AFTER: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];

/// How long a listing of ids, or the look at one, may wait for a session.
const SESSION_WAIT: Duration = Duration::from_secs(5);

/// A run that has not begun.
pub struct App {
    client: redis::Client,
    which: Which,
    ids_pool: PgPool,
    warmer: Arc<Warmer>,
    logging: freshline::telemetry::Logging,
    chunk_len: u16,
    concurrency: u16,
    began: Instant,
}

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Redis does not let this process in, or does not answer.
    #[error(transparent)]
    Redis(GivenUp<LinkError>),
    /// The ids cannot be had.
    #[error(transparent)]
    Open(GivenUp<IdsError>),
    /// The ids end too early.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// Nothing can be filled.
    #[error(transparent)]
    Shut(#[from] Shut),
    /// No more can be filled.
    #[error(transparent)]
    Warm(#[from] WarmError),
    /// A task panicked.
    #[error("a task did not come to its end")]
    Broken(#[from] JoinError),
}

impl Classified for Trouble {
    fn kind(&self) -> Kind {
        match self {
            Self::Redis(error) => error.kind(),
            Self::Open(error) => error.kind(),
            Self::Ids(error) => error.kind(),
            Self::Shut(error) => error.kind(),
            Self::Warm(error) => error.kind(),
            Self::Broken(_) => Kind::Bug,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Redis(error) => error.remedy(),
            Self::Open(error) => error.remedy(),
            Self::Ids(error) => error.remedy(),
            Self::Shut(error) => error.remedy(),
            Self::Warm(error) => error.remedy(),
            Self::Broken(_) => None,
        }
    }
}

impl App {
    /// Puts a run together, and the tasks that keep its link to Redis and its record there. Nothing is connected yet.
    ///
    /// # Errors
    /// If the URL of Redis cannot be used.
    pub fn build(options: &Options, config: Config, stop: CancellationToken) -> anyhow::Result<(Self, LinkKeeper, Registration)> {
        let Config { shared, cache, .. } = config;
        let client = redis::Client::open(shared.redis_url.connection_info())?;
        let (links, keeper) = Links::new(client.clone(), REDIS_DEADLINE);
        let registration = Registration::new(links.clone(), &shared.stripes, Process::this(Role::Warmer));
        let which = options.which();
        // A read has three quarters of the lease's life; the rest is for the fill.
        let read_deadline = cache.lease_ttl.mul_f64(0.75);
        let pool = |connections_max: u32, statement_timeout: Duration| {
            let options = SessionOptions { connections_max, acquire_timeout: SESSION_WAIT, statement_timeout };
            read_pool(shared.database_url.connect_options(), &options)
        };
        // One more than there are chunks under way, for the gate.
        let pool_of_reads = pool(u32::from(options.concurrency) + 1, read_deadline);
        // No limit: a query of the operator's own takes as long as it does. A listing has its own deadline.
        let ids_pool = pool(1, Duration::ZERO);
        let wait = Duration::from_secs(u64::from(options.wait));
        let rate = options.rate.map(Rate::new);
        let chunk_len = rate.as_ref().map_or(options.chunk, |rate| rate.chunk_len(options.chunk));
        let warmer = Warmer {
            cache: Cache::new(links.clone(), shared.stripes.clone(), cache),
            reads: Reads::new(pool_of_reads.clone(), read_deadline),
            gate: Gate::new(links, shared.stripes, pool_of_reads, wait, stop.clone()),
            rate,
            tally: Arc::default(),
            wait,
            stop,
            again: Again::default(),
        };
        let (logging, concurrency) = (shared.life.logging, options.concurrency);
        let app = Self { client, which, ids_pool, warmer: warmer.into(), logging, chunk_len, concurrency, began: Instant::now() };
        Ok((app, keeper, registration))
    }

    /// Where the counts are kept.
    pub fn tally(&self) -> Arc<Tally> {
        self.warmer.tally.clone()
    }

    /// The counts now.
    pub fn summary(&self) -> Summary {
        self.warmer.tally.summary(self.began.elapsed())
    }

    /// Warms what was asked for, or what can be done of it until the run is stopped.
    ///
    /// # Errors
    /// [`Trouble`]: the counts tell what was done before.
    pub async fn run(&mut self) -> Result<(), Trouble> {
        let Some(ids) = self.ready().await? else { return Ok(()) };
        let report = Arc::new(Report::new(&self.logging, ids.expected().await?));
        self.began = Instant::now();
        let warmed = self.warm(ids, &report).await;
        for (_, outcome) in self.warmer.again.take() {
            self.warmer.tally.refused(outcome);
        }
        report.end();
        warmed
    }

    /// Opens what the ids come from, and waits until the cache is open. `None` if the run was stopped before.
    async fn ready(&self) -> Result<Option<Ids>, Trouble> {
        let Warmer { wait, stop, gate, .. } = &*self.warmer;
        let policy = Policy { base: Duration::from_millis(50), cap: Duration::from_millis(500), deadline: Some(*wait) };
        let open = || Ids::open(self.which.clone(), self.ids_pool.clone());
        let ids = match retry("the source of the ids", policy, stop, open).await {
            Ok(ids) => ids,
            Err(GivenUp::Stopped { .. }) => return Ok(None),
            Err(error) => return Err(Trouble::Open(error)),
        };
        // The keeper of the link tries for ever; this tells at once of a wrong password.
        match retry("the connection to Redis", policy, stop, || Link::connect(&self.client, REDIS_DEADLINE)).await {
            Ok(_) => {}
            Err(GivenUp::Stopped { .. }) => return Ok(None),
            Err(error) => return Err(Trouble::Redis(error)),
        }
        Ok(gate.opened().await?.then_some(ids))
    }

    /// All that the ids yield, then what was refused.
    async fn warm(&self, ids: Ids, report: &Arc<Report>) -> Result<(), Trouble> {
        let Warmer { tally, stop, .. } = &*self.warmer;
        let (chunks, taken) = self.chunks();
        let mut gather = Gather::new(self.chunk_len, chunks, Arc::clone(tally), Arc::clone(report));
        let stop = stop.clone();
        let feed = async move {
            match stop.run_until_cancelled(ids.stream(&mut gather)).await {
                Some(Err(error)) => Err(error.into()),
                Some(Ok(())) | None => Ok(()),
            }
        };
        self.round(feed, taken, report).await?;
        for pause in AGAIN_AFTER {
            self.again(pause, report).await?;
        }
        Ok(())
    }

    /// Offers once more what was refused.
    async fn again(&self, pause: Duration, report: &Report) -> Result<(), Trouble> {
        let Warmer { stop, again, .. } = &*self.warmer;
        if again.is_empty() || stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return Ok(());
        }
        let ids: Vec<_> = again.take().into_iter().map(|(id, _)| id).collect();
        let (chunks, taken) = self.chunks();
        let chunk_len = self.chunk_len;
        let feed = async move {
            for chunk in chunks_of(&ids, chunk_len) {
                if chunks.send(chunk).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        self.round(feed, taken, report).await
    }

    fn chunks(&self) -> (mpsc::Sender<Vec<Uuid>>, mpsc::Receiver<Vec<Uuid>>) {
        mpsc::channel(usize::from(self.concurrency))
    }

    /// Feeds chunks to those who warm, until both sides are done. The first failure ends it, after the chunks under way.
    async fn round(
        &self,
        feed: impl Future<Output = Result<(), Trouble>> + Send + 'static,
        chunks: mpsc::Receiver<Vec<Uuid>>,
        report: &Report,
    ) -> Result<(), Trouble> {
        let mut tasks = JoinSet::new();
        tasks.spawn(feed);
        let chunks = Arc::new(Mutex::new(chunks));
        for _ in 0..self.concurrency {
            let (warmer, chunks) = (Arc::clone(&self.warmer), Arc::clone(&chunks));
            tasks.spawn(async move { Ok(warmer.work(chunks).await?) });
        }
        drop(chunks);
        let mut ticks = interval_at(Instant::now() + report.interval(), report.interval());
        let mut first = Ok(());
        loop {
            tokio::select! {
                joined = tasks.join_next() => match joined {
                    None => return first,
                    Some(ended) => {
                        let ended = ended.map_err(Trouble::from).flatten();
                        if ended.is_err() {
                            self.warmer.stop.cancel();
                        }
                        first = first.and(ended);
                    }
                },
                _ = ticks.tick() => report.progress(&self.summary()),
            }
        }
    }
}
