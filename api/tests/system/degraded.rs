//! Degraded, never down, with everything running: a server goes away and comes back, and nobody is started again for it.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;
use stage::{servers::Shutdown, until};

use crate::{
    support::Api,
    town::{Town, hit, is_hit},
};

/// How long a read may take while a server is away: a deadline of Redis and a read of Postgres take a tenth of it.
const READ_MAX: Duration = Duration::from_secs(2);

/// `max_staleness`, as the processes have it by default.
const STALENESS_MAX: Duration = Duration::from_secs(5);

/// The bound was proven some time before Postgres was stopped: four times a second at least, on a machine that keeps up.
const BOUND_MARGIN: Duration = Duration::from_secs(1);

/// A product, cached on both replicas, and its path.
async fn cached(town: &Town) -> String {
    let product = town.replicas[0].made("sku-1", "1").await;
    let path = format!("/products/{}", product["id"].as_str().expect("an id"));
    for api in &town.replicas {
        hit(api, &path).await;
        hit(api, "/products").await;
    }
    path
}

async fn changed(town: &Town, quantity: u32) {
    town.stage.sql(&format!("update products set stock_quantity = {quantity}")).await;
}

/// A read by whichever way, in time; the quantity that it shows.
async fn quantity(api: &Api, path: &str) -> u64 {
    let begun = Instant::now();
    let answer = api.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(begun.elapsed() < READ_MAX, "{path} took {:?}", begun.elapsed());
    let body = answer.json();
    body["items"].get(0).unwrap_or(&body)["stock_quantity"].as_u64().expect("a quantity")
}

/// Reads go on, from Postgres, on both replicas.
async fn assert_reads_go_on(town: &Town, path: &str, expected: u64) {
    for api in &town.replicas {
        for path in [path, "/products", path] {
            assert_eq!(quantity(api, path).await, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn while_redis_hangs_reads_go_on_and_then_hits_come_back() {
    let town = Town::new().await;
    let path = cached(&town).await;
    for expected in [3, 4] {
        town.stage.redis().pause().await.expect("paused");
        changed(&town, expected).await;
        assert_reads_go_on(&town, &path, expected.into()).await;
        town.stage.redis().resume().await.expect("resumed");
        town.drained().await;
        assert_eq!(quantity(&town.replicas[1], &path).await, u64::from(expected), "what hung was not up to date");
        town.assert_true([path.as_str(), "/products"]).await;
    }
}

#[tokio::test]
async fn while_redis_is_down_reads_go_on_and_then_hits_come_back() {
    let town = Town::new().await;
    let path = cached(&town).await;
    town.stage.redis().kill().await.expect("killed");
    changed(&town, 3).await;
    assert_reads_go_on(&town, &path, 3).await;
    let patched = town.replicas[0].send(Method::PATCH, &path, r#"{"stock_quantity":4}"#).await;
    assert_eq!(patched.status, StatusCode::OK, "writes never ask Redis");
    let token = patched.header("freshline-token");
    for api in &town.replicas {
        assert_eq!(api.get_after(token, &path).await.json()["stock_quantity"], 4, "its own write");
        until("others see it within the bound", async || quantity(api, &path).await == 4).await;
    }
    town.stage.redis().start_again().await.expect("started");
    town.opened().await;
    town.assert_true([path.as_str(), "/products"]).await;
}

#[tokio::test]
async fn while_postgres_is_down_cached_reads_go_on_inside_the_bound() {
    // Short, so that what cannot be read is refused before the bound has passed.
    let town = Town::own_with(&[("FRESHLINE_API_SESSION_WAIT_MS", "1000")]).await;
    let path = cached(&town).await;
    let before = town.opened().await;
    let stopping = Instant::now();
    town.stage.postgres().stop(Shutdown::Immediate).await.expect("stopped");
    let [one, other] = &town.replicas;
    let were_hits = is_hit(&one.get(&path).await) && is_hit(&other.get("/products").await);
    // A machine so busy that the bound has nearly passed by now shows nothing.
    assert!(were_hits || stopping.elapsed() + BOUND_MARGIN > STALENESS_MAX, "inside the bound");

    let refused = one.send(Method::PATCH, &path, r#"{"stock_quantity":5}"#).await;
    assert_eq!(refused.problem(503, "database-unavailable")["status"], json!(503));
    assert_eq!(refused.header("retry-after"), "1");
    let unknown = other.get("/products/0192d3a0-0000-7000-8000-000000000001").await;
    unknown.problem(503, "database-unavailable");

    until("the bound has passed", async || one.get(&path).await.status == StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(stopping.elapsed() + BOUND_MARGIN > STALENESS_MAX, "it was given up after {:?}", stopping.elapsed());

    town.stage.postgres().start_again().await.expect("started");
    until("writes go on", async || one.send(Method::PATCH, &path, r#"{"stock_quantity":6}"#).await.status == StatusCode::OK).await;
    for (n, api) in [one, other, &town.fresh].into_iter().enumerate() {
        // Of what no other has asked for, so that Postgres is.
        let unknown = format!("/products/0192d3a0-0000-7000-8000-0000000001{n:02}");
        until("reads go on", async || api.get(&unknown).await.status == StatusCode::NOT_FOUND).await;
    }
    assert_eq!(quantity(other, &path).await, 6);
    until("the new history's generation", async || town.opened().await.generation != before.generation).await;
    town.drained().await;
    town.assert_true([path.as_str(), "/products"]).await;
}
