//! What happens between a lease and its fill, and to those who come meanwhile.

use std::{sync::Arc, time::Duration};

use freshline::{
    cache::{Cache, CacheError, FillOutcome, Found, Settings, Want},
    coherence::{CacheKey, Refusal},
};
use stage::{Fault, Login, Proxy, until};
use tokio::{sync::Notify, task::JoinHandle};

use super::rig::{Postgres, Rig, SOURCE, Told, assert_hit, key, read, read_with, settings, token};

/// A read that has its lease, has read Postgres, and goes on when it is told to.
struct Held {
    go_on: Arc<Notify>,
    reading: JoinHandle<Found<bytes::Bytes>>,
}

impl Held {
    async fn of(cache: &Cache, k: &CacheKey, postgres: &Postgres) -> Self {
        Self::with(cache, k, Want::default(), postgres).await
    }

    async fn with(cache: &Cache, k: &CacheKey, want: Want, postgres: &Postgres) -> Self {
        let (go_on, reached) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (cache, k, postgres) = (cache.clone(), k.clone(), postgres.clone());
        let (may_go_on, has_reached) = (go_on.clone(), reached.clone());
        let load = async move {
            let loaded = postgres.load().await;
            has_reached.notify_one();
            may_go_on.notified().await;
            loaded
        };
        let reading = tokio::spawn(async move { super::rig::unfailing(cache.get(&k, &want, || load).await) });
        reached.notified().await;
        Self { go_on, reading }
    }

    async fn end(self) -> Found<bytes::Bytes> {
        self.go_on.notify_one();
        self.reading.await.expect("no panic")
    }
}

#[tokio::test]
async fn a_change_that_comes_while_a_value_is_read_keeps_it_out() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("old"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let reading = Held::of(&cache, &k, &postgres).await;
    rig.change_key(200, &k).await; // the reader's snapshot sees 199
    let found = reading.end().await;
    assert_eq!((found.text(), found.fill), (Some("old"), Some(FillOutcome::Old)));
    postgres.set(Some("new"));
    postgres.prove("201:201:", Some(SOURCE));
    assert_eq!(read(&cache, &k, &postgres).await.refusal, Some(Refusal::Missing));
    assert_hit(&read(&cache, &k, &postgres).await, Some("new"));
}

#[tokio::test]
async fn a_change_that_the_read_has_seen_lets_it_in() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("new"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let reading = Held::of(&cache, &k, &postgres).await;
    rig.change_key(199, &k).await;
    assert_eq!(reading.end().await.fill, Some(FillOutcome::Filled));
    assert_hit(&read(&cache, &k, &postgres).await, Some("new"));
}

#[tokio::test]
async fn a_change_in_the_gap_keeps_out_whoever_does_not_see_it() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("old"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    rig.change_key(250, &k).await; // applied, and visible to nobody yet
    assert_eq!(read(&cache, &k, &postgres).await.fill, Some(FillOutcome::Old));
    postgres.set(Some("new"));
    postgres.prove("251:251:", Some(SOURCE));
    assert_eq!(read(&cache, &k, &postgres).await.fill, Some(FillOutcome::Filled));
    assert_hit(&read(&cache, &k, &postgres).await, Some("new"));
}

#[tokio::test]
async fn a_generation_that_begins_while_a_value_is_read_keeps_it_out() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("old"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let reading = Held::of(&cache, &k, &postgres).await;
    rig.open_all().await;
    assert_eq!(reading.end().await.fill, Some(FillOutcome::Closed));
}

#[tokio::test]
async fn a_lease_that_is_lost_fills_nothing() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let reading = Held::of(&cache, &k, &postgres).await;
    rig.redis.run::<()>(&["DEL", &rig.stripes.lease(&k)]).await.expect("removed");
    assert_eq!(reading.end().await.fill, Some(FillOutcome::Lost));
    assert_eq!(read(&cache, &k, &postgres).await.refusal, Some(Refusal::Missing));
}

#[tokio::test]
async fn who_comes_while_another_process_fills_waits_and_is_served() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let k = key("rows:1");
    let first = Held::of(&rig.cache(), &k, &postgres).await;
    let waiting = {
        let (cache, k, postgres) = (rig.cache(), k.clone(), postgres.clone());
        tokio::spawn(async move { read_with(&cache, &k, &Want { explain: true, ..Want::default() }, &postgres).await })
    };
    let before = rig.calls("mget").await;
    until("it has looked more than once", async || rig.calls("mget").await > before + 2).await;
    assert!(!waiting.is_finished());
    first.end().await;
    let found = waiting.await.expect("no panic");
    assert_hit(&found, Some("one"));
    let explanation = found.explanation.expect("asked for");
    assert_eq!((explanation.lease, explanation.refused_first_by), (Some("busy"), Some("missing")));
    assert_eq!(postgres.loads(), 1);
}

#[tokio::test]
async fn who_waits_too_long_for_another_reads_and_fills_nothing() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let k = key("rows:1");
    let first = Held::of(&rig.cache(), &k, &postgres).await;
    let impatient = Settings { busy_wait: Duration::from_millis(20), ..settings() };
    let found = read(&rig.cache_with(impatient), &k, &postgres).await;
    assert_eq!((found.text(), found.fill), (Some("one"), Some(FillOutcome::Busy)));
    assert_eq!(postgres.loads(), 2);
    assert_eq!(first.end().await.fill, Some(FillOutcome::Filled));
}

/// A reader whose first look finds nothing, and whose lease finds the entry that somebody else filled meanwhile.
async fn overtaken(rig: &Rig, k: &CacheKey, want: Want, postgres: &Postgres) -> Found<bytes::Bytes> {
    let proxy = Proxy::to(([127, 0, 0, 1], rig.redis.port()).into()).await.expect("a proxy");
    let (links, _keeping) = rig.links_to(&proxy.before(&rig.redis.url(Login::Api))).await;
    let cache = Cache::new(links, rig.stripes.clone(), settings());
    proxy.set(Fault::HoldReplies);
    let before = rig.calls("mget").await;
    let reading = {
        let (k, postgres) = (k.clone(), postgres.clone());
        tokio::spawn(async move { read_with(&cache, &k, &want, &postgres).await })
    };
    until("the first look has been made", async || rig.calls("mget").await > before).await;
    assert_eq!(read(&rig.cache(), k, postgres).await.fill, Some(FillOutcome::Filled));
    proxy.set(Fault::None);
    reading.await.expect("no panic")
}

#[tokio::test]
async fn an_entry_that_came_before_the_lease_is_served() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let found = overtaken(&rig, &key("rows:1"), Want { explain: true, ..Want::default() }, &postgres).await;
    assert_hit(&found, Some("one"));
    assert_eq!(found.explanation.expect("asked for").lease, Some("hit"));
    assert_eq!(postgres.loads(), 1);
}

#[tokio::test]
async fn an_entry_that_came_before_the_lease_and_cannot_be_served_either_is_looked_at_once() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let found = overtaken(&rig, &key("rows:1"), token(500), &postgres).await;
    assert_eq!((found.text(), found.refusal, found.fill), (Some("one"), Some(Refusal::Missing), Some(FillOutcome::Raced)));
    assert_eq!(postgres.loads(), 2);
}

#[tokio::test]
async fn a_failed_load_is_its_readers_error_and_gives_the_lease_back() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let failed = cache.get::<bytes::Bytes, _, _, _>(&k, &Want::default(), async || Err("no connection")).await;
    assert!(matches!(failed, Err(CacheError::Load("no connection"))), "{failed:?}");
    assert_eq!(read(&cache, &k, &postgres).await.fill, Some(FillOutcome::Filled));
}

#[tokio::test]
async fn the_lease_of_a_reader_that_goes_away_is_taken_over() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("old"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let first = Held::of(&cache, &k, &postgres).await;
    first.reading.abort();
    assert!(first.reading.await.expect_err("went away").is_cancelled());
    // It has been told of this as if it were still in the hands of the first.
    rig.change_key(250, &k).await;
    let second = Held::of(&cache, &k, &postgres).await;
    second.reading.abort();
    assert!(second.reading.await.expect_err("went away").is_cancelled());
    assert_eq!(read(&cache, &k, &postgres).await.fill, Some(FillOutcome::Old));
    postgres.prove("251:251:", Some(SOURCE));
    assert_eq!(read(&cache, &k, &postgres).await.fill, Some(FillOutcome::Filled));
}

#[tokio::test]
async fn a_read_without_a_place_to_load_is_refused() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let narrow = Settings { loads_max: 1, load_wait: Duration::from_millis(20), ..settings() };
    let cache = rig.cache_with(narrow);
    let first = Held::of(&cache, &key("rows:1"), &postgres).await;
    let second = cache.get(&key("rows:2"), &Want::default(), || postgres.load()).await;
    assert!(matches!(second, Err(CacheError::Overloaded)), "{second:?}");
    first.end().await;
    // Hits need no place, and the lease of the refused one was given back.
    assert_hit(&read(&cache, &key("rows:1"), &postgres).await, Some("one"));
    assert_eq!(read(&cache, &key("rows:2"), &postgres).await.fill, Some(FillOutcome::Filled));
}
