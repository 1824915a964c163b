//! A pure model of the state behind the scripts, written from protocol.md and not from the scripts; generated histories run against
//! both, and must agree after each step: in what is answered, and in all that lies in Redis.
//!
//! - [`compare`], [`state`], [`operations`] are the model, by the sections of protocol.md;
//! - [`call`], [`intent`], [`universe`] make histories; [`live`], [`garbage`], [`dump`], [`server`] play them on a real Redis;
//! - [`agree`] does both.

mod agree;
mod call;
mod compare;
mod dump;
mod garbage;
mod intent;
mod live;
mod operations;
mod server;
mod state;
mod universe;

use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// How many histories one run plays, and how long each may be.
const HISTORIES: u32 = 300;
const STEPS: usize = 60;

#[test]
fn the_scripts_do_what_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = server::Server::start();
    let link = runtime.block_on(server.link());
    let (seen, played) = (std::cell::RefCell::new(agree::Seen::new()), std::cell::Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: HISTORIES, source_file: Some(file!()), ..Config::default() });
    let outcome = runner.run(&intent::histories(STEPS), |history| {
        played.set(played.get() + 1);
        let played = runtime.block_on(agree::play(&link, &format!("m{}", played.get()), &history, &mut seen.borrow_mut()));
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
