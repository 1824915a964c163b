//! Many values at once, and warming.

use bytes::Bytes;
use freshline::{
    cache::{Cache, FillOutcome, Found, Origin, Want, Warmed},
    coherence::{CacheKey, Refusal},
};
use rstest::rstest;

use super::rig::{Postgres, Rig, SOURCE, Told, assert_hit, key, read, unfailing};

fn keys(count: usize) -> Vec<CacheKey> {
    (0..count).map(|at| key(&format!("rows:{at}"))).collect()
}

async fn read_many(cache: &Cache, keys: &[CacheKey], postgres: &Postgres) -> Vec<Found<Bytes>> {
    unfailing(cache.get_many(keys, &Want::default(), |at| postgres.load_many(at)).await)
}

#[rstest]
#[case::one_stripe(1)]
#[case::sixteen_stripes(16)]
#[tokio::test]
async fn a_mixture_is_answered_in_the_order_of_its_keys(#[case] stripes: u16) {
    let (rig, postgres) = (Rig::closed(stripes).await, Postgres::with("v"));
    rig.open_all().await;
    let (cache, keys) = (rig.cache(), keys(6));
    // 1 and 3 are there, 4 is garbage, 5 is leased to another process; 0 and 2 are missing.
    let there = [keys[1].clone(), keys[3].clone()];
    unfailing(cache.get_many(&there, &Want::default(), |_| postgres.load_many(vec![1, 3])).await);
    rig.put(&rig.stripes.value(&keys[4]), b"garbage").await;
    rig.lease_to_another(&keys[5]).await;
    let found = read_many(&cache, &keys, &postgres).await;
    let texts: Vec<_> = found.iter().map(Told::text).collect();
    assert_eq!(texts, [Some("v0"), Some("v1"), Some("v2"), Some("v3"), Some("v4"), Some("v5")]);
    let refusals: Vec<_> = found.iter().map(|found| found.refusal).collect();
    let (missing, garbled) = (Some(Refusal::Missing), Some(Refusal::Garbled));
    assert_eq!(refusals, [missing, None, missing, None, garbled, missing]);
    let fills: Vec<_> = found.iter().map(|found| found.fill).collect();
    let (filled, busy) = (Some(FillOutcome::Filled), Some(FillOutcome::Busy));
    assert_eq!(fills, [filled, None, filled, None, filled, busy]);
    // One statement for all of them, whoever has the lease.
    assert_eq!(postgres.loads(), 2);
    for (at, found) in read_many(&cache, &keys[..5], &postgres).await.iter().enumerate() {
        assert_hit(found, Some(&format!("v{at}")));
    }
}

#[tokio::test]
async fn more_keys_than_one_command_takes_are_read_whole() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("v"));
    let (cache, keys) = (rig.cache(), keys(777));
    for expected in [Origin::Postgres, Origin::Redis] {
        for (at, found) in read_many(&cache, &keys, &postgres).await.iter().enumerate() {
            assert_eq!((found.text(), found.origin), (Some(format!("v{at}").as_str()), expected));
        }
    }
    assert_eq!(postgres.loads(), 1);
}

#[tokio::test]
async fn no_keys_are_answered_with_nothing() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("v"));
    assert!(read_many(&rig.cache(), &[], &postgres).await.is_empty());
    assert!(unfailing(rig.cache().warm(&[], |at| postgres.load_many(at)).await).is_empty());
    assert_eq!(postgres.loads(), 0);
}

#[tokio::test]
async fn a_key_that_is_named_twice_is_answered_twice() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("v"));
    let twice = [key("rows:1"), key("rows:1")];
    let found = read_many(&rig.cache(), &twice, &postgres).await;
    assert_eq!(found.len(), 2);
    assert_eq!(postgres.loads(), 1);
}

#[tokio::test]
async fn many_readers_of_the_same_missing_keys_share_their_statements() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("v"));
    let (cache, keys) = (rig.cache(), keys(20));
    let readers = (0..100).map(|_| read_many(&cache, &keys, &postgres));
    for found in futures::future::join_all(readers).await {
        assert_eq!(found[19].text(), Some("v19"));
    }
    assert_eq!(postgres.loads(), 1);
}

#[tokio::test]
async fn warming_fills_what_is_missing_and_leaves_what_is_there() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("v"));
    let (cache, keys) = (rig.cache(), keys(250));
    read(&cache, &keys[7], &postgres).await;
    rig.lease_to_another(&keys[8]).await;
    let warmed = unfailing(cache.warm(&keys, |at| postgres.load_many(at)).await);
    for (at, outcome) in warmed.iter().enumerate() {
        let expected = match at {
            7 => Warmed::AlreadyThere,
            8 => Warmed::Refused(FillOutcome::Busy),
            _ => Warmed::Filled,
        };
        assert_eq!(*outcome, expected, "{at}");
    }
    assert_hit(&read(&cache, &keys[7], &postgres).await, Some("v"));
    assert_hit(&read(&cache, &keys[249], &postgres).await, Some("v249"));
}

#[tokio::test]
async fn warming_never_overwrites_a_newer_value() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("old"));
    let (cache, keys) = (rig.cache(), keys(2));
    let newer = Postgres::with("new");
    newer.prove("251:251:", Some(SOURCE));
    let warmed = cache.warm(&keys, async |at| {
        let loaded = postgres.load_many(at).await;
        // While it reads, one key changes, and a reader that has seen the change fills it.
        rig.change_key(250, &keys[0]).await;
        rig.redis.run::<()>(&["DEL", &rig.stripes.lease(&keys[0])]).await.expect("run out");
        assert_eq!(read(&cache, &keys[0], &newer).await.fill, Some(FillOutcome::Filled));
        loaded
    });
    assert_eq!(unfailing(warmed.await), [Warmed::Refused(FillOutcome::Lost), Warmed::Filled]);
    assert_hit(&read(&cache, &keys[0], &postgres).await, Some("new"));
}

#[tokio::test]
async fn warming_lets_nothing_in_that_misses_a_change() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("old"));
    let (cache, keys) = (rig.cache(), keys(2));
    rig.change_key(250, &keys[0]).await;
    let warmed = unfailing(cache.warm(&keys, |at| postgres.load_many(at)).await);
    assert_eq!(warmed, [Warmed::Refused(FillOutcome::Old), Warmed::Filled]);
}

#[tokio::test]
async fn warming_a_closed_cache_reads_nothing() {
    let (rig, postgres) = (Rig::closed(1).await, Postgres::with("v"));
    let warmed = unfailing(rig.cache().warm(&keys(2), |at| postgres.load_many(at)).await);
    assert_eq!(warmed, [Warmed::Refused(FillOutcome::Closed); 2]);
    assert_eq!(postgres.loads(), 0);
}
