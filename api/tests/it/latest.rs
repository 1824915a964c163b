//! The feed of the latest and the list of categories: cached as any list is, and as true.

use reqwest::StatusCode;
use serde_json::Value;
use stage::until;

use crate::{
    cached::{HIT, Town},
    support::Answer,
};

fn skus(answer: &Answer) -> Vec<String> {
    let items = answer.json()["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["sku"].as_str().expect("a sku").to_owned()).collect()
}

#[tokio::test]
async fn the_latest_follow_plain_sql_and_are_hits_in_between() {
    let town = Town::new().await;
    town.cached("A-1").await;
    assert_eq!(skus(&town.hit("/products/latest").await), ["A-1"]);
    town.stage
        .sql("insert into products (sku, name, category, price) select 'N-' || n, 'n', 'audio', n from generate_series(1, 25) n")
        .await;
    let latest = until("the new ones", async || {
        let answer = town.other.get("/products/latest").await;
        (skus(&answer).first().map(String::as_str) == Some("N-25")).then_some(answer)
    });
    assert_eq!(skus(&latest.await), (6..=25).rev().map(|n| format!("N-{n}")).collect::<Vec<_>>());
    let hit = town.hit("/products/latest").await;
    let first = town.hit("/products").await;
    assert_eq!((hit.body, hit.headers.get("etag")), (first.body, first.headers.get("etag")), "it is the first page of all");
    town.stage.sql("delete from products where sku = 'N-25'").await;
    until("it is gone", async || skus(&town.one.get("/products/latest").await)[0] == "N-24").await;
    town.one.get("/products/latest?limit=5").await.problem(400, "bad-request");
}

#[tokio::test]
async fn the_categories_follow_plain_sql_and_are_hits_in_between() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    let names = async || town.one.get("/categories").await.json()["categories"].clone();
    assert_eq!(town.hit("/categories").await.json(), serde_json::json!({"categories": ["audio"], "more": false}));
    town.stage.sql("update products set price = 3").await;
    until("the price has changed", async || town.one.get(&path).await.json()["price"] == "3.00").await;
    assert_eq!(town.one.get("/categories").await.header("cache-status"), HIT, "a price touches no category");
    town.stage.sql("insert into products (sku, name, category, price) values ('B-1', 'b', 'video', 1)").await;
    until("a new one", async || names().await == serde_json::json!(["audio", "video"])).await;
    town.stage.sql("update products set category = 'books' where sku = 'A-1'").await;
    until("one has moved", async || names().await == serde_json::json!(["books", "video"])).await;
    town.stage.sql("delete from products").await;
    until("none is left", async || names().await == serde_json::json!([])).await;

    let hit = town.hit("/categories").await;
    let known = town.one.request(reqwest::Method::GET, "/categories").header("if-none-match", hit.header("etag"));
    assert_eq!(Answer::of(known).await.status, StatusCode::NOT_MODIFIED);
    let explained = town.one.get("/categories?explain=true").await.json();
    assert_eq!(explained["explanation"]["tags"][0]["name"], "products:categories", "{explained}");
    assert_eq!(explained["more"], Value::Bool(false), "{explained}");
}
