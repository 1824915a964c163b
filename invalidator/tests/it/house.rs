//! What the tests stand on: a stage with a running invalidator, and hands that read and fill as a service would.

use std::time::Duration;

use freshline::coherence::{
    self, CacheKey, Control, ETag, Entry, EntryId, Fill, Filling, Generation, Grounds, Lease, LeaseToken, Link, Proof, Reading,
    Refusal, Scripts, Stripes, Wanted,
};
use stage::{Feed, Launch, Login, Process, RuleCutter, Source, Stage};

/// How long a lease and an entry live here: longer than any test.
const LIFETIME: Duration = Duration::from_secs(120);

/// A stage with a running invalidator, and what feeds it.
pub struct House {
    pub invalidator: Process,
    pub feed: Feed,
    pub stage: Stage,
    pub stripes: Stripes,
    /// Stands between Redis and everybody here, and cuts rules out of the scripts.
    cutter: Option<RuleCutter>,
}

/// A lease that has been granted, and not yet used.
pub struct Held {
    token: LeaseToken,
    grant: freshline::coherence::LeaseGrant,
}

impl House {
    /// On the servers that all tests share.
    pub async fn new(source: Source) -> Self {
        let stage = Stage::new().await;
        let feed = Feed::new(&stage, source).await;
        Self::start(stage, feed, None).await
    }

    /// On servers of its own, to break as a test likes: Postgres, and the broker.
    pub async fn own(source: Source) -> Self {
        let stage = Stage::own().await;
        let feed = Feed::own(&stage, source).await;
        Self::start(stage, feed, None).await
    }

    /// On a Postgres of its own, with these rules cut out of the scripts for all who use them.
    pub async fn own_without(source: Source, rules: &[&str]) -> Self {
        let stage = Stage::own().await;
        let feed = Feed::new(&stage, source).await;
        let cutter = if rules.is_empty() { None } else { Some(stage.rule_cutter(rules).await) };
        Self::start(stage, feed, cutter).await
    }

    async fn start(stage: Stage, feed: Feed, cutter: Option<RuleCutter>) -> Self {
        let url = stage.redis_url(Login::Invalidator);
        let url = cutter.as_ref().map_or(url.clone(), |cutter| cutter.before(&url));
        let launch = launch(&stage).variables(feed.variables(&stage)).variable("FRESHLINE_REDIS_URL", url);
        Self::launched(stage, feed, cutter, launch).await
    }

    /// On this stage, with an invalidator of Postgres that has these settings besides.
    pub async fn with(stage: Stage, settings: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let feed = Feed::new(&stage, Source::Postgres).await;
        let launch = launch(&stage).variables(feed.variables(&stage)).variables(settings);
        Self::launched(stage, feed, None, launch).await
    }

    async fn launched(stage: Stage, feed: Feed, cutter: Option<RuleCutter>, launch: Launch) -> Self {
        let invalidator = Process::start(launch).expect("the invalidator starts");
        let stripes = Stripes::new(stage.name(), 1).expect("a layout");
        let house = Self { invalidator, feed, stage, stripes, cutter };
        house.opened().await;
        house
    }

    /// Another invalidator beside the one that runs: it waits for its turn.
    pub fn standby(&self) -> Process {
        Process::start(launch(&self.stage).variables(self.feed.variables(&self.stage))).expect("the standby starts")
    }

    /// A new connection to Redis, as a client makes one after each failure.
    pub async fn link(&self) -> Link {
        let url = self.stage.redis_url(Login::Superuser);
        let url = self.cutter.as_ref().map_or(url.clone(), |cutter| cutter.before(&url));
        let client = redis::Client::open(url).expect("a URL");
        Link::connect(&client, Duration::from_secs(5)).await.expect("Redis answers")
    }

    /// The control record that stands now.
    pub async fn control(&self) -> Option<Control> {
        let stripe = self.stripes.all().next().expect("one stripe");
        let bytes: Option<Vec<u8>> = self.raw(redis::cmd("GET").arg(self.stripes.ctl(stripe))).await;
        Control::decode(&bytes?)
    }

    /// The control record, if the cache is open in this Redis process and the bound on its age is proven.
    async fn open_control(&self) -> Option<Control> {
        let control = self.control().await?;
        (control.run == self.link().await.run() && control.at.as_micros() > 0).then_some(control)
    }

    /// Waits until the cache is open, and answers with its control record.
    pub async fn opened(&self) -> Control {
        self.stage.until("the cache is open", async || self.open_control().await).await
    }

    /// As [`Self::opened`], under another generation than this.
    pub async fn reopened(&self, before: Generation) -> Control {
        let anew = async || self.open_control().await.filter(|control| control.generation != before);
        self.stage.until("a new generation", anew).await
    }

    /// Waits until everything written so far has been applied.
    pub async fn drained(&self) {
        let position = self.stage.sql("select 1").await;
        self.stage
            .until("all is applied", async || self.control().await.is_some_and(|control| control.position.get() >= position))
            .await;
    }

    /// As [`Self::drained`], for so much that it takes longer than any other condition may.
    pub async fn drained_within(&self, bound: Duration) {
        let position = self.stage.sql("select 1").await;
        let is_applied = async || self.control().await.is_some_and(|control| control.position.get() >= position);
        stage::until_within(bound, "all is applied", is_applied).await;
    }

    /// As [`commit_one_by_one`].
    pub async fn commit_one_by_one(&self, count: u32) {
        commit_one_by_one(self.stage.pool(), count).await;
    }

    /// Sends one command on a connection of its own.
    pub async fn raw<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        self.link().await.call(command).await.expect("Redis answers")
    }

    /// A lease on a key.
    pub async fn lease(&self, key: &CacheKey) -> Held {
        let (link, token) = (self.link().await, LeaseToken::random());
        let seen = self.entry(key).await.map(|entry| entry.id);
        let wanted = [Wanted { key, seen, token }];
        let grant = Scripts::new(&link, &self.stripes).lease(self.stripes.of(key.as_str()), &wanted, LIFETIME).await;
        let grant = grant.expect("Redis answers").expect("the cache is open");
        assert_eq!(grant.outcomes, [Lease::Granted]);
        Held { token, grant }
    }

    /// Reads one text from Postgres with its proof, as a loader does.
    pub async fn read(&self, sql: &str) -> (Option<String>, Proof, coherence::Source) {
        let sql = format!("select ({sql})::text, pg_current_snapshot()::text, freshline.source()");
        let row: (Option<String>, String, String) =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(self.stage.pool()).await.expect("Postgres answers");
        (row.0, Proof::Snapshot(row.1.parse().expect("a snapshot")), row.2.parse().expect("a source"))
    }

    /// Fills a key with what has been read, under a lease.
    pub async fn fill(&self, key: &CacheKey, held: Held, read: (Option<String>, Proof, coherence::Source)) -> Fill {
        let (body, proof, source) = read;
        let entry = Entry {
            id: EntryId::random(),
            generation: held.grant.generation,
            proof,
            read_at: Some(held.grant.now),
            tags: Vec::new(),
            etag: ETag::of(body.as_deref().unwrap_or_default().as_bytes()),
            body: body.map(Into::into),
        };
        let entry = entry.encode().expect("few transactions run");
        let filling = [Filling { key, token: held.token, ttl: LIFETIME, entry: &entry }];
        let link = self.link().await;
        Scripts::new(&link, &self.stripes).fill(self.stripes.of(key.as_str()), &source, &filling).await.expect("Redis answers")[0]
    }

    /// Leases, reads and fills.
    pub async fn load(&self, key: &CacheKey, sql: &str) -> Fill {
        let held = self.lease(key).await;
        let read = self.read(sql).await;
        self.fill(key, held, read).await
    }

    /// What lies under a key.
    pub async fn entry(&self, key: &CacheKey) -> Option<Entry> {
        let bytes: Option<Vec<u8>> = self.raw(redis::cmd("GET").arg(self.stripes.value(key))).await;
        Entry::decode(&bytes?.into()).ok()
    }

    /// What a reader would be served from the cache.
    pub async fn served(&self, key: &CacheKey) -> Result<Option<String>, Refusal> {
        let link = self.link().await;
        let mut command = redis::cmd("MGET");
        command.arg(self.stripes.ctl(self.stripes.of(key.as_str()))).arg(self.stripes.value(key));
        let found: Vec<Option<Vec<u8>>> = link.call(&command).await.expect("Redis answers");
        let control = found[0].as_deref().and_then(Control::decode);
        let entry = found[1].clone().and_then(|bytes| Entry::decode(&bytes.into()).ok());
        let reading = Reading {
            run: link.run(),
            now: link.now(),
            max_staleness: Duration::from_secs(5),
            token: None,
            control: control.as_ref(),
            tags: &[],
        };
        let _: Grounds = reading.judge(entry.as_ref())?;
        Ok(entry.and_then(|entry| entry.body).map(|body| String::from_utf8(body.to_vec()).expect("text")))
    }
}

/// Commits `count` changes of the rows `sku-1` to `sku-3` in turn, each on its own.
pub async fn commit_one_by_one(pool: &sqlx::PgPool, count: u32) {
    let each = "update products set price = n, name = 'n' || n where sku = 'sku-' || n % 3 + 1; commit;";
    let all = format!("do $$ begin for n in 1..{count} loop {each} end loop; end $$");
    sqlx::raw_sql(sqlx::AssertSqlSafe(all)).execute(pool).await.expect("committed one by one");
}

impl House {
    /// Puts a relay of the test's own in the place of the house's: to NATS at this address, with these settings besides.
    pub async fn relayed_by(&mut self, nats: &str, settings: &[(&'static str, &'static str)]) -> Process {
        self.feed.stop_writer().await.expect("the house's own is killed");
        let relay = self.stage.launch("freshline-relay", Login::Invalidator).variables(settings.iter().copied()).variables([
            ("FRESHLINE_NATS_URL", nats),
            ("FRESHLINE_RELAY_SLOT", self.feed.slot()),
            ("FRESHLINE_RELAY_ADDRESS", "127.0.0.1:0"),
        ]);
        let mut relay = Process::start(relay).expect("the relay starts");
        relay.line("publishing what Postgres changes").await;
        self.drained().await;
        relay
    }
}

/// How the invalidator is started on a stage.
pub fn launch(stage: &Stage) -> Launch {
    stage.launch("freshline-invalidator", Login::Invalidator).variables([
        ("FRESHLINE_SLOT", stage.name()),
        ("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0"),
        ("FRESHLINE_POLL_MS", "20"),
        ("FRESHLINE_LOG", "info,freshline=debug"),
    ])
}

/// What a process says at `/metrics`.
pub async fn metrics(process: &Process) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let lines = process.lines();
    let address = lines.iter().find_map(|line| line.split("readiness at http://").nth(1)).expect("an address").trim().to_owned();
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await.expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// A number that a process tells.
pub async fn gauge(process: &Process, name: &str) -> f64 {
    let told = metrics(process).await;
    let value = told.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {told}"))
}
