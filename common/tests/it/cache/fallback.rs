//! What is served from memory while Redis is away, and what never is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use freshline::{
    cache::{Cache, FillOutcome, Found, Origin, Settings, Want},
    coherence::Refusal,
};
use futures::FutureExt;
use stage::until;
use tokio::sync::Notify;

use super::rig::{Postgres, Rig, Told, assert_a_stampede_loads_once, key, read, read_with, settings, token, unfailing};

/// As short as in production.
const DEADLINE: Duration = Duration::from_millis(100);

async fn rig() -> Rig {
    let rig = Rig::with_deadline(1, DEADLINE).await;
    rig.open_all().await;
    rig
}

fn cache(rig: &Rig) -> Cache {
    rig.cache_with(Settings { fallback_bytes_max: 1 << 20, ..settings() })
}

/// Redis goes away, and this process notices. That the link broke, not that it is silent: a busy machine may have made it so before, and a
/// reply that was on its way would end that outage.
async fn away(rig: &Rig) {
    rig.redis.kill().await.expect("killed");
    let mut links = rig.links.clone();
    until("it is noticed", async || links.ready().now_or_never().is_none()).await;
}

/// Redis comes back, and this process notices, though nobody reads.
async fn back(rig: &Rig) {
    rig.redis.start_again().await.expect("started");
    until("it is noticed", async || rig.links.outage().is_none()).await;
    rig.open_all().await;
}

fn is_fallback(found: &Found<Bytes>) -> bool {
    found.origin == Origin::Fallback
}

#[track_caller]
fn assert_read(found: &Found<Bytes>, text: &str) {
    assert_eq!((found.text(), found.origin), (Some(text), Origin::Postgres), "{found:?}");
    assert_eq!((found.refusal, found.fill), (Some(Refusal::Unreachable), Some(FillOutcome::Unreachable)));
}

#[tokio::test]
async fn while_redis_is_away_a_value_is_served_again_until_its_reading_is_as_old_as_the_bound() {
    const BOUND: Duration = Duration::from_millis(300);
    let (rig, postgres) = (rig().await, Postgres::with("old"));
    let cache = rig.cache_with(Settings { fallback_bytes_max: 1 << 20, max_staleness: BOUND, ..settings() });
    away(&rig).await;
    // A slow reading: its value is as old as its beginning, and not as its end.
    let (began, k) = (Instant::now(), key("rows:1"));
    let slow = async || {
        let loaded = postgres.load().await;
        while began.elapsed() <= BOUND / 2 {
            tokio::task::yield_now().await;
        }
        loaded
    };
    assert_read(&unfailing(cache.get(&k, &Want::default(), slow).await), "old");
    postgres.set(Some("new"));
    let (mut served, mut oldest) = (0, Duration::ZERO);
    let found = until("it is too old", async || {
        let asked = Instant::now();
        let found = read(&cache, &k, &postgres).await;
        if is_fallback(&found) {
            assert_eq!(found.text(), Some("old"));
            assert!(found.age <= BOUND && asked <= began + BOUND, "{:?} after it was read", asked - began);
            (served, oldest) = (served + 1, oldest.max(found.age));
        }
        (!is_fallback(&found)).then_some(found)
    })
    .await;
    assert_read(&found, "new");
    assert!(served > 0 && oldest > BOUND / 2, "served {served} times, at most {oldest:?} old");
}

#[tokio::test]
async fn a_read_that_has_to_see_a_write_of_its_own_is_never_answered_from_memory() {
    let (rig, postgres) = (rig().await, Postgres::with("old"));
    let (cache, k) = (cache(&rig), key("rows:1"));
    away(&rig).await;
    assert_read(&read(&cache, &k, &postgres).await, "old");
    postgres.set(Some("own"));
    assert!(is_fallback(&read(&cache, &k, &postgres).await));
    assert_read(&read_with(&cache, &k, &token(90), &postgres).await, "own");
    // What it read is later than what was kept, and kept in its place.
    let found = read(&cache, &k, &postgres).await;
    assert!(is_fallback(&found) && found.text() == Some("own"), "{found:?}");
    let strict = Want { max_staleness: Some(Duration::ZERO), ..Want::default() };
    assert_read(&read_with(&cache, &k, &strict, &postgres).await, "own");
}

#[tokio::test]
async fn what_was_read_before_redis_came_back_is_not_served_when_it_is_away_again() {
    let (rig, postgres) = (rig().await, Postgres::with("old"));
    let (cache, k) = (cache(&rig), key("rows:1"));
    away(&rig).await;
    assert_read(&read(&cache, &k, &postgres).await, "old");
    assert!(is_fallback(&read(&cache, &k, &postgres).await));
    back(&rig).await;
    // Others are told of a change meanwhile. Here nobody reads.
    postgres.set(Some("new"));
    away(&rig).await;
    assert_read(&read(&cache, &k, &postgres).await, "new");
}

#[tokio::test]
async fn nor_where_redis_only_hung() {
    let (rig, postgres) = (rig().await, Postgres::with("old"));
    let (cache, k) = (cache(&rig), key("rows:1"));
    rig.redis.pause().await.expect("paused");
    assert_read(&read(&cache, &k, &postgres).await, "old");
    assert!(is_fallback(&read(&cache, &k, &postgres).await));
    rig.redis.resume().await.expect("resumed");
    until("it answers", async || rig.links.outage().is_none()).await;
    postgres.set(Some("new"));
    rig.redis.pause().await.expect("paused");
    assert_read(&read(&cache, &k, &postgres).await, "new");
    rig.redis.resume().await.expect("resumed");
}

#[tokio::test]
async fn a_reading_that_redis_came_and_went_during_is_not_kept() {
    let (rig, postgres) = (rig().await, Postgres::with("old"));
    let (cache, k) = (cache(&rig), key("rows:1"));
    away(&rig).await;
    let (began, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let reading = tokio::spawn({
        let (cache, k, postgres, began, end) = (cache.clone(), k.clone(), postgres.clone(), began.clone(), end.clone());
        async move {
            let load = async || {
                let loaded = postgres.load().await;
                began.notify_one();
                end.notified().await;
                loaded
            };
            unfailing(cache.get(&k, &Want::default(), load).await)
        }
    });
    began.notified().await;
    back(&rig).await;
    postgres.set(Some("new"));
    away(&rig).await;
    end.notify_one();
    assert_eq!(reading.await.expect("no panic").text(), Some("old"));
    assert_read(&read(&cache, &k, &postgres).await, "new");
}

#[tokio::test]
async fn what_a_session_read_that_may_be_a_standbys_is_not_kept() {
    let (rig, postgres) = (rig().await, Postgres::with("old"));
    let cache = cache(&rig);
    postgres.prove("200:200:", None);
    away(&rig).await;
    for loads in 1..3 {
        assert_eq!(read(&cache, &key("rows:1"), &postgres).await.origin, Origin::Postgres);
        assert_eq!(postgres.loads(), loads);
    }
}

#[tokio::test]
async fn its_memory_is_given_back_when_redis_serves_and_without_any_it_keeps_nothing() {
    let (rig, postgres) = (rig().await, Postgres::with("one"));
    let (cache, none) = (cache(&rig), rig.cache());
    away(&rig).await;
    for name in ["rows:1", "rows:2"] {
        read(&cache, &key(name), &postgres).await;
        read(&none, &key(name), &postgres).await;
    }
    assert_eq!((cache.fallback_size().values, none.fallback_size().values), (2, 0));
    assert_eq!(read(&none, &key("rows:1"), &postgres).await.origin, Origin::Postgres);
    back(&rig).await;
    until("a hit", async || read(&cache, &key("rows:1"), &postgres).await.origin == Origin::Redis).await;
    assert_eq!((cache.fallback_size().values, cache.fallback_size().bytes), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_without_redis_load_a_key_once() {
    let (rig, postgres) = (rig().await, Postgres::with("one"));
    let cache = cache(&rig);
    away(&rig).await;
    assert_a_stampede_loads_once(&cache, &Want::default(), &postgres).await;
}

#[tokio::test]
async fn of_many_values_only_those_that_are_not_kept_are_read() {
    let (rig, postgres) = (rig().await, Postgres::with("v"));
    let cache = cache(&rig);
    let keys = ["rows:1", "rows:2", "rows:3"].map(key);
    away(&rig).await;
    unfailing(cache.get_many::<Bytes, _, _, _>(&keys[..2], &Want::default(), |at| postgres.load_many(at)).await);
    let found = unfailing(cache.get_many::<Bytes, _, _, _>(&keys, &Want::default(), |at| postgres.load_many(at)).await);
    let origins: Vec<_> = found.iter().map(|found| found.origin).collect();
    assert_eq!(origins, [Origin::Fallback, Origin::Fallback, Origin::Postgres]);
    let explained = cache.explain(&keys[0], &[], &Want::default()).await;
    assert_eq!((explained.origin, explained.rule), ("fallback", "read-time"));
}
