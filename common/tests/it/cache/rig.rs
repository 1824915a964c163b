//! What these tests stand on: a Redis of their own, an applier that does as it is told, and a Postgres that is one value in memory.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use freshline::{
    cache::{Cache, CacheError, Found, Loaded, Origin, ReadProof, Settings, Want},
    coherence::{
        Applied, CacheKey, Generation, Lease, LeaseToken, Link, Links, Lsn, Open, Opening, Progress, RedisTime, Scripts, Source,
        Stripe, Stripes, Tag, TagVersion, Token, Touched, Wanted, Xid,
    },
};
use stage::{
    Login,
    servers::{Home, Redis, RedisOptions},
};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// So long that no answer of a Redis that works is given up.
const DEADLINE: Duration = Duration::from_secs(10);

/// The history that changes and reads are part of, unless a test says otherwise.
pub const SOURCE: Source = Source { system: 7, timeline: 1, started_us: 1 };

/// A Redis, and all that is played around it.
pub struct Rig {
    pub redis: Redis,
    pub stripes: Stripes,
    pub links: Links,
    _keeping: Keeping,
}

/// The task behind some links, which ends when this is dropped.
pub struct Keeping {
    stop: CancellationToken,
    _task: JoinHandle<()>,
}

impl Rig {
    /// A Redis whose stripes nobody has opened.
    pub async fn closed(stripes: u16) -> Self {
        Self::with_deadline(stripes, DEADLINE).await
    }

    /// A Redis that serves, with one stripe.
    pub async fn open() -> Self {
        let rig = Self::closed(1).await;
        rig.open_all().await;
        rig
    }

    /// A Redis whose stripes nobody has opened, each call to which is given up after `deadline`.
    pub async fn with_deadline(stripes: u16, deadline: Duration) -> Self {
        let home = Home::scratch().expect("a directory");
        let redis = Redis::start(home, RedisOptions::default()).await.expect("a Redis");
        let (links, _keeping) = links(&redis.url(Login::Api), deadline).await;
        Self { redis, stripes: Stripes::new("t", stripes).expect("a layout"), links, _keeping }
    }

    /// Links to this URL, for a cache that has its own.
    pub async fn links_to(&self, url: &str) -> (Links, Keeping) {
        links(url, DEADLINE).await
    }

    /// A cache, as one process has it.
    pub fn cache(&self) -> Cache {
        self.cache_with(settings())
    }

    pub fn cache_with(&self, settings: Settings) -> Cache {
        Cache::new(self.links.clone(), self.stripes.clone(), settings)
    }

    /// A link of the applier's own, which no fault of the cache's disturbs.
    pub async fn applier(&self) -> Link {
        let client = redis::Client::open(self.redis.url(Login::Invalidator)).expect("a URL");
        Link::connect(&client, DEADLINE).await.expect("a link")
    }

    /// Opens every stripe under a generation of its own, proven as of now; whatever stood there before.
    pub async fn open_all(&self) {
        let link = self.applier().await;
        for stripe in self.stripes.all() {
            self.open_as(&link, stripe, SOURCE).await;
        }
    }

    /// Opens a stripe for changes of this history. Its snapshot is 100, and so is its position.
    pub async fn open_as(&self, link: &Link, stripe: Stripe, source: Source) {
        let opening = Opening {
            expected: self.generation(stripe).await,
            generation: Generation::random(),
            source,
            snapshot: &snapshot("100:100:"),
            hi: lsn(100),
            position: lsn(100),
            fences: Vec::new(),
        };
        let opened = Scripts::new(link, &self.stripes).open(stripe, &opening).await.expect("an answer");
        assert_eq!(opened, Open::Opened);
    }

    /// The generation of a stripe; none where it is closed.
    pub async fn generation(&self, stripe: Stripe) -> Option<Generation> {
        let ctl: Option<Vec<u8>> = self.get(&self.stripes.ctl(stripe)).await;
        freshline::coherence::Control::decode(&ctl?).map(|control| control.generation)
    }

    /// Says how far the applier has come: a snapshot that sees all below `xmax`, a position, and `at`.
    pub async fn publish(&self, snapshot_text: &str, position: u64, at: Option<RedisTime>) {
        self.publish_in(self.stripes.all(), snapshot_text, position, at).await;
    }

    /// The same for some stripes.
    pub async fn publish_in(
        &self,
        stripes: impl IntoIterator<Item = Stripe>,
        snapshot_text: &str,
        position: u64,
        at: Option<RedisTime>,
    ) {
        let link = self.applier().await;
        for stripe in stripes {
            let generation = self.generation(stripe).await.expect("open");
            let progress = Progress { snapshot: &snapshot(snapshot_text), position: lsn(position), at };
            let published = Scripts::new(&link, &self.stripes).publish(stripe, generation, progress).await.expect("an answer");
            published.expect("open");
        }
    }

    /// Applies the change of transaction `xid`, which ends at the position of the same number, to a key.
    pub async fn change_key(&self, xid: u64, key: &CacheKey) {
        self.change(xid, self.stripes.of(key.as_str()), Touched::Key(key, None)).await;
    }

    /// The same for a tag.
    pub async fn change_tag(&self, xid: u64, tag: &Tag) {
        self.change(xid, self.stripes.of(tag.as_str()), Touched::Tag(tag, TagVersion::random())).await;
    }

    async fn change(&self, xid: u64, stripe: Stripe, touched: Touched<'_>) {
        let link = self.applier().await;
        let scripts = Scripts::new(&link, &self.stripes);
        let applied = Applied { generation: self.generation(stripe).await, xid: self::xid(xid), end: lsn(xid) };
        scripts.send(&[scripts.apply(stripe, applied, &[touched])]).await.expect("applied");
    }

    /// Leases a key to another process, which then does nothing with it.
    pub async fn lease_to_another(&self, key: &CacheKey) {
        let link = self.applier().await;
        let wanted = Wanted { key, seen: None, token: LeaseToken::random() };
        let granted =
            Scripts::new(&link, &self.stripes).lease(self.stripes.of(key.as_str()), &[wanted], Duration::from_secs(60)).await;
        assert_eq!(granted.expect("an answer").expect("open").outcomes, [Lease::Granted]);
    }

    /// How often Redis has been sent this command.
    pub async fn calls(&self, command: &str) -> u64 {
        let stats: String = self.redis.run(&["INFO", "commandstats"]).await.expect("statistics");
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_")?.strip_prefix(command)?.strip_prefix(":calls="));
        calls.map_or(0, |calls| calls.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number"))
    }

    /// What lies under a key of Redis.
    pub async fn get<T: redis::FromRedisValue>(&self, name: &str) -> T {
        self.redis.run(&["GET", name]).await.expect("an answer")
    }

    /// Puts bytes under a key of Redis, whatever was there.
    pub async fn put(&self, name: &str, bytes: &[u8]) {
        let mut connection = self.redis.connect().await.expect("a connection");
        redis::cmd("SET").arg(name).arg(bytes).exec_async(&mut connection).await.expect("put");
    }
}

async fn links(url: &str, deadline: Duration) -> (Links, Keeping) {
    let (links, keeper) = Links::new(redis::Client::open(url).expect("a URL"), deadline);
    let stop = CancellationToken::new();
    let _task = tokio::spawn(keeper.run(stop.clone()));
    links.clone().ready().await.expect("a link");
    (links, Keeping { stop, _task })
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Settings under which nothing runs out while a test lasts.
pub fn settings() -> Settings {
    Settings {
        max_staleness: Duration::from_secs(600),
        lease_ttl: Duration::from_secs(60),
        busy_wait: Duration::from_secs(60),
        load_wait: Duration::from_secs(60),
        ..Settings::default()
    }
}

/// A Postgres of one value, which counts how often it is read.
#[derive(Clone)]
pub struct Postgres {
    shared: Arc<State>,
}

struct State {
    value: Mutex<Option<Bytes>>,
    proof: Mutex<ReadProof>,
    loads: AtomicUsize,
}

impl Postgres {
    /// With this value, read under a snapshot that sees all below 200.
    pub fn with(value: &'static str) -> Self {
        let proof = ReadProof { snapshot: snapshot("200:200:"), source: Some(SOURCE) };
        let value = Mutex::new(Some(Bytes::from_static(value.as_bytes())));
        Self { shared: Arc::new(State { value, proof: Mutex::new(proof), loads: AtomicUsize::new(0) }) }
    }

    pub fn set(&self, value: Option<&'static str>) {
        *self.shared.value.lock().expect("whole") = value.map(|value| Bytes::from_static(value.as_bytes()));
    }

    /// From now on it is read under this snapshot, in this history.
    pub fn prove(&self, snapshot_text: &str, source: Option<Source>) {
        *self.shared.proof.lock().expect("whole") = ReadProof { snapshot: snapshot(snapshot_text), source };
    }

    /// How often it was read.
    pub fn loads(&self) -> usize {
        self.shared.loads.load(SeqCst)
    }

    /// Reads it.
    pub async fn load(&self) -> Result<Loaded<Option<Bytes>>, Infallible> {
        self.shared.loads.fetch_add(1, SeqCst);
        let value = self.shared.value.lock().expect("whole").clone();
        Ok(Loaded { value, proof: self.shared.proof.lock().expect("whole").clone() })
    }

    /// Reads a value made of it for each of these keys.
    pub async fn load_many(&self, at: Vec<usize>) -> Result<Loaded<Vec<Option<Bytes>>>, Infallible> {
        let Loaded { value, proof } = self.load().await?;
        let one = |at| value.as_ref().map(|value| Bytes::from(format!("{}{at}", String::from_utf8_lossy(value))));
        Ok(Loaded { value: at.into_iter().map(one).collect(), proof })
    }
}

/// What a read came to.
pub trait Told {
    /// The value as text.
    fn text(&self) -> Option<&str>;
}

impl Told for Found<Bytes> {
    fn text(&self) -> Option<&str> {
        self.value.as_ref().map(|value| std::str::from_utf8(value).expect("text"))
    }
}

/// Reads a key, with nothing asked for.
pub async fn read(cache: &Cache, key: &CacheKey, postgres: &Postgres) -> Found<Bytes> {
    read_with(cache, key, &Want::default(), postgres).await
}

pub async fn read_with(cache: &Cache, key: &CacheKey, want: &Want, postgres: &Postgres) -> Found<Bytes> {
    unfailing(cache.get(key, want, || postgres.load()).await)
}

/// A thousand readers who want this of one key at once all have its value, "one", from one load.
pub async fn assert_a_stampede_loads_once(cache: &Cache, want: &Want, postgres: &Postgres) {
    let mut readers = JoinSet::new();
    for _ in 0..1000 {
        let (cache, want, postgres) = (cache.clone(), want.clone(), postgres.clone());
        readers.spawn(async move { read_with(&cache, &key("rows:1"), &want, &postgres).await });
    }
    for found in readers.join_all().await {
        assert_eq!(found.text(), Some("one"));
    }
    assert_eq!(postgres.loads(), 1);
}

/// What a read came to whose loader does not fail.
pub fn unfailing<T>(found: Result<T, CacheError<Infallible>>) -> T {
    found.expect("there is a place to load")
}

/// Asserts that a read was served from the cache.
#[track_caller]
pub fn assert_hit(found: &Found<Bytes>, text: Option<&str>) {
    assert_eq!((found.origin, found.text()), (Origin::Redis, text), "{found:?}");
    assert_eq!((found.refusal, found.fill), (None, None), "{found:?}");
}

pub fn key(name: &str) -> CacheKey {
    CacheKey::new(name)
}

pub fn xid(id: u64) -> Xid {
    Xid::new(id).expect("small")
}

pub fn lsn(position: u64) -> Lsn {
    Lsn::new(position).expect("small")
}

pub fn snapshot(text: &str) -> freshline::coherence::Snapshot {
    text.parse().expect("a snapshot")
}

/// Proof of a write by `xid`, which ended at the position of the same number.
pub fn token(id: u64) -> Want {
    let token = Token { source: SOURCE, xid: xid(id), lsn: lsn(id) };
    Want { token: Some(token), ..Want::default() }
}
