//! What these tests stand on: products in a Postgres, a cache in a Redis that is opened by hand, and runs of the warmer.

use std::{collections::BTreeMap, time::Duration};

use freshline::{
    catalog::{Reads, SessionOptions, keys, read_pool},
    coherence::{Applied, Entry, Generation, Link, Lsn, Open, Opening, Scripts, Source, Stripes, Touched, Xid},
    config::PostgresUrl,
};
use stage::{Launch, Login, Process, Stage, WAIT_MAX};
use uuid::Uuid;

/// An id that no product has.
pub const NOBODY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

/// Postgres, Redis, and the hands of an applier.
pub struct Rig {
    pub stage: Stage,
    pub stripes: Stripes,
}

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub code: Option<i32>,
    /// The numbers of its summary, by name.
    pub counts: BTreeMap<String, u64>,
    /// All that it said.
    pub lines: Vec<String>,
}

impl Rig {
    /// With a cache of one stripe that nobody has opened.
    pub async fn closed() -> Self {
        Self::closed_with(1).await
    }

    /// With a cache of so many stripes that nobody has opened.
    pub async fn closed_with(stripes: u16) -> Self {
        Self::on(Stage::new().await, stripes)
    }

    /// On this stage, with a cache of so many stripes that nobody has opened.
    pub fn on(stage: Stage, stripes: u16) -> Self {
        let stripes = Stripes::new(stage.name(), stripes).expect("a layout");
        Self { stage, stripes }
    }

    /// With a cache that is open.
    pub async fn open() -> Self {
        let rig = Self::closed().await;
        rig.open_cache().await;
        rig
    }

    /// Opens every stripe for the history of this Postgres, under a generation of its own.
    pub async fn open_cache(&self) {
        let source: String = self.stage.value("select freshline.source()").await;
        self.open_cache_for(source.parse().expect("a source")).await;
    }

    /// Opens every stripe for the changes of this history.
    pub async fn open_cache_for(&self, source: Source) {
        let snapshot: String = self.stage.value("select pg_current_snapshot()::text").await;
        let link = self.link().await;
        for stripe in self.stripes.all() {
            let opening = Opening {
                expected: None,
                generation: Generation::random(),
                source,
                snapshot: &snapshot.parse().expect("a snapshot"),
                hi: Lsn::new(1).expect("small"),
                position: Lsn::new(1).expect("small"),
                fences: Vec::new(),
            };
            let opened = Scripts::new(&link, &self.stripes).open(stripe, &opening).await.expect("Redis answers");
            assert_eq!(opened, Open::Opened);
        }
    }

    /// Closes the cache, as anybody may.
    pub async fn close_cache(&self) {
        for stripe in self.stripes.all() {
            self.stage.redis().run::<u64>(&["DEL", &self.stripes.ctl(stripe)]).await.expect("Redis answers");
        }
    }

    /// A connection to Redis of the applier's own.
    pub async fn link(&self) -> Link {
        let client = redis::Client::open(self.stage.redis_url(Login::Superuser)).expect("a URL");
        Link::connect(&client, WAIT_MAX).await.expect("Redis answers")
    }

    /// So many products, the oldest first.
    pub async fn products(&self, count: u32) -> Vec<Uuid> {
        let insert = format!(
            "insert into products (sku, name, category, price)
             select 'sku-' || n, 'Product ' || n, 'audio', n from generate_series(1, {count}) as n"
        );
        self.stage.sql(&insert).await;
        sqlx::query_scalar("select id from products order by id").fetch_all(self.stage.pool()).await.expect("Postgres answers")
    }

    /// Applies a change of a product by this transaction, as the invalidator does.
    pub async fn apply(&self, id: Uuid, xid: u64) {
        let link = self.link().await;
        let (scripts, key) = (Scripts::new(&link, &self.stripes), keys::product(id));
        let stripe = self.stripes.of(key.as_str());
        let ctl: Vec<u8> = self.stage.redis().run(&["GET", &self.stripes.ctl(stripe)]).await.expect("Redis answers");
        let generation = freshline::coherence::Control::decode(&ctl).map(|control| control.generation);
        let applied = Applied { generation, xid: Xid::new(xid).expect("small"), end: Lsn::new(2).expect("small") };
        scripts.send(&[scripts.apply(stripe, applied, &[Touched::Key(&key, None)])]).await.expect("applied");
    }

    /// What is cached of a product; the inner none for "no such row".
    pub async fn cached(&self, id: Uuid) -> Option<Option<bytes::Bytes>> {
        let value: Option<Vec<u8>> =
            self.stage.redis().run(&["GET", &self.stripes.value(&keys::product(id))]).await.expect("Redis answers");
        value.map(|value| Entry::decode(&value.into()).expect("an entry").body)
    }

    /// Whether somebody holds the lease on a product.
    pub async fn is_leased(&self, id: Uuid) -> bool {
        self.stage.redis().run(&["EXISTS", &self.stripes.lease(&keys::product(id))]).await.expect("Redis answers")
    }

    /// Asserts that what is cached of these products is what Postgres answers with now, and answers with how many are cached.
    pub async fn assert_true(&self, ids: &[Uuid]) -> u64 {
        let url = PostgresUrl::parse(&self.stage.database_url(Login::Warmer)).expect("a URL");
        let options = SessionOptions { connections_max: 1, acquire_timeout: WAIT_MAX, statement_timeout: WAIT_MAX };
        let reads = Reads::new(read_pool(url.connect_options(), &options), WAIT_MAX);
        let products = reads.products(ids).await.expect("Postgres answers").value;
        let mut count = 0;
        for (id, product) in ids.iter().zip(products) {
            if let Some(cached) = self.cached(*id).await {
                assert_eq!(cached, product.map(|product| product.body), "{id}");
                count += 1;
            }
        }
        count
    }

    /// What starts a run with these arguments.
    pub fn launch(&self, arguments: &[&str]) -> Launch {
        let launch = self.stage.launch("freshline-warmer", Login::Warmer);
        let launch = launch.variable("FRESHLINE_STRIPES", self.stripes.count().to_string());
        arguments.iter().fold(launch, |launch, argument| launch.argument(*argument))
    }

    /// Starts a run.
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(self.launch(arguments)).expect("the warmer starts")
    }

    /// A run from its start to its end.
    pub async fn warm(&self, arguments: &[&str]) -> Run {
        end(self.start(arguments)).await
    }

    /// A file of this text, and a run with it from its start to its end.
    pub async fn warm_file(&self, text: &str) -> Run {
        let file = file_of(text);
        self.warm(&["--ids-file", file.path().to_str().expect("UTF-8")]).await
    }
}

/// A file of this text, for as long as it is not dropped.
pub fn file_of(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

/// The lines of a file of these ids.
pub fn lines_of(ids: &[Uuid]) -> String {
    ids.iter().map(|id| format!("{id}\n")).collect()
}

/// Waits for the end of a run.
pub async fn end(mut run: Process) -> Run {
    let status = run.wait(Duration::from_secs(120)).await.expect("it ends");
    let lines = run.lines();
    let count = |line: &String| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    Run { code: status.code(), counts: lines.iter().filter_map(count).collect(), lines }
}

impl Run {
    /// Asserts the whole summary: those counts that are not named are zero.
    #[track_caller]
    pub fn assert_counts(&self, expected: &[(&str, u64)]) {
        let mut all: BTreeMap<String, u64> = COUNTS.iter().map(|name| ((*name).to_owned(), 0)).collect();
        all.extend(expected.iter().map(|(name, count)| ((*name).to_owned(), *count)));
        let counts: BTreeMap<_, _> = self.counts.clone().into_iter().filter(|(name, _)| COUNTS.contains(&name.as_str())).collect();
        assert_eq!(counts, all, "{}", self.log());
    }

    /// Asserts how it ended.
    #[track_caller]
    pub fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{}", self.log());
    }

    /// Asserts that it said something.
    #[track_caller]
    pub fn assert_said(&self, text: &str) {
        assert!(self.log().contains(text), "it did not say {text:?}:\n{}", self.log());
    }

    fn log(&self) -> String {
        self.lines.join("\n")
    }
}

/// The counts of a summary that a test can foresee.
const COUNTS: [&str; 9] =
    ["ids", "filled", "absent", "already-there", "refused", "failed", "not-offered", "malformed", "duplicates"];
