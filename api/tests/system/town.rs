//! What these tests stand on: two API replicas, an invalidator and warm runs on servers of their own, and hands to see and break them.

use std::time::Duration;

use freshline::coherence::{Control, Stripes};
use reqwest::StatusCode;
use serde_json::Value;
use stage::{
    Feed, Login, Process, RuleCutter, Source, Stage,
    servers::{PostgresOptions, RedisOptions},
    until,
};
use tokio::sync::Mutex;

use crate::support::{Answer, Api, launch};

/// What `Cache-Status` says of an answer that is all from the cache.
pub const HIT: &str = "Freshline; hit; detail=redis";

/// How long a warm run may take: far longer than any does.
const WARM_MAX: Duration = Duration::from_secs(60);

/// The system, running.
pub struct Town {
    pub replicas: [Api; 2],
    /// One that has no Redis, and keeps nothing in memory: what it answers was read from Postgres just now.
    pub fresh: Api,
    /// Locked by who kills it.
    pub invalidator: Mutex<Process>,
    /// Locked by who kills what it reads from.
    pub feed: Mutex<Feed>,
    pub stage: Stage,
    stripes: Stripes,
    /// Stands between Redis and all processes, and cuts rules out of the scripts.
    cutter: Option<RuleCutter>,
}

impl Town {
    /// On the Postgres that all tests share.
    pub async fn new() -> Self {
        Self::on(Stage::new().await, Source::Postgres, &[], &[]).await
    }

    /// As [`Self::new`], the replicas with these settings.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(Stage::new().await, Source::Postgres, &[], settings).await
    }

    /// On a Postgres of its own, with these rules cut out of the scripts for all processes.
    pub async fn own_without(source: Source, rules: &[&str]) -> Self {
        Self::on(Stage::own().await, source, rules, &[]).await
    }

    /// On a Postgres of its own, the replicas with these settings.
    pub async fn own_with(settings: &[(&str, &str)]) -> Self {
        Self::on(Stage::own().await, Source::Postgres, &[], settings).await
    }

    /// The same, with a Redis that is like this.
    pub async fn own_with_redis(redis: RedisOptions, settings: &[(&str, &str)]) -> Self {
        Self::on(Stage::own_with(PostgresOptions::default(), redis).await, Source::Postgres, &[], settings).await
    }

    async fn on(stage: Stage, source: Source, rules: &[&str], settings: &[(&str, &str)]) -> Self {
        let feed = Feed::new(&stage, source).await;
        let cutter = if rules.is_empty() { None } else { Some(stage.rule_cutter(rules).await) };
        let redis_url = |login| redis_url(&stage, cutter.as_ref(), login);
        let invalidator = stage.launch("freshline-invalidator", Login::Invalidator).variables([
            ("FRESHLINE_REDIS_URL", redis_url(Login::Invalidator).as_str()),
            ("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0"),
            ("FRESHLINE_POLL_MS", "20"),
        ]);
        let invalidator = invalidator.variables(feed.variables(&stage));
        let invalidator = Mutex::new(Process::start(invalidator).expect("the invalidator starts"));
        // A held commit and a busy machine may keep a statement waiting; neither is what these tests are about.
        let api = launch(&stage).variable("FRESHLINE_API_STATEMENT_MS", "20000").variables(settings.iter().copied());
        let cached = api.clone().variable("FRESHLINE_REDIS_URL", redis_url(Login::Api));
        // Port 1 of this machine: nobody listens there.
        let uncached =
            api.variable("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/").variable("FRESHLINE_API_FALLBACK_MAX_BYTES", "0");
        let (one, other, fresh) = futures::join!(Api::start(cached.clone()), Api::start(cached), Api::start(uncached));
        let stripes = Stripes::new(stage.name(), 1).expect("a layout");
        let town = Self { replicas: [one, other], fresh, invalidator, feed: Mutex::new(feed), stage, stripes, cutter };
        town.opened().await;
        for api in &town.replicas {
            until("the replica is ready", async || api.get("/readyz").await.status == StatusCode::OK).await;
        }
        let cut_count = town.cutter.as_ref().map_or(0, RuleCutter::cut_count);
        assert_eq!(cut_count > 0, !rules.is_empty(), "{rules:?} were cut {cut_count} times");
        town
    }

    /// The control record that stands now.
    pub async fn control(&self) -> anyhow::Result<Option<Control>> {
        let bytes: Option<Vec<u8>> = self.stage.redis().run(&["GET", &self.ctl()]).await?;
        Ok(bytes.and_then(|bytes| Control::decode(&bytes)))
    }

    /// The key of the control record.
    pub fn ctl(&self) -> String {
        self.stripes.ctl(self.stripes.all().next().expect("one stripe"))
    }

    /// Waits until the cache is open and the bound is proven.
    pub async fn opened(&self) -> Control {
        let open = async || Ok::<_, anyhow::Error>(self.control().await?.filter(|control| control.at.as_micros() > 0));
        until("the cache is open", open).await
    }

    /// Waits until everything written so far has been applied.
    pub async fn drained(&self) {
        let position = self.stage.sql("select 1").await;
        let has_come = |control: Option<Control>| control.is_some_and(|control| control.position.get() >= position);
        let applied = async || self.control().await.map(has_come);
        until("all is applied", applied).await;
    }

    /// Kills the invalidator with -9, and starts it again.
    pub async fn restart_invalidator(&self) {
        self.invalidator.lock().await.restart().await.expect("it starts again");
    }

    /// A warm run from its start to its end; whether all that it was to warm is in the cache.
    ///
    /// # Panics
    /// If it could do nothing at all.
    pub async fn warm(&self, arguments: &[&str]) -> bool {
        let mut run = self.start_warm(arguments);
        let status = run.wait(WARM_MAX).await.expect("it ends");
        assert!(matches!(status.code(), Some(0 | 1)), "{status}: {}", run.tail());
        status.success()
    }

    /// A warm run that has begun.
    pub fn start_warm(&self, arguments: &[&str]) -> Process {
        let launch = self.stage.launch("freshline-warmer", Login::Warmer);
        let launch = launch.variable("FRESHLINE_REDIS_URL", redis_url(&self.stage, self.cutter.as_ref(), Login::Warmer));
        let launch = arguments.iter().fold(launch, |launch, argument| launch.argument(*argument));
        Process::start(launch).expect("the warmer starts")
    }

    /// Asserts that each of these paths is answered, by either replica and by the cache, with what Postgres answers with now.
    pub async fn assert_true(&self, paths: impl IntoIterator<Item = impl AsRef<str>>) {
        let wrong = self.untrue(paths).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// As [`Self::assert_true`]: what is not so.
    pub async fn untrue(&self, paths: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
        let mut wrong = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let truth = Told::of(self.fresh.get(path).await);
            for api in &self.replicas {
                let found = [Told::of(api.get(path).await), Told::of(hit(api, path).await)];
                let untrue = found.into_iter().filter(|found| !found.says_as(&truth));
                wrong.extend(untrue.map(|found| format!("{path}: {found:?}, and Postgres has {truth:?}")));
            }
        }
        wrong
    }
}

/// What an answer says of the rows.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    status: StatusCode,
    body: String,
    cache_status: String,
}

impl Told {
    fn of(answer: Answer) -> Self {
        let cache_status = answer.header("cache-status").to_owned();
        // That there is no such row is said in words that name the request, too.
        let body = if answer.status == StatusCode::NOT_FOUND { String::new() } else { answer.body };
        Self { status: answer.status, body, cache_status }
    }

    fn says_as(&self, truth: &Self) -> bool {
        (self.status, &self.body) == (truth.status, &truth.body)
    }
}

/// Whether all of an answer came from the cache.
pub fn is_hit(answer: &Answer) -> bool {
    answer.headers.get("cache-status").is_some_and(|status| status == HIT)
}

/// Waits until a read is a hit, and answers with it.
pub async fn hit(api: &Api, path: &str) -> Answer {
    until("a hit", async || {
        let answer = api.get(path).await;
        if is_hit(&answer) {
            Ok(Some(answer))
        } else {
            Err(format!("{path}: {} {:?}", answer.status, answer.headers.get("cache-status")))
        }
    })
    .await
}

/// The products that an answer shows: its one, or those of its list.
pub fn items(body: &Value) -> &[Value] {
    body["items"].as_array().map_or(std::slice::from_ref(body), Vec::as_slice)
}

fn redis_url(stage: &Stage, cutter: Option<&RuleCutter>, login: Login) -> String {
    let url = stage.redis_url(login);
    cutter.map_or(url.clone(), |cutter| cutter.before(&url))
}
