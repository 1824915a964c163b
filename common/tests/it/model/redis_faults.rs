//! What only a real server can do: come back from an old file as another process, run out of memory, hold more than Lua unpacks.

use std::{collections::BTreeMap, time::Duration};

use freshline::coherence::{Link, LinkError, Scripts, Stripes};
use proptest::strategy::{Strategy, ValueTree};
use stage::{Login, servers::Redis};

use super::{
    agree::{Play, Seen},
    call::{Call, Reply},
    compare::{Proof, Snap},
    intent, link,
    live::Live,
    operations::{Change, FillOutcome, Leased, OpenOutcome, Opening, Touch},
    redis, runner,
    state::{Dep, Gen, Id, Key, Src, Tag, Token, Value, Version},
    universe::Universe,
};

/// How many histories are played over a restart; each costs one.
const RESTARTS: u32 = 8;

#[tokio::test]
async fn a_redis_that_comes_back_from_its_file_does_what_the_model_does() {
    let redis = redis().await;
    let url = redis.url(Login::Superuser);
    let file = redis.home().path().join("old.rdb");
    let (mut runner, mut seen) = (runner(RESTARTS, file!()), Seen::new());
    for _ in 0..RESTARTS {
        let history = intent::histories(60).new_tree(&mut runner).expect("a history").current();
        let universe = history.universe();
        let (before, after) = history.intents.split_at(history.intents.len() / 3);
        let mut play = Play::new(&universe);
        let first = link(&url).await;
        agreed(play.intents(&Live::new(&first, &universe), before, &mut seen).await);
        redis.save_to(&file).await.expect("a file");
        redis.restart_from(&file).await.expect("another process");
        let second = link(&url).await;
        assert_ne!(first.run(), second.run());
        play.state.restart();
        let live = Live::new(&second, &universe);
        agreed(play.look(&live).await);
        agreed(play.intents(&live, after, &mut Seen::new()).await);
        live.clear().await.expect("Redis removes keys");
    }
}

fn agreed<T>(outcome: Result<T, super::agree::Disagreement>) -> T {
    outcome.unwrap_or_else(|disagreement| panic!("{disagreement}"))
}

/// A universe of one stripe and small numbers.
fn plain() -> Universe {
    Universe { stripes: Stripes::new("model", 1).expect("a layout"), xid_base: 3, lsn_base: 1, at_base: 1 }
}

fn opening(fences: BTreeMap<Dep, std::collections::BTreeSet<u64>>) -> Call {
    let snap = Snap { xmin: 3, xmax: 3, xip: [].into() };
    Call::Open(0, Opening { expected: None, generation: Gen(1), source: Src(0), snap, hi: 1, pos: 1, fences })
}

const APPLIER: Option<Gen> = Some(Gen(1));
const KEY: Key = Key(0);

fn filling(token: u32, xmax: u64) -> Call {
    let proof = Proof::Snap(Snap { xmin: xmax, xmax, xip: [].into() });
    Call::Fill(0, Src(0), vec![(KEY, Token(token), Value { id: Id(token), generation: Gen(1), proof, read_at: 1 })])
}

#[tokio::test]
async fn fences_longer_than_lua_unpacks_are_leased_filled_and_settled() {
    const XIDS: u64 = 50_000;
    let redis = redis().await;
    let (link, universe) = (link(&redis.url(Login::Superuser)).await, plain());
    let (live, mut play) = (Live::new(&link, &universe), Play::new(&universe));
    let many = |from: u64| (from..from + XIDS).collect();
    let fences = [(Dep::All, many(3)), (Dep::Key(KEY), many(3 + XIDS)), (Dep::Tag(Tag(0)), many(3 + XIDS))].into();
    let seen_all = 3 + 2 * XIDS;
    let generation = Gen(1);
    let change = Change { generation: APPLIER, xid: seen_all, end: 2 };
    for call in [
        opening(fences),
        Call::Tag(0, vec![Tag(0)]),
        Call::Lease(0, vec![(KEY, None, Token(1))]),
        filling(1, seen_all - 1),
        Call::Lease(0, vec![(KEY, None, Token(2))]),
        filling(2, seen_all),
        Call::Apply(0, change, vec![Touch::Key(KEY, None), Touch::All]),
        Call::Publish(0, generation, Snap { xmin: XIDS, xmax: XIDS, xip: [].into() }, 2, None),
        Call::Settle(0, generation, vec![Dep::Key(KEY), Dep::Tag(Tag(0))]),
    ] {
        agreed(play.call(&live, call).await);
        agreed(play.look(&live).await);
    }
}

#[tokio::test]
async fn a_full_redis_takes_changes_and_no_fills() {
    let redis = redis().await;
    let (link, universe) = (link(&redis.url(Login::Superuser)).await, plain());
    let (live, mut play) = (Live::new(&link, &universe), Play::new(&universe));
    for call in [opening(BTreeMap::new()), Call::Tag(0, vec![Tag(0)]), Call::Lease(0, vec![(KEY, None, Token(1))]), filling(1, 3)] {
        agreed(play.call(&live, call).await);
    }
    let lease = Call::Lease(0, vec![(Key(1), None, Token(2))]);
    assert!(matches!(agreed(play.call(&live, lease).await), Reply::Leases(Ok(grant)) if grant.outcomes == [Leased::Granted]));
    set_memory(&redis, "1").await;

    for refused in [Call::Lease(0, vec![(Key(2), None, Token(3))]), Call::Tag(0, vec![Tag(1)])] {
        assert!(matches!(live.step(&refused).await, Err(LinkError::Refused(_))), "{refused:?} went through");
    }
    let generation = Gen(1);
    let change = Change { generation: APPLIER, xid: 3, end: 9 };
    let touched = vec![Touch::Key(KEY, None), Touch::Key(Key(1), None), Touch::Tag(Tag(0), Version([1; 16])), Touch::All];
    for call in [
        Call::Apply(0, change, touched),
        Call::Raise(0, generation, 10),
        Call::Publish(0, generation, Snap { xmin: 4, xmax: 4, xip: [].into() }, 9, Some(1)),
        Call::Settle(0, generation, vec![Dep::Key(KEY)]),
        Call::Bump(0, Gen(2), Change { end: 11, ..change }),
        Call::Unlink(0, vec![Key(2)], vec![]),
    ] {
        agreed(play.call(&live, call).await);
        agreed(play.look(&live).await);
    }
    let opening = Opening {
        expected: Some(Gen(2)),
        generation: Gen(3),
        source: Src(0),
        snap: Snap { xmin: 4, xmax: 4, xip: [].into() },
        hi: 11,
        pos: 11,
        fences: BTreeMap::new(),
    };
    assert_eq!(agreed(play.call(&live, Call::Open(0, opening)).await), Reply::Opened(OpenOutcome::Opened));
    set_memory(&redis, "0").await;
    // The lease of before the generations is told that it is void.
    assert_eq!(agreed(play.call(&live, other_key(filling(2, 9))).await), Reply::Fills(vec![FillOutcome::Closed]));
}

fn other_key(call: Call) -> Call {
    match call {
        Call::Fill(at, source, fillings) => {
            Call::Fill(at, source, fillings.into_iter().map(|(_, token, value)| (Key(1), token, value)).collect())
        }
        other => other,
    }
}

async fn set_memory(redis: &Redis, bytes: &str) {
    redis.run::<()>(&["CONFIG", "SET", "maxmemory", bytes]).await.expect("a setting");
}

#[tokio::test]
async fn a_tag_that_is_asked_for_again_outlives_the_pages_read_under_it() {
    let redis = redis().await;
    let (link, universe) = (link(&redis.url(Login::Superuser)).await, plain());
    agreed(Play::new(&universe).call(&Live::new(&link, &universe), opening(BTreeMap::new())).await);
    let first = left_after_asking_for(&link, &universe, Duration::from_secs(100)).await;
    let second = left_after_asking_for(&link, &universe, Duration::from_secs(1000)).await;
    assert!(first <= 100_000 && second > 900_000, "{first} and then {second} ms to live");
}

/// Asks for a tag, and then how many ms it lives.
async fn left_after_asking_for(link: &Link, universe: &Universe, ttl: Duration) -> u64 {
    let tag = Universe::tag_name(Tag(0));
    let stripe = universe.stripe_of_tag(Tag(0));
    let granted = Scripts::new(link, &universe.stripes).tag(stripe, &[&tag], ttl).await.expect("an answer");
    assert!(granted.is_ok(), "the stripe is open");
    link.call(redis::cmd("PTTL").arg(universe.stripes.tag(&tag))).await.expect("an answer")
}
