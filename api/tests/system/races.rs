//! Everything at once: writers by SQL and by API, readers on two replicas, warm runs, and things that break. No read may be older than
//! a change that had been applied before it began, no token may be broken, no request may fail; and when all is quiet, what is cached
//! is what Postgres has, byte for byte.
//!
//! Choices are made by a seed. Processes are scheduled by the machine, so that a seed repeats the choices and not every race.

mod chaos;
mod ledger;
mod load;

use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use stage::{Random, Source};

use self::{
    chaos::Fault,
    ledger::{Floors, Ledger},
};
use crate::town::Town;

/// How many rows are written and read: few, so that writers and readers meet.
const ROWS: usize = 16;
const READERS: usize = 8;
const SQL_WRITERS: usize = 3;
const API_WRITERS: usize = 2;

/// How often a race without one of the rules is run before it counts as not broken.
const TRIES: usize = 3;

/// What breaks, and for how long.
struct Plan<'a> {
    /// Each of these once in a round, in any order.
    faults: &'a [Fault],
    lasts: Duration,
    /// Whether the first broken promise ends it.
    ends_when_broken: bool,
}

/// A race under way.
struct Race<'a> {
    town: &'a Town,
    /// Made before the load: a new one takes its time under it.
    redis: redis::aio::MultiplexedConnection,
    ledger: Ledger,
    tally: Tally,
    over: AtomicBool,
}

/// What has happened.
#[derive(Debug, Default)]
struct Tally {
    reads: AtomicU64,
    hits: AtomicU64,
    writes: AtomicU64,
    warm_runs: AtomicU64,
    faults: AtomicU64,
}

impl<'a> Race<'a> {
    async fn new(town: &'a Town) -> Self {
        let rows = format!(
            "insert into products (sku, name, category, price, stock_quantity) select 'row-' || n, 'n', 'red', 1, 1 from generate_series(1, {ROWS}) n"
        );
        town.stage.sql(&rows).await;
        let ids = sqlx::query_scalar("select id::text from products").fetch_all(town.stage.pool()).await.expect("ids");
        town.stage.sql(&load::beacon(1)).await;
        town.drained().await;
        let redis = town.stage.redis().connect().await.expect("Redis answers");
        Self { town, redis, ledger: Ledger::new(ids, load::PAGES), tally: Tally::default(), over: AtomicBool::new(false) }
    }

    /// One command of the superuser.
    async fn redis<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let (name, arguments) = words.split_first().expect("a command");
        redis::cmd(name).arg(arguments).query_async(&mut self.redis.clone()).await.expect("Redis answers")
    }

    fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// From its begin to quiescence, and the last look. Answers with what was broken.
    async fn run(&self, plan: &Plan<'_>, random: &mut Random) -> Vec<String> {
        let readers = join_all((0..READERS).map(|_| self.read(random.fork())));
        let by_sql = join_all((0..SQL_WRITERS).map(|_| self.write_by_sql(random.fork())));
        let by_api = join_all((0..API_WRITERS).map(|_| self.write_by_api(random.fork())));
        let (beacons, warm) = (self.light_beacons(), self.warm(random.fork()));
        let breaking = async {
            self.break_things(plan, random.fork()).await;
            self.over.store(true, SeqCst);
        };
        futures::join!(readers, by_sql, by_api, beacons, warm, self.watch(), breaking);
        println!("{:?}", self.tally);
        let mut broken = self.ledger.violations();
        if broken.is_empty() {
            self.town.opened().await;
            self.town.drained().await;
            broken = self.town.untrue(self.paths()).await;
        }
        broken
    }
}

impl Tally {
    fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }

    fn read(&self, is_hit: bool) {
        self.reads.fetch_add(1, Relaxed);
        self.hits.fetch_add(u64::from(is_hit), Relaxed);
    }

    fn writes(&self) {
        self.writes.fetch_add(1, Relaxed);
    }

    fn warm_runs(&self) {
        self.warm_runs.fetch_add(1, Relaxed);
    }

    fn faults(&self) {
        self.faults.fetch_add(1, Relaxed);
    }
}

stage::over_sources! { [postgres: Postgres, nats: Nats, kafka: Kafka, kafka_partitions: KafkaPartitions] [
    nothing_stale_is_served_whatever_breaks,
] }

async fn nothing_stale_is_served_whatever_breaks(source: Source) {
    use Fault::{Close, Evict, EvictValues, Flush, Hold, Kill, KillWriter};
    let everywhere = [Evict, Evict, Evict, EvictValues, Close, Flush, Kill, Hold, Hold];
    let with_broker = [everywhere.as_slice(), &[KillWriter]].concat();
    let plan = Plan {
        faults: if source == Source::Postgres { &everywhere } else { &with_broker },
        lasts: Duration::from_secs(15),
        ends_when_broken: false,
    };
    let (town, mut random) = (Town::own_without(source, &[]).await, Random::new(stage::seed()));
    let race = Race::new(&town).await;
    let broken = race.run(&plan, &mut random).await;
    assert!(broken.is_empty(), "{broken:#?}");
    let (reads, hits) = (race.tally.reads(), race.tally.hits.load(Relaxed));
    assert!(hits * 5 > reads, "a race that hardly hits shows little: {hits} hits of {reads} reads");
}

/// Whether a race breaks a promise once this rule is cut.
async fn breaks_without(rule: &str) -> bool {
    let plan = Plan { faults: &[Fault::Hold, Fault::Evict], lasts: Duration::from_secs(10), ends_when_broken: true };
    let mut random = Random::new(stage::seed());
    for _ in 0..TRIES {
        let town = Town::own_without(Source::Postgres, &[rule]).await;
        let broken = Race::new(&town).await.run(&plan, &mut random).await;
        if let Some(first) = broken.first() {
            println!("without {rule:?}: {first}");
            return true;
        }
    }
    false
}

#[tokio::test]
async fn without_fences_in_the_lease_a_race_serves_something_stale() {
    assert!(breaks_without("a lease carries the fences").await);
}

#[tokio::test]
async fn without_new_versions_of_tags_a_race_serves_something_stale() {
    assert!(breaks_without("a tag changes its version").await);
}
