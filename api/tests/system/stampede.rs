//! A thousand callers at once who all want what is not cached: Postgres is asked once, as it counts itself.

use futures::future::join_all;
use reqwest::StatusCode;
use sqlx::AssertSqlSafe;
use stage::{
    Stage,
    servers::{PostgresOptions, RedisOptions},
    until,
};

use crate::support::{Api, launch};

/// Callers at once.
const CALLERS: usize = 1000;

/// A stage whose Postgres counts its statements, an API on it, and the path of a product.
async fn counting(settings: &[(&str, &str)]) -> (Stage, Api, String) {
    let preload = [("shared_preload_libraries".to_owned(), "pg_stat_statements".to_owned())].into();
    let postgres = PostgresOptions { settings: preload, ..PostgresOptions::default() };
    let stage = Stage::own_with(postgres, RedisOptions::default()).await;
    stage.sql("create extension pg_stat_statements").await;
    let launch = launch(&stage).variable("FRESHLINE_API_STATEMENT_MS", "20000").variables(settings.iter().copied());
    let api = Api::start(launch).await;
    let product = api.made("a", "1").await;
    let path = format!("/products/{}", product["id"].as_str().expect("an id"));
    (stage, api, path)
}

/// How often the product has been read since the counts were reset.
async fn readings(stage: &Stage) -> i64 {
    // The API's own look after Postgres reads a product that nothing has the id of: it is asked less than once a second, and not at all
    // where requests have heard from Postgres since.
    let query =
        "select coalesce(sum(rows), 0)::int8 from pg_stat_statements where query like '%left join public.products p on p.id = $%'";
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(stage.pool()).await.expect("a count")
}

/// How often the cache has read Postgres, as the API counts it.
async fn loads(api: &Api) -> u64 {
    counted(api, r#"freshline_loads_total{outcome="loaded"} "#).await
}

async fn counted(api: &Api, metric: &str) -> u64 {
    let metrics = api.get("/metrics").await.body;
    metrics.lines().find_map(|line| line.strip_prefix(metric)).and_then(|count| count.parse().ok()).unwrap_or_default()
}

async fn without_redis(stage: &Stage, api: &Api) {
    stage.redis().kill().await.expect("killed");
    until("it is noticed", async || api.get("/metrics").await.body.lines().any(|line| line == "freshline_redis_up 0")).await;
    stage.sql("select pg_stat_statements_reset()").await;
}

/// How many readings the API's look after Postgres may add to a stampede on a busy machine, one each second.
const LOOKS_MAX: i64 = 5;

#[tokio::test]
async fn without_redis_a_thousand_callers_make_one_query() {
    let (stage, api, path) = counting(&[]).await;
    without_redis(&stage, &api).await;
    let answers = join_all((0..CALLERS).map(|_| api.get(&path))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert_eq!(loads(&api).await, 1);
    let readings = readings(&stage).await;
    assert!((1..=1 + LOOKS_MAX).contains(&readings), "{readings} queries");
}

#[tokio::test]
async fn with_nothing_kept_in_memory_those_who_come_while_a_query_is_under_way_share_the_next() {
    let (stage, api, path) = counting(&[("FRESHLINE_API_FALLBACK_MAX_BYTES", "0")]).await;
    without_redis(&stage, &api).await;
    // Held back, so that all of them come while the first query is under way.
    let mut holder = stage.pool().begin().await.expect("a transaction");
    sqlx::query("lock table products in access exclusive mode").execute(&mut *holder).await.expect("a lock");
    let callers = join_all((0..CALLERS).map(|_| api.get(&path)));
    let releasing = async {
        let missed = r#"freshline_reads_total{outcome="unreachable"} "#;
        until("all have come", async || counted(&api, missed).await >= CALLERS as u64).await;
        holder.commit().await.expect("the lock goes");
    };
    let (answers, ()) = futures::join!(callers, releasing);
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert_eq!(loads(&api).await, 2);
    let readings = readings(&stage).await;
    assert!((2..=2 + LOOKS_MAX).contains(&readings), "{readings} queries");
}
