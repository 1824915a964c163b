//! A cutter on a real Redis.

use stage::RuleCutter;
use stage::servers::{Home, Redis, RedisOptions};

const COUNT: &str = "local n = 1\nn = n + 1 -- rule: it counts\nreturn n";

/// Answers as a script of Redis does, after a load of its own.
async fn run(url: &str, script: &str) -> i64 {
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let digest: String =
        redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(&mut connection).await.expect("a script that loads");
    redis::cmd("EVALSHA").arg(digest).arg(0).query_async(&mut connection).await.expect("a script that runs")
}

#[tokio::test]
async fn a_script_that_passes_a_cutter_lacks_the_rule_and_others_are_whole() {
    let redis = Redis::start(Home::scratch().expect("a scratch directory"), RedisOptions::default()).await.expect("Redis starts");
    let url = redis.url(stage::Login::Superuser);
    let address = ([127, 0, 0, 1], redis.port()).into();
    let cutter = RuleCutter::to(address, &["it counts"]).await.expect("a cutter");
    let other = RuleCutter::to(address, &["it does not"]).await.expect("a cutter");
    assert_eq!(run(&url, COUNT).await, 2);
    assert_eq!(run(&cutter.before(&url), COUNT).await, 1);
    assert_eq!(run(&other.before(&url), COUNT).await, 2);
    assert_eq!((cutter.cut_count(), other.cut_count()), (1, 0));
}

#[tokio::test]
async fn large_and_binary_arguments_pass_a_cutter_unchanged() {
    let redis = Redis::start(Home::scratch().expect("a scratch directory"), RedisOptions::default()).await.expect("Redis starts");
    let cutter = RuleCutter::to(([127, 0, 0, 1], redis.port()).into(), &["it counts"]).await.expect("a cutter");
    let client = redis::Client::open(cutter.before(&redis.url(stage::Login::Superuser))).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    for (len, fill) in [(1, b'\n'), (100_000, b'\r'), (3_000_000, 0)] {
        let value = vec![fill; len];
        let () = redis::cmd("SET").arg("key").arg(&value).query_async(&mut connection).await.expect("an answer");
        let read: Vec<u8> = redis::cmd("GET").arg("key").query_async(&mut connection).await.expect("an answer");
        assert!(read == value, "{len} bytes of {fill} came back as {} others", read.len());
    }
}
