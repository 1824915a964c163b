//! A private Redis.

use std::time::Duration;

use stage::servers::{Home, Redis, RedisOptions};

async fn start() -> Redis {
    Redis::start(Home::scratch().expect("a scratch directory"), RedisOptions::default()).await.expect("Redis starts")
}

async fn run_id(redis: &Redis) -> String {
    let info: String = redis.run(&["INFO", "server"]).await.expect("an answer");
    info.lines().find_map(|line| line.strip_prefix("run_id:")).expect("a run id").to_owned()
}

#[tokio::test]
async fn a_restarted_redis_is_another_process_on_the_same_port_and_empty() {
    let redis = start().await;
    redis.run::<()>(&["SET", "key", "value"]).await.expect("a key is set");
    let (url, run) = (redis.url(stage::Login::Superuser), run_id(&redis).await);
    redis.restart().await.expect("it starts again");
    assert_eq!(redis.url(stage::Login::Superuser), url);
    assert_ne!(run_id(&redis).await, run);
    assert_eq!(redis.run::<i64>(&["DBSIZE"]).await.expect("an answer"), 0);
}

#[tokio::test]
async fn a_redis_comes_back_with_what_an_old_file_holds() {
    let redis = start().await;
    let old = redis.home().path().join("old.rdb");
    redis.run::<()>(&["SET", "key", "old"]).await.expect("a key is set");
    redis.save_to(&old).await.expect("the file is written");
    redis.run::<()>(&["SET", "key", "new"]).await.expect("a key is set");
    redis.restart_from(&old).await.expect("it starts again");
    assert_eq!(redis.run::<String>(&["GET", "key"]).await.expect("an answer"), "old");
}

#[tokio::test]
async fn a_paused_redis_answers_only_when_it_is_resumed() {
    let redis = start().await;
    let mut connection = redis.connect().await.expect("a connection");
    redis.pause().await.expect("it is paused");
    let ping = redis::cmd("PING");
    let answer = ping.query_async::<String>(&mut connection);
    let mut answer = std::pin::pin!(answer);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut answer).await.is_err(), "a paused Redis answered");
    redis.resume().await.expect("it is resumed");
    assert_eq!(answer.await.expect("an answer"), "PONG");
}

#[tokio::test]
async fn a_taken_port_is_given_up_for_another() {
    let first = start().await;
    let options = RedisOptions { port: Some(first.port()), ..RedisOptions::default() };
    let second = Redis::start(Home::scratch().expect("a scratch directory"), options).await.expect("Redis starts");
    assert_ne!(second.port(), first.port());
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let redis = start().await;
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", redis.port())).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let refused = redis::cmd("GET").arg("key").exec_async(&mut connection).await.expect_err("nobody comes in without a password");
    assert!(refused.to_string().contains("NOAUTH"), "{refused}");
}

#[tokio::test]
async fn nothing_is_left_of_a_dropped_redis() {
    let redis = start().await;
    let (pid, home) = (redis.pid().await.expect("it runs"), redis.home().path().to_owned());
    drop(redis);
    assert!(!std::fs::exists(format!("/proc/{pid}")).expect("a look at /proc"), "{pid} still runs");
    assert!(!home.exists(), "{} is still there", home.display());
}
