//! A pure model of the state behind the scripts, written from protocol.md and not from the scripts; generated histories run against
//! both, and must agree: in what is answered, and in all that lies in Redis.
//!
//! - [`compare`], [`state`], [`operations`] are the model, by the sections of protocol.md;
//! - [`call`], [`intent`], [`universe`] make histories; [`live`], [`garbage`], [`dump`] play them on a real Redis; [`agree`] does both;
//! - [`redis_faults`] does what only a real server can: restart from its file, run full;
//! - [`serve`] holds the rule for serving against its text;
//! - [`cuts`] shows that the histories would notice if a rule were missing.

mod agree;
mod call;
mod compare;
mod cuts;
mod dump;
mod garbage;
mod intent;
mod live;
mod operations;
mod redis_faults;
mod serve;
mod state;
mod universe;

use std::{cell::RefCell, time::Duration};

use freshline::coherence::Link;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use stage::{
    Login,
    servers::{Home, Redis, RedisOptions},
};

/// How many histories one run plays, and how long each may be.
const HISTORIES: u32 = 300;
const STEPS: usize = 60;

/// Far beyond what any answer takes, so that giving up means a fault.
const ANSWER_MAX: Duration = Duration::from_secs(30);

async fn redis() -> Redis {
    Redis::start(Home::scratch().expect("a directory"), RedisOptions::default()).await.expect("Redis starts")
}

async fn link(url: &str) -> Link {
    Link::connect(&redis::Client::open(url).expect("a URL"), ANSWER_MAX).await.expect("a link")
}

/// A runner whose seed is told, so that `PROPTEST_RNG_SEED` can bring its histories back.
fn runner(cases: u32, file: &'static str) -> TestRunner {
    let mut config = Config { cases, source_file: Some(file), ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(uuid::Uuid::new_v4().as_u64_pair().0);
    }
    println!("histories of seed {:?}", config.rng_seed);
    TestRunner::new(config)
}

#[test]
fn the_scripts_do_what_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let redis = runtime.block_on(redis());
    let link = runtime.block_on(link(&redis.url(Login::Superuser)));
    let seen = RefCell::new(agree::Seen::new());
    let outcome = runner(HISTORIES, file!()).run(&intent::histories(STEPS), |history| {
        let played = runtime.block_on(agree::play(&link, &history, &mut seen.borrow_mut()));
        played.map_err(|disagreement| TestCaseError::fail(disagreement.to_string()))
    });
    if let Err(disagreement) = outcome {
        panic!("{disagreement}");
    }
    let seen = seen.into_inner();
    println!("{seen:#?}");
    let missed: Vec<_> = call::Reply::OUTCOMES.iter().filter(|outcome| !seen.contains_key(*outcome)).collect();
    assert!(missed.is_empty(), "no history brought about {missed:?}, only {seen:#?}");
}
