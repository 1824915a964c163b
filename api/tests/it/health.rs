//! Health in each state: as it should be, without an invalidator, without Redis, without Postgres, without either.

use reqwest::StatusCode;
use serde_json::{Value, json};
use stage::{Fault, Login, Stage, until};

use crate::{
    cached::Town,
    support::{Answer, Api, launch},
};

/// Waits until `/health` is so, and answers with it.
async fn health(api: &Api, what: &str, is: impl Fn(&Value) -> bool) -> Answer {
    until(what, async || {
        let answer = api.get("/health").await;
        if is(&answer.json()) { Ok(Some(answer)) } else { Err(answer.body) }
    })
    .await
}

/// Redis, Postgres, invalidator, overall.
fn states(health: &Value) -> [&str; 4] {
    let status = |part: &'static str| health.pointer(part).and_then(Value::as_str).unwrap_or_default();
    ["/redis/status", "/postgres/status", "/invalidator/status", "/status"].map(status)
}

#[tokio::test]
async fn all_is_well_while_a_cache_is_open_and_its_reads_are_counted() {
    let town = Town::new().await;
    town.cached("A-1").await;
    let answer = health(&town.one, "all is well", |health| health["status"] == "ok").await;
    let told = answer.json();
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    assert_eq!(states(&told), ["up", "up", "up", "ok"]);
    assert_eq!(told["postgres"]["breakers"], json!({"reads": "closed", "writes": "closed"}));
    assert!(told["redis"]["latency_ms"].as_f64().is_some_and(|took| took > 0.0), "{told}");
    assert_eq!((&told["invalidator"]["source"], &told["invalidator"]["processes"]), (&json!("postgres"), &json!(1)));
    let cache = town.one.get("/health/cache").await.json();
    assert_eq!((&cache["status"], &cache["backend"]), (&json!("open"), &json!("Redis")), "{cache}");
    let (hits, misses) = (cache["hits"].as_u64().expect("a number"), cache["misses"].as_u64().expect("a number"));
    assert!(hits >= 1 && misses >= 1, "{cache}");
    let percent = (hits as f64 * 10_000.0 / (hits + misses) as f64).round() / 100.0;
    assert_eq!(cache["hit_rate_percent"].as_f64(), Some(percent), "{cache}");
    assert_eq!((&cache["fallback"]["entries"], &cache["fallback"]["bytes"]), (&json!(0), &json!(0)), "{cache}");
}

#[tokio::test]
async fn without_an_invalidator_it_is_degraded() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    let told = health(&api, "Postgres is looked at", |health| health["postgres"]["status"] == "up").await;
    assert_eq!((told.status, states(&told.json())), (StatusCode::OK, ["up", "up", "away", "degraded"]));
    assert_eq!(api.get("/health/cache").await.json()["status"], "closed");
}

#[tokio::test]
async fn with_one_that_no_longer_publishes_it_is_behind() {
    let mut town = Town::new().await;
    town.cached("A-1").await;
    health(&town.one, "all is well", |health| health["status"] == "ok").await;
    town.invalidator.pause().expect("it runs");
    let told = health(&town.one, "it is behind", |health| health["invalidator"]["status"] == "behind").await;
    assert_eq!((told.status, told.json()["status"].as_str()), (StatusCode::OK, Some("degraded")));
    town.invalidator.resume().expect("it runs");
    health(&town.one, "all is well again", |health| health["status"] == "ok").await;
}

#[tokio::test]
async fn without_a_server_it_is_degraded_and_without_both_it_is_down() {
    let stage = Stage::new().await;
    let (redis, postgres) = (stage.redis_proxy().await, stage.postgres_proxy().await);
    let api = launch(&stage)
        .variable("FRESHLINE_REDIS_URL", redis.before(&stage.redis_url(Login::Api)))
        .variable("FRESHLINE_DATABASE_URL", postgres.before(&stage.database_url(Login::Api)))
        .variable("FRESHLINE_API_SESSION_WAIT_MS", "500");
    let api = Api::start(api).await;
    health(&api, "both answer", |health| states(health)[..2] == ["up", "up"]).await;
    redis.set(Fault::Refuse);
    let told = health(&api, "Redis is away", |health| states(health)[..2] == ["down", "up"]).await;
    assert_eq!((told.status, states(&told.json())), (StatusCode::OK, ["down", "up", "unknown", "degraded"]));
    let cache = api.get("/health/cache").await;
    assert_eq!(
        (cache.status, cache.json()["status"].clone(), cache.json()["backend"].clone()),
        (StatusCode::OK, json!("unreachable"), Value::Null)
    );
    postgres.set(Fault::Refuse);
    let told = health(&api, "both are away", |health| health["status"] == "down").await;
    assert_eq!(told.status, StatusCode::SERVICE_UNAVAILABLE);
    redis.set(Fault::None);
    let told = health(&api, "Redis is back", |health| states(health)[..2] == ["up", "down"]).await;
    assert_eq!((told.status, states(&told.json())[3]), (StatusCode::OK, "degraded"));
    postgres.set(Fault::None);
    health(&api, "both are back", |health| states(health)[..2] == ["up", "up"]).await;
}

#[tokio::test]
async fn a_breaker_that_has_opened_is_told_and_so_is_that_it_has_closed_again() {
    let stage = Stage::new().await;
    let postgres = stage.postgres_proxy().await;
    let api = launch(&stage)
        .variable("FRESHLINE_DATABASE_URL", postgres.before(&stage.database_url(Login::Api)))
        .variable("FRESHLINE_API_SESSION_WAIT_MS", "500");
    let api = Api::start(api).await;
    let breakers = |health: &Value| health["postgres"]["breakers"].clone();
    health(&api, "Postgres answers", |health| health["postgres"]["status"] == "up").await;
    postgres.set(Fault::Refuse);
    postgres.cut();
    let told = until("the breaker of reads is open", async || {
        api.get("/products/0190b5a0-0000-7000-8000-000000000000").await;
        let told = breakers(&api.get("/health").await.json());
        (told["reads"] == "open").then_some(told)
    });
    assert_eq!(told.await["writes"], "closed", "nobody has written");
    postgres.set(Fault::None);
    until("it has closed again", async || {
        api.get("/products/0190b5a0-0000-7000-8000-000000000000").await;
        breakers(&api.get("/health").await.json())["reads"] == "closed"
    })
    .await;
}
