//! Readers of one process that miss the same key at the same time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use freshline::{
    cache::{Cache, CacheError, FillOutcome, Found, Loaded, Origin, Settings, Want},
    coherence::{CacheKey, Refusal},
};
use futures::future::join_all;
use stage::until;
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
};

use super::rig::{Postgres, Rig, Told, assert_a_stampede_loads_once, assert_hit, key, read, settings, token, unfailing};

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

/// A cache of a Redis that nobody opened, and that it knows to be closed: it does not ask again while the test lasts.
async fn closed(rig: &Rig) -> Cache {
    let cache = rig.cache_with(Settings { closed_pause: Duration::from_secs(600), ..settings() });
    read(&cache, &key("rows:0"), &Postgres::with("")).await;
    cache
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_of_one_missing_key_load_it_once() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let cache = rig.cache();
    assert_a_stampede_loads_once(&cache, &Want::default(), &postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_readers_who_each_go_alone_load_it_once_too() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let cache = rig.cache();
    assert_a_stampede_loads_once(&cache, &token(90), &postgres).await;
}

#[tokio::test]
async fn a_thousand_readers_of_a_closed_key_load_it_twice() {
    let (rig, slow) = (Rig::closed(1).await, Slow::with("one"));
    let (cache, k) = (closed(&rig).await, key("rows:1"));
    let first = slow.read(&cache, &k);
    slow.has_begun(1).await;
    // These come while the first reading is under way: they share the second one.
    slow.postgres.set(Some("two"));
    let later: Vec<_> = (0..999).map(|_| slow.read(&cache, &k)).collect();
    slow.let_end(1);
    assert_eq!(first.await.expect("no panic").text(), Some("one"));
    slow.has_begun(2).await;
    slow.let_end(1);
    for found in later {
        let found = found.await.expect("no panic");
        assert_eq!((found.text(), found.origin), (Some("two"), Origin::Postgres));
        assert_eq!((found.refusal, found.fill), (Some(Refusal::Closed), Some(FillOutcome::Closed)));
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
    let before = rig.calls("evalsha").await;
    let first = slow.read(&cache, &k);
    slow.has_begun(1).await;
    let looks = rig.calls("mget").await;
    let later: Vec<_> = (0..10).map(|_| slow.read(&cache, &k)).collect();
    until("they have looked", async || rig.calls("mget").await == looks + 10).await;
    // Their answers came before this one.
    rig.links.get().expect("a link").time().await.expect("an answer");
    slow.let_end(1);
    assert_eq!(first.await.expect("no panic").fill, Some(FillOutcome::Filled));
    for found in later {
        assert_hit(&found.await.expect("no panic"), Some("one"));
    }
    assert_eq!(slow.postgres.loads(), 1);
    // One look for all of them, beside the fill's own at its lease; and not even a lease was asked for.
    assert_eq!(rig.calls("mget").await, looks + 12);
    assert_eq!(rig.calls("evalsha").await, before + 2);
}

#[tokio::test]
async fn a_reader_that_goes_away_strands_nobody() {
    const READERS: usize = 4;
    let (rig, postgres) = (Rig::closed(1).await, Postgres::with("one"));
    let cache = closed(&rig).await;
    // Those who lead, in turn. None but the last is answered by Postgres.
    let (leads, leaders) = tokio::sync::watch::channel(Vec::new());
    let leads = Arc::new(leads);
    let mut readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (cache, postgres, leads) = (cache.clone(), postgres.clone(), leads.clone());
            let load = async move || {
                leads.send_modify(|leaders: &mut Vec<usize>| leaders.push(reader));
                if leads.borrow().len() < READERS {
                    std::future::pending::<()>().await;
                }
                postgres.load().await
            };
            Some(tokio::spawn(async move { unfailing(cache.get(&key("rows:1"), &Want::default(), load).await) }))
        })
        .collect();
    for turn in 0..READERS {
        until("somebody leads", async || leaders.borrow().len() > turn).await;
        let reader = readers[leaders.borrow()[turn]].take().expect("leads once");
        if turn + 1 < READERS {
            reader.abort();
        } else {
            assert_eq!(reader.await.expect("no panic").text(), Some("one"));
        }
    }
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
async fn when_a_load_fails_those_who_waited_for_it_have_errors_of_their_own() {
    let rig = Rig::closed(1).await;
    let (cache, go_on) = (closed(&rig).await, Notify::new());
    let fail = async |reader: usize| {
        let load = async || {
            if reader == 0 {
                go_on.notified().await;
            }
            Err::<Loaded<Option<Bytes>>, _>(reader)
        };
        cache.get(&key("rows:1"), &Want::default(), load).await
    };
    let (failed, ()) = tokio::join!(join_all((0..5).map(fail)), async { go_on.notify_one() });
    for (reader, failed) in failed.into_iter().enumerate() {
        assert!(matches!(failed, Err(CacheError::Load(error)) if error == reader), "{failed:?}");
    }
}

#[tokio::test]
async fn who_waited_for_a_place_in_vain_speaks_for_those_who_waited_for_it() {
    let (rig, slow) = (Rig::closed(1).await, Slow::with("one"));
    let narrow = Settings { loads_max: 1, load_wait: Duration::from_millis(20), ..settings() };
    let cache = rig.cache_with(narrow);
    let first = slow.read(&cache, &key("rows:1"));
    slow.has_begun(1).await;
    let (k, want) = (key("rows:2"), Want::default());
    let refused = (0..20).map(|_| cache.get(&k, &want, || slow.postgres.load()));
    for refused in join_all(refused).await {
        assert!(matches!(refused, Err(CacheError::Overloaded)), "{refused:?}");
    }
    slow.let_end(1);
    assert_eq!(first.await.expect("no panic").text(), Some("one"));
}
