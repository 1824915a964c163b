//! Degraded, never down: one server away or hung, and back again without a restart.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use stage::{Fault, Login, Stage, until};

use crate::support::{Api, launch};

fn path(product: &Value) -> String {
    format!("/products/{}", product["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn without_redis_reads_come_from_postgres() {
    let stage = Stage::new().await;
    let proxy = stage.redis_proxy().await;
    let api = Api::start(launch(&stage).variable("FRESHLINE_REDIS_URL", proxy.before(&stage.redis_url(Login::Api)))).await;
    let product = api.made("a", "1").await;
    for fault in [Fault::Refuse, Fault::BlackHole, Fault::HoldReplies, Fault::None, Fault::BlackHole] {
        proxy.set(fault);
        for path in [path(&product), "/products".to_owned()] {
            let begun = Instant::now();
            let answer = api.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{fault:?}: {answer:?}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{fault:?}: {path} took {:?}", begun.elapsed());
        }
        let patched = api.send(Method::PATCH, &path(&product), r#"{"stock_quantity":2}"#).await;
        assert_eq!(patched.status, StatusCode::OK, "{fault:?}: writes never ask Redis");
        assert_eq!(api.get("/readyz").await.status, StatusCode::OK, "{fault:?}");
    }
}

#[tokio::test]
async fn without_postgres_writes_are_told_when_to_come_again_and_go_on_when_it_is_back() {
    let stage = Stage::new().await;
    let proxy = stage.postgres_proxy().await;
    let launch = stage.launch("freshline-api", Login::Api);
    let api = Api::start(launch.variable("FRESHLINE_DATABASE_URL", proxy.before(&stage.database_url(Login::Api)))).await;
    let product = api.made("a", "1").await;
    for fault in [Fault::Refuse, Fault::BlackHole] {
        proxy.set(fault);
        let begun = Instant::now();
        let refused = api.send(Method::PATCH, &path(&product), r#"{"price":2}"#).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{fault:?}: {refused:?}");
        assert_eq!(refused.header("retry-after"), "1", "{fault:?}");
        assert_eq!(refused.header("x-request-id").len(), 36, "{fault:?}");
        let unread = api.get(&path(&product)).await;
        unread.problem(503, "database-unavailable");
        assert!(begun.elapsed() < Duration::from_secs(10), "{fault:?}: {:?}", begun.elapsed());
        assert_eq!(api.get("/readyz").await.status, StatusCode::OK, "{fault:?}: Redis is there");
        proxy.set(Fault::None);
        until("writes go on", async || api.send(Method::PATCH, &path(&product), r#"{"price":3}"#).await.status == StatusCode::OK)
            .await;
        assert_eq!(api.get(&path(&product)).await.json()["price"], "3.00");
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_told_as_uncertain() {
    let stage = Stage::new().await;
    let proxy = stage.postgres_proxy().await;
    let launch = stage.launch("freshline-api", Login::Api);
    let api = Api::start(launch.variable("FRESHLINE_DATABASE_URL", proxy.before(&stage.database_url(Login::Api)))).await;
    let product = api.made("a", "1").await;

    // Held by the row's lock until its reply can be lost.
    let mut holder = stage.pool().begin().await.expect("a transaction");
    sqlx::query("select from products for update").execute(&mut *holder).await.expect("a lock");
    let path = path(&product);
    let writing = api.send(Method::PATCH, &path, r#"{"price":2}"#);
    let losing = async {
        until("the write waits", async || {
            stage
                .value::<i64>(
                    "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
                )
                .await
                > 0
        })
        .await;
        proxy.set(Fault::HoldReplies);
        holder.commit().await.expect("the lock goes");
        until("the write is committed", async || stage.value::<String>("select price::text from products").await == "2.00").await;
        proxy.set(Fault::Refuse);
    };
    let (answer, ()) = futures::join!(writing, losing);
    let problem = answer.problem(503, "write-uncertain");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("may have happened")), "{problem}");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn it_comes_up_before_its_servers_and_finds_them() {
    let stage = Stage::new().await;
    let (redis, postgres) = (stage.redis_proxy().await, stage.postgres_proxy().await);
    redis.set(Fault::Refuse);
    postgres.set(Fault::Refuse);
    let launch = stage
        .launch("freshline-api", Login::Api)
        .variable("FRESHLINE_REDIS_URL", redis.before(&stage.redis_url(Login::Api)))
        .variable("FRESHLINE_DATABASE_URL", postgres.before(&stage.database_url(Login::Api)));
    let api = Api::start(launch).await;
    assert_eq!(api.get("/livez").await.status, StatusCode::OK);
    api.get("/products").await.problem(503, "database-unavailable");
    until("it is not ready", async || api.get("/readyz?verbose").await.body.contains("neither answers")).await;
    postgres.set(Fault::None);
    until("it is ready", async || api.get("/readyz").await.status == StatusCode::OK).await;
    api.made("a", "1").await;
    assert_eq!(api.get("/products").await.status, StatusCode::OK);
}

#[tokio::test]
async fn reads_of_postgres_are_bounded() {
    let stage = Stage::new().await;
    let launch = stage
        .launch("freshline-api", Login::Api)
        .variable("FRESHLINE_API_READ_SESSIONS_MAX", "2")
        .variable("FRESHLINE_API_SESSION_WAIT_MS", "1000")
        .variable("FRESHLINE_API_STATEMENT_MS", "20000");
    let api = Api::start(launch).await;
    let mut holder = stage.pool().begin().await.expect("a transaction");
    sqlx::query("lock table products in access exclusive mode").execute(&mut *holder).await.expect("a lock");
    // Different products, so that none can share another's read.
    let paths: Vec<_> = (0..6).map(|n| format!("/products/0190b5a0-0000-7000-8000-00000000000{n}")).collect();
    let reads = futures::future::join_all(paths.iter().map(|path| async {
        let answer = api.get(path).await;
        (answer.status != StatusCode::NOT_FOUND).then(|| answer.problem(503, "overloaded"))
    }));
    let releasing = async {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        until("two reads wait", async || stage.value::<i64>(waiting).await >= 2).await;
        until("the others were refused", async || {
            api.get("/metrics").await.body.contains(r#"route="/products/{id}",status="503"} 4"#)
        })
        .await;
        holder.commit().await.expect("the lock goes");
    };
    let (answers, ()) = futures::join!(reads, releasing);
    assert_eq!(answers.iter().flatten().count(), 4, "two of six had a place");
}

#[tokio::test]
async fn a_failure_of_ours_is_told_by_its_id_alone() {
    let stage = Stage::new().await;
    let mut api = Api::on(&stage).await;
    // What a role lacks is for us to mend, and none of the caller's business.
    stage.sql("revoke all on products from freshline_api").await;
    let answer = api.get("/products").await;
    let problem = answer.problem(500, "internal");
    let id = answer.header("x-request-id").to_owned();
    assert_eq!(problem["instance"], format!("urn:uuid:{id}"));
    assert!(!answer.body.contains("permission"), "{answer:?}");
    let line = api.process.line(&id).await;
    assert!(line.contains("permission denied"), "{line}");
}
