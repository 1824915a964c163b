//! What the cache serves, and what empties it.

use freshline::{
    cache::{FillOutcome, Origin},
    coherence::{ETag, Refusal},
};
use stage::until;

use super::rig::{Postgres, Rig, assert_hit, key, read};

#[tokio::test]
async fn a_value_that_was_filled_is_served_without_asking_postgres() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let first = read(&cache, &k, &postgres).await;
    assert_eq!((first.origin, first.refusal, first.fill), (Origin::Postgres, Some(Refusal::Missing), Some(FillOutcome::Filled)));
    let second = read(&cache, &k, &postgres).await;
    assert_hit(&second, Some("one"));
    assert_eq!((first.etag, second.etag), (ETag::of(b"one"), ETag::of(b"one")));
    assert_eq!(postgres.loads(), 1);
    // Another process finds it too.
    assert_hit(&read(&rig.cache(), &k, &postgres).await, Some("one"));
}

#[tokio::test]
async fn a_row_that_does_not_exist_is_served_as_such() {
    let (rig, postgres) = (Rig::open().await, Postgres::with(""));
    let (cache, absent, empty) = (rig.cache(), key("rows:absent"), key("rows:empty"));
    assert_eq!(read(&cache, &empty, &postgres).await.fill, Some(FillOutcome::Filled));
    postgres.set(None);
    assert_eq!(read(&cache, &absent, &postgres).await.fill, Some(FillOutcome::Filled));
    assert_hit(&read(&cache, &absent, &postgres).await, None);
    assert_hit(&read(&cache, &empty, &postgres).await, Some(""));
    // For a shorter time than one that exists.
    let ttl_ms = async |name| rig.redis.run::<i64>(&["PTTL", &rig.stripes.value(name)]).await.expect("a key");
    assert!((50_000..=66_000).contains(&ttl_ms(&absent).await));
    assert!((500_000..=660_000).contains(&ttl_ms(&empty).await));
}

#[tokio::test]
async fn a_stripe_that_nobody_opened_serves_nothing_and_takes_nothing() {
    let (rig, postgres) = (Rig::closed(1).await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    for _ in 0..2 {
        let found = read(&cache, &k, &postgres).await;
        assert_eq!((found.origin, found.refusal, found.fill), (Origin::Postgres, Some(Refusal::Closed), Some(FillOutcome::Closed)));
    }
    assert_eq!(rig.redis.run::<u64>(&["DBSIZE"]).await.expect("an answer"), 0);
    rig.open_all().await;
    until("the cache looks again", async || read(&cache, &k, &postgres).await.fill == Some(FillOutcome::Filled)).await;
    assert_hit(&read(&cache, &k, &postgres).await, Some("one"));
}

#[tokio::test]
async fn a_stripe_found_closed_is_left_alone_for_a_while() {
    let (rig, postgres) = (Rig::closed(1).await, Postgres::with("one"));
    let settings = freshline::cache::Settings { closed_pause: std::time::Duration::from_secs(600), ..super::rig::settings() };
    let (cache, k) = (rig.cache_with(settings), key("rows:1"));
    read(&cache, &k, &postgres).await;
    rig.open_all().await;
    // Found closed once, it is not asked again, open as it is by now.
    assert_eq!(read(&cache, &k, &postgres).await.refusal, Some(Refusal::Closed));
    assert_eq!(read(&rig.cache(), &k, &postgres).await.refusal, Some(Refusal::Missing));
}

#[tokio::test]
async fn an_old_file_that_comes_back_serves_nothing() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("old"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    read(&cache, &k, &postgres).await;
    let file = rig.redis.home().path().join("old.rdb");
    rig.redis.save_to(&file).await.expect("saved");
    rig.redis.restart_from(&file).await.expect("restarted");
    postgres.set(Some("new"));
    until("the file's control record is refused", async || {
        let found = read(&cache, &k, &postgres).await;
        assert_eq!((found.origin, found.value.as_deref()), (Origin::Postgres, Some(b"new".as_slice())));
        found.refusal == Some(Refusal::OtherRun)
    })
    .await;
    rig.open_all().await;
    until("the cache serves again", async || {
        let found = read(&cache, &k, &postgres).await;
        assert_eq!(found.value.as_deref(), Some(b"new".as_slice()));
        found.origin == Origin::Redis
    })
    .await;
}

#[tokio::test]
async fn a_new_generation_empties_the_cache() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    read(&cache, &k, &postgres).await;
    rig.open_all().await;
    let found = read(&cache, &k, &postgres).await;
    assert_eq!((found.refusal, found.fill), (Some(Refusal::OtherGeneration), Some(FillOutcome::Filled)));
    assert_hit(&read(&cache, &k, &postgres).await, Some("one"));
}

#[tokio::test]
async fn a_change_empties_its_key_and_no_other() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, changed, other) = (rig.cache(), key("rows:1"), key("rows:2"));
    read(&cache, &changed, &postgres).await;
    read(&cache, &other, &postgres).await;
    rig.change_key(300, &changed).await;
    postgres.prove("301:301:", Some(super::rig::SOURCE));
    let found = read(&cache, &changed, &postgres).await;
    assert_eq!((found.refusal, found.fill), (Some(Refusal::Missing), Some(FillOutcome::Filled)));
    assert_hit(&read(&cache, &other, &postgres).await, Some("one"));
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_loaded_again() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    rig.redis.run::<()>(&["SCRIPT", "FLUSH"]).await.expect("flushed");
    assert_eq!(read(&cache, &k, &postgres).await.fill, Some(FillOutcome::Filled));
    assert_hit(&read(&cache, &k, &postgres).await, Some("one"));
}
