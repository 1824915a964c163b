//! What a caller sees while a server is away, in whatever way, and that it passes by itself.
//!
//! Each test writes down what it saw, and `docs/degraded.md` has to have the same lines: the table there is made of these.

mod refusing;

use std::{
    cell::RefCell,
    fmt::Write,
    time::{Duration, Instant},
};

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use stage::until;

use crate::{
    support::{Answer, Api},
    town::{Town, hit, is_hit},
};

/// The page that tells users.
const PAGE: &str = include_str!("../../../docs/degraded.md");

/// Short, so that no test takes long. One request waits for at most: Redis, a place, a session and its statement; a write may ask for its
/// token as well.
const SETTINGS: [(&str, &str); 2] = [("FRESHLINE_API_SESSION_WAIT_MS", "500"), ("FRESHLINE_API_STATEMENT_MS", "1000")];

/// What these come to, doubled for a busy machine.
const DEADLINE: Duration = Duration::from_secs(8);

/// A replica under a fault, two products, and what was seen.
struct Scene {
    town: Town,
    /// Cached.
    known: String,
    /// Never read.
    unknown: String,
    seen: RefCell<String>,
    fault: &'static str,
}

impl Scene {
    async fn new(fault: &'static str, settings: &[(&str, &str)]) -> Self {
        Self::on(fault, Town::own_with(&[&SETTINGS, settings].concat()).await).await
    }

    async fn on(fault: &'static str, town: Town) -> Self {
        // By SQL: a first session may take longer to be made than the replicas wait here.
        let made = async |sku: &str| {
            let insert = format!("insert into products (sku, name, category, price) values ('{sku}', '{sku}', 'audio', 1)");
            format!("/products/{}", town.stage.value::<String>(&format!("{insert} returning id::text")).await)
        };
        let (known, unknown) = (made("known").await, made("unknown").await);
        until("it has a session to write with", async || {
            let written = town.replicas[0].send(Method::PATCH, &known, r#"{"stock_quantity":1}"#).await;
            written.status == StatusCode::OK
        })
        .await;
        town.drained().await;
        hit(&town.replicas[0], &known).await;
        Self { town, known, unknown, seen: RefCell::default(), fault }
    }

    fn api(&self) -> &Api {
        &self.town.replicas[0]
    }

    /// Makes a request and writes down its answer.
    async fn see(&self, what: &str, request: impl AsyncFnOnce(&Api) -> Answer) -> Answer {
        let begun = Instant::now();
        let answer = request(self.api()).await;
        assert!(begun.elapsed() < DEADLINE, "{}: {what} took {:?}", self.fault, begun.elapsed());
        let told = match answer.headers.get("cache-status") {
            Some(status) => format!("`{}`", status.to_str().expect("text")),
            None if answer.status.is_server_error() => {
                let problem = answer.json();
                let name = problem["type"].as_str().and_then(|name| name.rsplit(':').next()).expect("a type");
                format!("`{name}`, `Retry-After: {}`", answer.header("retry-after"))
            }
            None => String::new(),
        };
        writeln!(self.seen.borrow_mut(), "| {} | {what} | {} | {told} |", self.fault, answer.status.as_u16()).expect("memory");
        answer
    }

    async fn read(&self, what: &str, path: &str) -> Answer {
        self.see(what, async |api| api.get(path).await).await
    }

    async fn write(&self, quantity: u32) -> Answer {
        let (path, json) = (self.known.clone(), format!(r#"{{"stock_quantity":{quantity}}}"#));
        self.see("`PATCH`", async |api| api.send(Method::PATCH, &path, &json).await).await
    }

    /// A write, and then a read that has to see it.
    async fn write_and_read_own(&self, quantity: u32) {
        let written = self.write(quantity).await;
        let (token, path) = (written.header("freshline-token").to_owned(), self.known.clone());
        let own = self.see("`GET` with that write's token", async |api| api.get_after(&token, &path).await).await;
        assert_eq!(own.json()["stock_quantity"], quantity, "{own:?}");
    }

    async fn metric(&self, line: &str) -> bool {
        self.api().get("/metrics").await.body.lines().any(|told| told == line)
    }

    /// A server that is away is no reason to send callers elsewhere.
    async fn ready(&self) {
        assert_eq!(self.read("`GET /readyz`", "/readyz").await.status, StatusCode::OK);
    }

    /// The page has what was seen.
    fn end(self) {
        let seen = self.seen.into_inner();
        for line in seen.lines() {
            assert!(PAGE.contains(line), "docs/degraded.md lacks\n{seen}");
        }
    }

    async fn recovers(&self) {
        let (api, path) = (self.api(), &self.known);
        until("writes go on", async || api.send(Method::PATCH, path, r#"{"stock_quantity":99}"#).await.status == StatusCode::OK)
            .await;
        self.town.opened().await;
        self.town.drained().await;
        assert_eq!(hit(api, path).await.json()["stock_quantity"], 99);
    }
}

/// Redis is away: what is not kept is read from Postgres once, and kept; a token reads Postgres; writes never notice.
async fn without_redis(scene: &Scene) {
    let (known, unknown) = (scene.known.clone(), scene.unknown.clone());
    until("it is noticed", async || {
        scene.api().get("/products/0190b5a0-0000-7000-8000-000000000001").await;
        scene.metric("freshline_redis_up 0").await
    })
    .await;
    scene.read("`GET`", &known).await;
    let again = scene.read("`GET` again, within `max_staleness`", &known).await;
    assert!(again.header("age").parse::<u64>().expect("seconds") <= 5);
    scene.read("`GET` of what was not cached", &unknown).await;
    scene.write_and_read_own(7).await;
    scene.ready().await;
    let begun = Instant::now();
    until("others see it too", async || scene.api().get(&known).await.json()["stock_quantity"] == 7).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "later than `max_staleness`");
}

#[tokio::test]
async fn redis_killed() {
    let scene = Scene::new("Redis killed", &[]).await;
    scene.town.stage.redis().kill().await.expect("killed");
    without_redis(&scene).await;
    scene.town.stage.redis().start_again().await.expect("started");
    scene.recovers().await;
    assert!(scene.metric("freshline_fallback_values 0").await, "what was kept is dropped");
    scene.end();
}

#[tokio::test]
async fn redis_paused() {
    let scene = Scene::new("Redis paused (`SIGSTOP`)", &[]).await;
    scene.town.stage.redis().pause().await.expect("paused");
    without_redis(&scene).await;
    assert!(scene.metric("freshline_redis_up 0").await);
    scene.town.stage.redis().resume().await.expect("resumed");
    scene.recovers().await;
    assert!(scene.metric("freshline_redis_up 1").await);
    scene.end();
}

#[tokio::test]
async fn redis_refusing_connections() {
    let scene = Scene::new("Redis refuses connections (`maxclients`)", &[]).await;
    let redis = scene.town.stage.redis();
    // One of each is there by now. Whoever is cut does not come in again.
    let mut hand = redis.connect().await.expect("a connection");
    redis::cmd("CONFIG").arg(&["SET", "maxclients", "1"]).exec_async(&mut hand).await.expect("set");
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).exec_async(&mut hand).await.expect("cut");
    without_redis(&scene).await;
    redis::cmd("CONFIG").arg(&["SET", "maxclients", "1000"]).exec_async(&mut hand).await.expect("set");
    scene.recovers().await;
    scene.end();
}

#[tokio::test]
async fn redis_full() {
    let scene = Scene::new("Redis full (`maxmemory`, `noeviction`)", &[]).await;
    let set = async |bytes: &str| scene.town.stage.redis().run::<()>(&["CONFIG", "SET", "maxmemory", bytes]).await.expect("set");
    set("1").await;
    let (known, unknown) = (scene.known.clone(), scene.unknown.clone());
    assert!(is_hit(&scene.read("`GET`", &known).await));
    scene.read("`GET` of what was not cached", &unknown).await;
    let written = scene.write(7).await;
    let own = scene.api().get_after(written.header("freshline-token"), &known).await;
    assert_eq!(own.json()["stock_quantity"], 7, "changes are applied all the same: {own:?}");
    scene.town.drained().await;
    assert_eq!(scene.api().get(&known).await.json()["stock_quantity"], 7);
    scene.ready().await;
    let set = async |bytes: &str| scene.town.stage.redis().run::<()>(&["CONFIG", "SET", "maxmemory", bytes]).await.expect("set");
    set("0").await;
    scene.recovers().await;
    hit(scene.api(), &unknown).await;
    scene.end();
}

/// Postgres is away: what is cached is served inside the bound, and everything else is told when to come again, soon at once.
async fn without_postgres(scene: &Scene, stopping: Instant) {
    let (known, unknown) = (scene.known.clone(), scene.unknown.clone());
    let cached = scene.api().get(&known).await;
    // A machine so busy that the bound has nearly passed by now shows nothing.
    if stopping.elapsed() < Duration::from_secs(3) {
        assert!(is_hit(&cached), "{cached:?}");
        scene.read("`GET`, within `max_staleness`", &known).await;
    }
    scene.read("`GET` of what was not cached", &unknown).await;
    let refused = scene.write(7).await;
    refused.problem(503, "database-unavailable");
    for breaker in ["reads", "writes"] {
        let open = format!(r#"freshline_breaker_open{{dependency="postgres-{breaker}"}} 1"#);
        until("the breaker is open", async || {
            let api = scene.api();
            let calls = (0..8).map(async |_| match breaker {
                "reads" => api.get(&unknown).await.status,
                _ => api.send(Method::PATCH, &unknown, r#"{"stock_quantity":8}"#).await.status,
            });
            join_all(calls).await;
            scene.metric(&open).await
        })
        .await;
    }
    until("the bound has passed", async || scene.api().get(&known).await.status == StatusCode::SERVICE_UNAVAILABLE).await;
    scene.read("`GET`, later than `max_staleness`", &known).await;
    scene.ready().await;
}

/// While nothing answers, callers do not wait for it.
async fn refused_at_once(scene: &Scene) {
    let (api, unknown) = (scene.api(), &scene.unknown);
    until("a call is refused at once", async || {
        let begun = Instant::now();
        let answer = api.send(Method::PATCH, unknown, r#"{"stock_quantity":8}"#).await;
        answer.problem(503, "database-unavailable");
        begun.elapsed() < Duration::from_millis(100)
    })
    .await;
}

#[tokio::test]
async fn postgres_killed() {
    let scene = Scene::new("Postgres killed", &[]).await;
    let stopping = Instant::now();
    scene.town.stage.postgres().kill().await.expect("killed");
    without_postgres(&scene, stopping).await;
    scene.town.stage.postgres().start_again().await.expect("started");
    scene.recovers().await;
    scene.end();
}

#[tokio::test]
async fn postgres_paused() {
    let scene = Scene::new("Postgres paused (`SIGSTOP`)", &[]).await;
    let stopping = Instant::now();
    let paused = scene.town.stage.postgres().pause().await.expect("paused");
    without_postgres(&scene, stopping).await;
    refused_at_once(&scene).await;
    drop(paused);
    scene.recovers().await;
    assert!(scene.metric(r#"freshline_breaker_open{dependency="postgres-writes"} 0"#).await);
    scene.end();
}

#[tokio::test]
async fn sessions_exhausted() {
    let narrow = [
        ("FRESHLINE_API_READ_SESSIONS_MAX", "2"),
        ("FRESHLINE_API_WRITE_SESSIONS_MAX", "2"),
        ("FRESHLINE_API_STATEMENT_MS", "20000"),
    ];
    let scene = Scene::new("Every session of Postgres in use", &narrow).await;
    let (known, unknown) = (scene.known.clone(), scene.unknown.clone());
    let mut holder = scene.town.stage.pool().begin().await.expect("a transaction");
    sqlx::query("lock table products in access exclusive mode").execute(&mut *holder).await.expect("a lock");
    // Different products, so that none can share another's read.
    let stuck = async {
        let api = scene.api();
        let reads = (0..2).map(async |n| api.get(&format!("/products/0190b5a0-0000-7000-8000-00000000000{n}")).await.status);
        let writes = (0..2).map(async |_| api.send(Method::PATCH, &known, r#"{"stock_quantity":5}"#).await.status);
        futures::join!(join_all(reads), join_all(writes))
    };
    let others = async {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and usename = 'freshline_api'";
        until("all sessions wait", async || scene.town.stage.value::<i64>(waiting).await >= 4).await;
        let (api, begun) = (scene.api(), Instant::now());
        let (read, written) = futures::join!(api.get(&unknown), api.send(Method::PATCH, &unknown, r#"{"stock_quantity":8}"#));
        assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
        read.problem(503, "overloaded");
        written.problem(503, "overloaded");
        assert!(is_hit(&api.get(&known).await), "what is cached is served");
        holder.commit().await.expect("the lock goes");
        (read, written)
    };
    let ((reads, writes), (read, written)) = futures::join!(stuck, others);
    assert_eq!((reads, writes), (vec![StatusCode::NOT_FOUND; 2], vec![StatusCode::OK; 2]), "those who had a session");
    scene.see("`GET` of what was not cached", async |_| read).await;
    scene.see("`PATCH`", async |_| written).await;
    scene.ready().await;
    scene.recovers().await;
    scene.end();
}
