//! A proxy that misbehaves as told.

use std::time::{Duration, Instant};

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use stage::{Fault, Login, Proxy, Stage};

/// Longer than any answer takes, short enough to wait for.
const PATIENCE: Duration = Duration::from_millis(300);

async fn connect(t: &Stage, proxy: &Proxy) -> redis::RedisResult<MultiplexedConnection> {
    let url = proxy.before(&t.redis_url(Login::Superuser));
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

async fn increment(connection: &mut MultiplexedConnection) -> redis::RedisResult<i64> {
    redis::cmd("INCR").arg("count").query_async(connection).await
}

async fn count(t: &Stage) -> Option<i64> {
    t.redis().run(&["GET", "count"]).await.expect("Redis itself answers")
}

#[tokio::test]
async fn a_refusing_proxy_cuts_what_it_has_and_lets_nobody_in_until_it_is_mended() {
    let t = Stage::new().await;
    let proxy = t.redis_proxy().await;
    let mut connection = connect(&t, &proxy).await.expect("it passes at first");
    increment(&mut connection).await.expect("it passes at first");
    proxy.set(Fault::Refuse);
    t.until("the connection is cut", async || increment(&mut connection).await.is_err()).await;
    t.until("a new one is refused", async || connect(&t, &proxy).await.err().filter(redis::RedisError::is_connection_refusal))
        .await;
    proxy.set(Fault::None);
    t.until("a new one is served", async || connect(&t, &proxy).await.is_ok()).await;
}

#[tokio::test]
async fn a_black_hole_accepts_and_lets_nothing_through() {
    let t = Stage::new().await;
    let proxy = t.redis_proxy().await;
    let mut connection = connect(&t, &proxy).await.expect("it passes at first");
    proxy.set(Fault::BlackHole);
    assert!(increment(&mut connection).await.expect_err("no answer comes").is_timeout());
    assert_eq!(count(&t).await, None, "the request did not arrive");
    assert!(connect(&t, &proxy).await.expect_err("no greeting comes").is_timeout());
    proxy.set(Fault::None);
    t.until("it goes on where it was", async || increment(&mut connection).await.is_ok()).await;
}

#[tokio::test]
async fn held_replies_hide_what_has_been_done() {
    let t = Stage::new().await;
    let proxy = t.redis_proxy().await;
    let mut connection = connect(&t, &proxy).await.expect("it passes at first");
    proxy.set(Fault::HoldReplies);
    assert!(increment(&mut connection).await.expect_err("no answer comes").is_timeout());
    assert_eq!(count(&t).await, Some(1), "the request was carried out");
}

#[tokio::test]
async fn a_dropped_reply_belongs_to_a_request_that_was_carried_out() {
    let t = Stage::new().await;
    let proxy = t.redis_proxy().await;
    let mut connection = connect(&t, &proxy).await.expect("it passes at first");
    proxy.drop_next_reply();
    let lost = increment(&mut connection).await.expect_err("the reply is lost");
    assert!(proxy.dropped_reply() && !lost.is_timeout(), "its connection is cut: {lost}");
    assert_eq!(count(&t).await, Some(1), "the request was carried out");
    let mut connection = connect(&t, &proxy).await.expect("the next connection is served");
    assert_eq!(increment(&mut connection).await.expect("the next reply comes"), 2);
}

#[tokio::test]
async fn a_slow_proxy_delays_both_directions() {
    let t = Stage::new().await;
    let proxy = t.redis_proxy().await;
    let mut connection = connect(&t, &proxy).await.expect("it passes at first");
    proxy.set(Fault::Slow(Duration::from_millis(50)));
    let asked = Instant::now();
    increment(&mut connection).await.expect("an answer in the end");
    assert!(asked.elapsed() >= Duration::from_millis(100), "it took only {:?}", asked.elapsed());
}
