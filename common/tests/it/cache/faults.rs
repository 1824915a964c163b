//! Redis dead, hung, back again, and full: reads go on.

use std::time::{Duration, Instant};

use freshline::{
    cache::{FillOutcome, Origin},
    coherence::Refusal,
};
use stage::until;

use super::rig::{Postgres, Rig, Told, assert_hit, key, read};

/// As short as in production.
const DEADLINE: Duration = Duration::from_millis(100);

async fn served_again(rig: &Rig, cache: &freshline::cache::Cache, postgres: &Postgres) {
    until("the cache serves again", async || {
        let found = read(cache, &key("rows:1"), postgres).await;
        assert_eq!(found.text(), Some("one"));
        // A restarted Redis is opened by its applier.
        if found.refusal == Some(Refusal::Closed) && rig.generation(rig.stripes.of("")).await.is_none() {
            rig.open_all().await;
        }
        found.origin == Origin::Redis
    })
    .await;
}

#[tokio::test]
async fn with_redis_dead_reads_go_to_postgres_and_come_back() {
    let (rig, postgres) = (Rig::with_deadline(1, DEADLINE).await, Postgres::with("one"));
    let cache = rig.cache();
    rig.open_all().await;
    served_again(&rig, &cache, &postgres).await;
    rig.redis.kill().await.expect("killed");
    let found = read(&cache, &key("rows:1"), &postgres).await;
    assert_eq!((found.text(), found.origin), (Some("one"), Origin::Postgres));
    assert_eq!((found.refusal, found.fill), (Some(Refusal::Unreachable), Some(FillOutcome::Unreachable)));
    rig.redis.start_again().await.expect("started");
    served_again(&rig, &cache, &postgres).await;
}

#[tokio::test]
async fn with_redis_hung_one_read_waits_for_its_deadline_and_the_others_do_not_ask() {
    let (rig, postgres) = (Rig::with_deadline(1, DEADLINE).await, Postgres::with("one"));
    let cache = rig.cache();
    rig.open_all().await;
    served_again(&rig, &cache, &postgres).await;
    rig.redis.pause().await.expect("paused");
    let found = read(&cache, &key("rows:1"), &postgres).await;
    assert_eq!((found.text(), found.refusal), (Some("one"), Some(Refusal::Unreachable)));
    let began = Instant::now();
    for _ in 0..100 {
        let found = read(&cache, &key("rows:1"), &postgres).await;
        assert_eq!(
            (found.text(), found.refusal, found.fill),
            (Some("one"), Some(Refusal::Unreachable), Some(FillOutcome::Unreachable))
        );
    }
    assert!(began.elapsed() < 20 * DEADLINE, "100 reads took {:?}: they waited for Redis", began.elapsed());
    rig.redis.resume().await.expect("resumed");
    served_again(&rig, &cache, &postgres).await;
}

#[tokio::test]
async fn where_redis_lets_the_cache_read_and_not_write_hits_go_on() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let cache = rig.cache();
    read(&cache, &key("rows:1"), &postgres).await;
    let user = stage::Login::Api.redis_name();
    rig.redis.run::<()>(&["ACL", "SETUSER", user, "-evalsha"]).await.expect("set");
    let found = read(&cache, &key("rows:2"), &postgres).await;
    assert_eq!((found.text(), found.refusal, found.fill), (Some("one"), Some(Refusal::Missing), Some(FillOutcome::Unreachable)));
    assert_hit(&read(&cache, &key("rows:1"), &postgres).await, Some("one"));
    rig.redis.run::<()>(&["ACL", "SETUSER", user, "-mget", "+evalsha"]).await.expect("set");
    assert_eq!(read(&cache, &key("rows:1"), &postgres).await.refusal, Some(Refusal::Unreachable));
    rig.redis.run::<()>(&["ACL", "SETUSER", user, "+mget"]).await.expect("set");
    served_again(&rig, &cache, &postgres).await;
}

#[tokio::test]
async fn with_redis_full_reads_go_on() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let cache = rig.cache();
    read(&cache, &key("rows:1"), &postgres).await;
    rig.redis.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await.expect("set");
    assert_eq!(read(&cache, &key("rows:2"), &postgres).await.text(), Some("one"));
    assert_hit(&read(&cache, &key("rows:1"), &postgres).await, Some("one"));
    rig.redis.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await.expect("set");
    assert_eq!(read(&cache, &key("rows:3"), &postgres).await.fill, Some(FillOutcome::Filled));
}
