//! What the measurements stand on: a Postgres with products, a Redis, perhaps a broker, and our programs on them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use freshline::coherence::{CacheKey, Control, Stripes};
use redis::aio::MultiplexedConnection;
use stage::{Feed, Launch, Login, Process, Source, Stage, workspace_binary};
use uuid::Uuid;

use super::tap::Tap;
use crate::seed;

/// How long anything may take that is waited for here: a backlog of millions on a slow machine.
const WAIT_MAX: Duration = Duration::from_secs(900);

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// How long a process may take to end.
const END_MAX: Duration = Duration::from_secs(20);

/// Longer than any measurement: nothing expires within one.
const VALUE_TTL_MS: &str = "7200000";

/// Servers and names.
pub struct House {
    pub feed: Feed,
    pub stage: Stage,
    pub stripes: Stripes,
    redis: MultiplexedConnection,
}

impl House {
    /// On servers of its own, with changes from this source.
    pub async fn new(source: Source) -> Result<Self> {
        let stage = Stage::own().await;
        let feed = Feed::own(&stage, source).await;
        let stripes = Stripes::new(stage.name(), 1).context("a stage's name is a namespace")?;
        let redis = stage.redis().connect().await?;
        Ok(Self { feed, stage, stripes, redis })
    }

    /// On servers of its own, with so many products.
    pub async fn with_products(source: Source, rows: u64) -> Result<Self> {
        let house = Self::new(source).await?;
        seed::fill(&house.stage.database_url(Login::Superuser), rows, |line| println!("bench: {line}")).await?;
        house.stage.sql("vacuum analyze products").await;
        Ok(house)
    }

    /// The ids of all products, in order.
    pub async fn ids(&self) -> Result<Vec<Uuid>> {
        sqlx::query_scalar("select id from products order by id").fetch_all(self.stage.pool()).await.context("reading ids")
    }

    /// The path of each product in the API.
    pub async fn paths(&self) -> Result<Vec<String>> {
        Ok(self.ids().await?.iter().map(|id| format!("/products/{id}")).collect())
    }

    /// A connection to Redis.
    pub fn redis(&self) -> MultiplexedConnection {
        self.redis.clone()
    }

    /// Starts the invalidator with its defaults, and waits until its stream has begun.
    pub async fn invalidator(&self) -> Result<Process> {
        let launch = self.stage.launch("freshline-invalidator", Login::Invalidator).variables(self.feed.variables(&self.stage));
        let mut process = Process::start(launch.variable("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0"))?;
        process.line_within(WAIT_MAX, "the change stream begins").await;
        Ok(process)
    }

    /// Starts the invalidator, and waits until the cache is open and all that was written so far has been applied.
    pub async fn opened(&self) -> Result<Process> {
        let process = self.invalidator().await?;
        self.applied(self.stage.sql("select 1").await).await?;
        Ok(process)
    }

    /// Waits until everything up to this position of the log has been applied.
    pub async fn applied(&self, position: u64) -> Result<()> {
        let stripe = self.stripes.all().next().context("no stripe")?;
        let (mut redis, ctl) = (self.redis(), self.stripes.ctl(stripe));
        let begun = Instant::now();
        while begun.elapsed() < WAIT_MAX {
            let bytes: Option<Vec<u8>> = redis::cmd("GET").arg(&ctl).query_async(&mut redis).await?;
            let control = bytes.as_deref().and_then(Control::decode);
            if control.is_some_and(|control| control.at.as_micros() > 0 && control.position.get() >= position) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("changes up to {position} were not applied within {WAIT_MAX:?}")
    }

    /// Waits until whoever reads the slot needs nothing of the log up to this position any more.
    pub async fn confirmed(&self, position: u64) -> Result<()> {
        let sql = format!(
            "select confirmed_flush_lsn - '0/0'::pg_lsn >= {position} from pg_replication_slots where slot_name = '{}'",
            self.feed.slot()
        );
        let begun = Instant::now();
        while !self.stage.value::<bool>(&sql).await {
            if begun.elapsed() > WAIT_MAX {
                bail!("the slot did not come to {position} within {WAIT_MAX:?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Ends the invalidator once it has said that it needs nothing up to this position any more: the next one begins there.
    pub async fn end(&self, mut invalidator: Process, position: u64) -> Result<()> {
        self.confirmed(position).await?;
        if self.feed.source() != Source::Postgres {
            let mut tap = Tap::after(&self.feed, self.stage.name(), None).await?;
            let last = tap.last().await?;
            let begun = Instant::now();
            while tap.acknowledged().await? < last {
                if begun.elapsed() > WAIT_MAX {
                    bail!("message {last} was not acknowledged within {WAIT_MAX:?}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        invalidator.stop(END_MAX).await?;
        Ok(())
    }

    /// Fills the cache with every product, and answers with ids per second.
    pub async fn warm(&self) -> Result<f64> {
        let launch = self.stage.launch("freshline-warmer", Login::Warmer);
        let mut run = Process::start(launch.argument("--all").variable("FRESHLINE_VALUE_TTL_MS", VALUE_TTL_MS))?;
        let status = run.wait(WAIT_MAX).await?;
        let rate = run.lines().iter().find_map(|line| line.strip_prefix("ids-per-second")?.trim().parse().ok());
        match rate {
            Some(rate) if status.success() => Ok(rate),
            _ => bail!("the warmer ended with {status}:\n{}", run.tail()),
        }
    }

    /// Removes values from Redis, and answers with how many there were.
    pub async fn forget(&self, keys: &[CacheKey]) -> Result<usize> {
        let mut redis = self.redis();
        let mut removed = 0;
        for keys in keys.chunks(1000) {
            let names: Vec<String> = keys.iter().map(|key| self.stripes.value(key)).collect();
            removed += redis::cmd("UNLINK").arg(names).query_async::<usize>(&mut redis).await?;
        }
        Ok(removed)
    }

    /// One of our programs on one core, from its start on: it makes as many threads as it has cores. Without variables yet.
    pub fn pinned(&self, name: &str) -> Result<Launch> {
        Ok(pinned(name, &workspace_binary(name)?))
    }
}

/// A program on one core, under this name.
pub fn pinned(name: &str, program: &Path) -> Launch {
    let launch = Launch::new(name, "taskset").argument("-c").argument(super::cpu::CORE);
    launch.argument(program.to_string_lossy())
}
