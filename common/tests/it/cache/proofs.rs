//! What bounds the age of a value, and what a token asks of it.

use std::time::Duration;

use freshline::{
    cache::{FillOutcome, Origin, Want},
    coherence::{Entry, EntryId, Lsn, Proof, ProvenBy, RedisTime, Refusal, Source},
};
use rstest::rstest;

use super::rig::{Postgres, Rig, SOURCE, Told, assert_hit, key, lsn, read, read_with, settings, snapshot, token};

/// Puts an entry of the one stripe's generation under `rows:1`, with the value "old".
async fn plant(rig: &Rig, proof: Proof, read_at: Option<RedisTime>) {
    let body = Some(bytes::Bytes::from_static(b"old"));
    let generation = rig.generation(rig.stripes.of("")).await.expect("open");
    let etag = freshline::coherence::ETag::of(b"old");
    let entry = Entry { id: EntryId::random(), generation, proof, read_at, tags: Vec::new(), etag, body };
    rig.put(&rig.stripes.value(&key("rows:1")), &entry.encode().expect("few tags")).await;
}

async fn redis_now(rig: &Rig, ahead: i64) -> RedisTime {
    let now = rig.applier().await.now().as_micros();
    RedisTime::from_micros(now.checked_add_signed(ahead * 1_000_000).expect("a time"))
}

const MINUTE: i64 = 60;

#[rstest]
#[case::read_a_moment_ago(Some(-1), None, Some(ProvenBy::ReadTime))]
#[case::read_too_long_ago(Some(-11 * MINUTE), None, None)]
#[case::never_young(None, None, None)]
#[case::the_stream_is_up_to_date(None, Some(-1), Some(ProvenBy::Stream))]
#[case::the_stream_proves_an_old_reading(Some(-11 * MINUTE), Some(-1), Some(ProvenBy::Stream))]
#[case::the_stream_is_behind(None, Some(-11 * MINUTE), None)]
#[case::the_younger_of_both_counts(Some(-9 * MINUTE), Some(-MINUTE), Some(ProvenBy::Stream))]
#[case::both_are_too_old(Some(-11 * MINUTE), Some(-12 * MINUTE), None)]
#[tokio::test]
async fn a_value_is_served_while_somebody_can_say_that_it_was_true(
    #[case] read_at: Option<i64>,
    #[case] at: Option<i64>,
    #[case] proven_by: Option<ProvenBy>,
) {
    let (rig, postgres) = (Rig::open().await, Postgres::with("new"));
    assert_eq!(settings().max_staleness, Duration::from_secs(600));
    let read_at = match read_at {
        Some(ahead) => Some(redis_now(&rig, ahead).await),
        None => None,
    };
    plant(&rig, Proof::Snapshot(snapshot("100:100:")), read_at).await;
    if let Some(ahead) = at {
        rig.publish("100:100:", 100, Some(redis_now(&rig, ahead).await)).await;
    }
    let found = read_with(&rig.cache(), &key("rows:1"), &Want { explain: true, ..Want::default() }, &postgres).await;
    let rule = found.explanation.as_ref().expect("asked for").rule;
    match proven_by {
        Some(by) => {
            assert_hit(&found, Some("old"));
            assert_eq!(rule, if by == ProvenBy::Stream { "stream" } else { "read-time" });
        }
        None => {
            assert_eq!((found.origin, found.refusal), (Origin::Postgres, Some(Refusal::Unproven)));
            assert_eq!((rule, found.fill), ("unproven", Some(FillOutcome::Filled)));
            assert_hit(&read(&rig.cache(), &key("rows:1"), &postgres).await, Some("new"));
        }
    }
}

#[tokio::test]
async fn a_reader_may_ask_for_a_tighter_bound_and_not_for_a_looser_one() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("new"));
    let want = |seconds| Want { max_staleness: Some(Duration::from_secs(seconds)), ..Want::default() };
    let (cache, k) = (rig.cache(), key("rows:1"));
    plant(&rig, Proof::Snapshot(snapshot("100:100:")), Some(redis_now(&rig, -20).await)).await;
    let found = read_with(&cache, &k, &want(60), &postgres).await;
    assert_hit(&found, Some("old"));
    assert!(found.age >= Duration::from_secs(20) && found.age < Duration::from_secs(60), "{:?}", found.age);
    assert_eq!(read_with(&cache, &k, &want(10), &postgres).await.refusal, Some(Refusal::Unproven));
    plant(&rig, Proof::Snapshot(snapshot("100:100:")), Some(redis_now(&rig, -11 * MINUTE).await)).await;
    assert_eq!(read_with(&cache, &k, &want(3600), &postgres).await.refusal, Some(Refusal::Unproven));
}

/// The stream has come to 100.
#[rstest]
#[case::its_snapshot_sees_the_write(Proof::Snapshot(snapshot("121:121:")), 120, SOURCE, true)]
#[case::its_snapshot_does_not(Proof::Snapshot(snapshot("110:130:120")), 120, SOURCE, false)]
#[case::its_position_is_past_the_write(Proof::Lsn(lsn(120)), 120, SOURCE, true)]
#[case::its_position_is_before_it(Proof::Lsn(lsn(119)), 120, SOURCE, false)]
#[case::the_stream_has_passed_the_write(Proof::Lsn(Lsn::ZERO), 100, SOURCE, true)]
#[case::the_stream_has_not(Proof::Lsn(Lsn::ZERO), 101, SOURCE, false)]
#[case::the_write_is_of_another_history(Proof::Snapshot(snapshot("121:121:")), 90, Source { started_us: 2, ..SOURCE }, false)]
#[tokio::test]
async fn a_token_is_served_what_includes_its_write(
    #[case] proof: Proof,
    #[case] write: u64,
    #[case] source: Source,
    #[case] is_own: bool,
) {
    let (rig, postgres) = (Rig::open().await, Postgres::with("new"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    plant(&rig, proof, Some(redis_now(&rig, 0).await)).await;
    let mut want = token(write);
    want.token.as_mut().expect("a token").source = source;
    let found = read_with(&cache, &k, &want, &postgres).await;
    if is_own {
        assert_hit(&found, Some("old"));
    } else {
        assert_eq!((found.text(), found.refusal), (Some("new"), Some(Refusal::NotOwn)));
        // What could not be served to it is replaced, for others to find.
        assert_eq!(found.fill, Some(FillOutcome::Filled));
        assert_hit(&read(&cache, &k, &postgres).await, Some("new"));
    }
}

#[tokio::test]
async fn what_was_not_read_on_the_primary_is_returned_and_not_filled() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    postgres.prove("200:200:", None);
    let found = read(&cache, &k, &postgres).await;
    assert_eq!((found.text(), found.fill), (Some("one"), Some(FillOutcome::NoSource)));
    // The lease was given back: whoever comes next need not wait for it.
    postgres.prove("200:200:", Some(SOURCE));
    assert_eq!(read(&cache, &k, &postgres).await.fill, Some(FillOutcome::Filled));
}

#[tokio::test]
async fn what_was_read_in_another_history_is_returned_and_not_filled() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    postgres.prove("200:200:", Some(Source { timeline: 2, ..SOURCE }));
    assert_eq!(read(&rig.cache(), &key("rows:1"), &postgres).await.fill, Some(FillOutcome::Closed));
}
