//! Readers of one process that miss the same key at the same time.

use std::sync::Arc;

use bytes::Bytes;
use freshline::{
    cache::{Cache, FillOutcome, Found, Origin, Want},
    coherence::CacheKey,
};
use stage::until;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use super::rig::{Postgres, Rig, Told, assert_hit, key, read, read_with, token, unfailing};

/// A Postgres that answers when it is let.
#[derive(Clone)]
struct Slow {
    postgres: Postgres,
    answers: Arc<Semaphore>,
}

impl Slow {
    fn with(value: &'static str) -> Self {
        Self { postgres: Postgres::with(value), answers: Arc::new(Semaphore::new(0)) }
    }

    /// Lets so many loads end.
    fn let_end(&self, loads: usize) {
        self.answers.add_permits(loads);
    }

    fn read(&self, cache: &Cache, k: &CacheKey) -> JoinHandle<Found<Bytes>> {
        self.read_with(cache, k, Want::default())
    }

    fn read_with(&self, cache: &Cache, k: &CacheKey, want: Want) -> JoinHandle<Found<Bytes>> {
        let (cache, k, slow) = (cache.clone(), k.clone(), self.clone());
        tokio::spawn(async move {
            let load = async || {
                let loaded = slow.postgres.load().await;
                slow.answers.acquire().await.expect("never closed").forget();
                loaded
            };
            unfailing(cache.get(&k, &want, load).await)
        })
    }

    async fn has_begun(&self, loads: usize) {
        until("loads have begun", async || self.postgres.loads() == loads).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_of_one_missing_key_load_it_at_most_twice() {
    for stripes in [true, false] {
        let rig = if stripes { Rig::open().await } else { Rig::closed(1).await };
        let (cache, postgres) = (rig.cache(), Postgres::with("one"));
        let mut readers = JoinSet::new();
        for _ in 0..1000 {
            let (cache, postgres) = (cache.clone(), postgres.clone());
            readers.spawn(async move { read(&cache, &key("rows:1"), &postgres).await });
        }
        for found in readers.join_all().await {
            assert_eq!(found.text(), Some("one"));
        }
        let most = if stripes { 1 } else { 1000 };
        assert!(postgres.loads() <= most, "{} loads", postgres.loads());
    }
}

#[tokio::test]
async fn a_closed_key_is_read_from_postgres_by_one_reader_at_a_time() {
    let (rig, slow) = (Rig::closed(1).await, Slow::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let first = slow.read(&cache, &k);
    slow.has_begun(1).await;
    // These come while the first reading is under way: they share the second one.
    slow.postgres.set(Some("two"));
    let later: Vec<_> = (0..100).map(|_| slow.read(&cache, &k)).collect();
    slow.let_end(1);
    assert_eq!(first.await.expect("no panic").text(), Some("one"));
    slow.has_begun(2).await;
    slow.let_end(1);
    for found in later {
        let found = found.await.expect("no panic");
        assert_eq!((found.text(), found.origin, found.fill), (Some("two"), Origin::Postgres, Some(FillOutcome::Closed)));
    }
    assert_eq!(slow.postgres.loads(), 2);
}

#[tokio::test]
async fn who_comes_while_a_reading_is_under_way_is_not_given_what_it_read() {
    let (rig, slow) = (Rig::open().await, Slow::with("old"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let first = slow.read(&cache, &k);
    slow.has_begun(1).await;
    rig.change_key(250, &k).await;
    slow.postgres.set(Some("new"));
    slow.postgres.prove("251:251:", Some(super::rig::SOURCE));
    // Its read began after the change was applied.
    let second = slow.read(&cache, &k);
    slow.let_end(2);
    let (first, second) = (first.await.expect("no panic"), second.await.expect("no panic"));
    assert_eq!((first.text(), first.fill), (Some("old"), Some(FillOutcome::Old)));
    assert_eq!((second.text(), second.fill), (Some("new"), Some(FillOutcome::Filled)));
}

#[tokio::test]
async fn the_next_flight_finds_in_redis_what_the_first_one_filled() {
    let (rig, slow) = (Rig::open().await, Slow::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let first = slow.read(&cache, &k);
    slow.has_begun(1).await;
    let later: Vec<_> = (0..10).map(|_| slow.read(&cache, &k)).collect();
    slow.let_end(1);
    assert_eq!(first.await.expect("no panic").fill, Some(FillOutcome::Filled));
    for found in later {
        assert_hit(&found.await.expect("no panic"), Some("one"));
    }
    assert_eq!(slow.postgres.loads(), 1);
}

#[tokio::test]
async fn a_reader_that_goes_away_strands_nobody() {
    let (rig, slow) = (Rig::closed(1).await, Slow::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let first = slow.read(&cache, &k);
    slow.has_begun(1).await;
    let later: Vec<_> = (0..3).map(|_| slow.read(&cache, &k)).collect();
    // Whoever leads goes away in the middle of its load, until one is left.
    first.abort();
    for (begun, _) in later.iter().enumerate().skip(1) {
        slow.has_begun(begun + 1).await;
        leader(&later, &slow).abort();
    }
    slow.has_begun(4).await;
    slow.let_end(1);
    let mut served = 0;
    for found in later {
        match found.await {
            Ok(found) => {
                assert_eq!(found.text(), Some("one"));
                served += 1;
            }
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
    assert_eq!(served, 1);
}

#[tokio::test]
async fn a_reader_with_a_token_goes_alone() {
    let (rig, slow) = (Rig::closed(1).await, Slow::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let first = slow.read(&cache, &k);
    slow.has_begun(1).await;
    let own = slow.read_with(&cache, &k, token(90));
    slow.has_begun(2).await;
    slow.let_end(2);
    first.await.expect("no panic");
    assert_eq!(own.await.expect("no panic").text(), Some("one"));
}

#[tokio::test]
async fn when_a_load_fails_those_who_waited_for_it_load_for_themselves() {
    let (rig, postgres) = (Rig::closed(1).await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let fails = Arc::new(Semaphore::new(0));
    let fail = async |cache: Cache| {
        let load = async || {
            fails.acquire().await.expect("never closed").forget();
            Err::<freshline::cache::Loaded<Option<Bytes>>, _>("no connection")
        };
        cache.get(&k, &Want::default(), load).await
    };
    let (first, second) = (fail(cache.clone()), fail(cache.clone()));
    let third = read_with(&cache, &k, &Want::default(), &postgres);
    fails.add_permits(2);
    let (first, second, third) = tokio::join!(first, second, third);
    assert!(first.is_err() && second.is_err());
    assert_eq!(third.text(), Some("one"));
}
