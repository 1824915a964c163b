//! Reads through an open cache: with the invalidator running, on two replicas.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use stage::{Fault, Login, Process, Stage, until};

use crate::support::{Answer, Api, launch};

pub const HIT: &str = "Freshline; hit; detail=redis";

/// Two replicas, and a cache that is kept true.
pub struct Town {
    pub one: Api,
    pub other: Api,
    pub invalidator: Process,
    pub stage: Stage,
}

impl Town {
    pub async fn new() -> Self {
        let stage = Stage::new().await;
        let launch = stage.launch("freshline-invalidator", Login::Invalidator).variables([
            ("FRESHLINE_SLOT", stage.name()),
            ("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0"),
            ("FRESHLINE_POLL_MS", "20"),
        ]);
        let invalidator = Process::start(launch).expect("the invalidator starts");
        let (one, other) = futures::join!(Api::on(&stage), Api::on(&stage));
        Self { one, other, invalidator, stage }
    }

    /// A product that is cached, and its path.
    pub async fn cached(&self, sku: &str) -> (Value, String) {
        let product = self.one.made(sku, "10").await;
        let path = format!("/products/{}", product["id"].as_str().expect("an id"));
        self.hit(&path).await;
        (product, path)
    }

    /// Waits until a read is a hit, and answers with it.
    pub async fn hit(&self, path: &str) -> Answer {
        hit(&self.one, path).await
    }
}

pub async fn hit(api: &Api, path: &str) -> Answer {
    until("a hit", async || {
        let answer = api.get(path).await;
        let status = answer.header("cache-status").to_owned();
        if status == HIT { Ok(Some(answer)) } else { Err(status) }
    })
    .await
}

#[tokio::test]
async fn a_change_by_plain_sql_is_read_on_the_other_replica() {
    let town = Town::new().await;
    let (product, path) = town.cached("A-1").await;
    let hit = town.hit(&path).await;
    assert_eq!(hit.json(), product);
    assert!(hit.header("age").parse::<u64>().expect("seconds") <= 5);
    let explained = town.one.get(&format!("{path}?explain=true")).await.json();
    assert_eq!((&explained["product"], &explained["explanation"]["origin"]), (&product, &json!("redis")));
    assert_eq!(explained["explanation"]["entry"]["etag"], hit.header("etag"));
    let other = town.other.get(&format!("{path}?explain=true")).await.json();
    let [here, there] = [&explained, &other].map(|told| &told["explanation"]["process"]);
    assert!(here.is_string() && there.is_string() && here != there, "each replica names itself: {explained} {other}");
    assert!(other["explanation"]["at_us"].as_i64() >= explained["explanation"]["at_us"].as_i64(), "{explained} {other}");

    town.stage.sql("update products set price = 11").await;
    let read = until("the new price", async || {
        let answer = town.other.get(&path).await;
        (answer.json()["price"] == "11.00").then_some(answer)
    });
    assert_ne!(read.await.header("etag"), hit.header("etag"));
    town.hit(&path).await;
}

#[tokio::test]
async fn a_read_with_the_token_of_a_write_is_never_older() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    for quantity in 1..=40 {
        let patch = format!(r#"{{"stock_quantity":{quantity}}}"#);
        let written = town.one.send(Method::PATCH, &path, &patch).await;
        assert_eq!(written.status, StatusCode::OK, "{written:?}");
        let token = written.header("freshline-token");
        for api in [&town.other, &town.one] {
            for path in [&path, "/products", "/products?sort=price"] {
                let read = api.get_after(token, path).await.json();
                let product = read["items"].get(0).unwrap_or(&read);
                assert_eq!(product["stock_quantity"], quantity, "{path}: older than the write");
            }
        }
    }
}

#[tokio::test]
async fn a_write_of_another_product_leaves_hits_alone_once_the_stream_has_passed_it() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    let (_, elsewhere) = town.cached("B-1").await;
    let written = town.one.send(Method::PATCH, &elsewhere, r#"{"price":3}"#).await;
    until("a hit under the token", async || {
        let answer = town.other.get_after(written.header("freshline-token"), &path).await;
        assert_eq!(answer.header("cache-control"), "private, no-store");
        answer.header("cache-status") == HIT
    })
    .await;
}

#[tokio::test]
async fn a_row_that_does_not_exist_is_cached_until_it_does() {
    let town = Town::new().await;
    town.cached("A-1").await;
    let id = town.stage.value::<String>("select freshline.uuid_v7()::text").await;
    let path = format!("/products/{id}");
    town.hit(&path).await.problem(404, "no-such-product");
    town.stage
        .sql(&format!("insert into products (id, sku, name, category, price) values ('{id}', 'N-1', 'New', 'audio', 1)"))
        .await;
    until("it exists", async || town.other.get(&path).await.status == StatusCode::OK).await;
}

#[tokio::test]
async fn a_change_of_price_rewrites_one_row_and_empties_only_pages_by_price() {
    let town = Town::new().await;
    for sku in ["A-1", "B-1", "C-1"] {
        town.cached(sku).await;
    }
    town.hit("/products").await;
    town.hit("/products?sort=price").await;
    let rule = async |path: &str| town.one.get(path).await.json()["explanation"]["page"]["refused_first_by"].clone();
    // The rows of both pages change, and so does the order of one.
    town.stage.sql("update products set price = 1 where sku = 'C-1'").await;
    until("the page by price has changed", async || {
        let page = town.one.get("/products?sort=price").await.json();
        page["items"][0]["sku"] == "C-1"
    })
    .await;
    assert_eq!(rule("/products?explain=true").await, Value::Null, "the page of the newest was not touched");
    let newest = town.one.get("/products").await.json();
    assert_eq!((&newest["items"][0]["sku"], &newest["items"][0]["price"]), (&json!("C-1"), &json!("1.00")));
    town.hit("/products?sort=price").await;
}

#[tokio::test]
async fn a_product_that_moves_leaves_one_category_and_enters_the_other() {
    let town = Town::new().await;
    town.cached("A-1").await;
    for path in ["/products?category=audio", "/products?category=video"] {
        town.hit(path).await;
    }
    town.stage.sql("update products set category = 'video'").await;
    let has = async |category: &str| {
        let page = town.other.get(&format!("/products?category={category}")).await.json();
        page["items"].as_array().map_or(0, Vec::len)
    };
    until("it has moved", async || has("audio").await == 0 && has("video").await == 1).await;
}

#[tokio::test]
async fn a_row_that_is_gone_before_its_page_is_left_out() {
    let mut town = Town::new().await;
    let (product, path) = town.cached("A-1").await;
    town.cached("B-1").await;
    town.hit("/products").await;
    // The page stays valid while nothing is applied; the row's own entry is lost.
    town.invalidator.pause().expect("it runs");
    town.stage.sql("delete from products where sku = 'A-1'").await;
    let key = format!("{{{}.0}}v:products:{}", town.stage.name(), product["id"].as_str().expect("an id"));
    let redis = redis::Client::open(town.stage.redis_url(Login::Superuser)).expect("a URL");
    let mut redis = redis.get_multiplexed_async_connection().await.expect("Redis answers");
    let removed: u32 = redis::cmd("DEL").arg(&key).query_async(&mut redis).await.expect("removed");
    assert_eq!(removed, 1, "{key} was not there");
    let page = town.one.get("/products?explain=true").await.json();
    assert_eq!(page["explanation"]["page"]["origin"], "redis", "{page}");
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    assert_eq!(page["items"][0]["sku"], "B-1", "{page}");
    town.one.get(&path).await.problem(404, "no-such-product");
    town.invalidator.resume().expect("it runs");
}

#[tokio::test]
async fn a_batch_of_cached_and_other_products_says_how_many_were_cached() {
    let town = Town::new().await;
    let (a, _) = town.cached("A-1").await;
    let b = town.one.made("B-1", "10").await;
    let path = format!("/products/batch?ids={},{}", a["id"].as_str().expect("an id"), b["id"].as_str().expect("an id"));
    let first = town.one.get(&path).await;
    assert_eq!(first.header("cache-status"), "Freshline; fwd=partial; detail=redis:1/2");
    assert_eq!(first.json(), json!({"items": [a, b], "missing": []}));
    town.hit(&path).await;
}

#[tokio::test]
async fn without_postgres_cached_reads_go_on_inside_the_bound() {
    let town = Town::new().await;
    let (product, path) = town.cached("A-1").await;
    let proxy = town.stage.postgres_proxy().await;
    let url = proxy.before(&town.stage.database_url(Login::Api));
    let api = Api::start(town.stage.launch("freshline-api", Login::Api).variable("FRESHLINE_DATABASE_URL", url)).await;
    hit(&api, &path).await;
    for fault in [Fault::Refuse, Fault::BlackHole] {
        proxy.set(fault);
        // The invalidator has its own way to Postgres, so the bound moves on.
        for _ in 0..20 {
            let answer = api.get(&path).await;
            assert_eq!((answer.header("cache-status"), answer.json()), (HIT, product.clone()), "{fault:?}");
        }
        let refused = api.send(Method::PATCH, &path, r#"{"price":1}"#).await;
        assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        assert_eq!(api.get("/readyz").await.status, StatusCode::OK, "{fault:?}");
    }
    proxy.set(Fault::None);
    until("writes go on", async || api.send(Method::PATCH, &path, r#"{"price":1}"#).await.status == StatusCode::OK).await;
}

#[tokio::test]
async fn hits_come_back_by_themselves_after_redis_was_away() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    let proxy = town.stage.redis_proxy().await;
    let url = proxy.before(&town.stage.redis_url(Login::Api));
    let api = Api::start(launch(&town.stage).variable("FRESHLINE_REDIS_URL", url)).await;
    for fault in [Fault::Refuse, Fault::BlackHole, Fault::Slow(Duration::from_millis(300))] {
        hit(&api, &path).await;
        proxy.set(fault);
        let answer = until("it notices", async || {
            let answer = api.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{fault:?}: {answer:?}");
            (answer.header("cache-status") != HIT).then_some(answer)
        });
        assert_eq!(answer.await.header("cache-status"), "Freshline; fwd=bypass; detail=unreachable", "{fault:?}");
        proxy.set(Fault::None);
    }
    hit(&api, &path).await;
}
