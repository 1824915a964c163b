//! Postgres killed with -9 under reads and writes: what every caller saw until it was back, and what became of each write.

use std::{
    collections::BTreeSet,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use stage::until;

use crate::{
    support::{Answer, Api},
    town::Town,
};

/// Those who write, each a product of its own; and those who read all of them.
const WRITERS: usize = 6;
const READERS: usize = 6;

/// How many requests of a kind have to be seen before the next thing happens.
const SOME: u64 = 40;

/// Patient, for on a busy machine a login takes its time; while Postgres is away, the breakers see to it that nobody waits.
const SETTINGS: [(&str, &str); 2] = [("FRESHLINE_API_SESSION_WAIT_MS", "5000"), ("FRESHLINE_API_STATEMENT_MS", "5000")];

/// What these come to: a place, a session, a statement; a write asks for its token as well.
const DEADLINE: Duration = Duration::from_secs(40);

/// What has been seen so far.
#[derive(Default)]
struct Seen {
    reads: AtomicU64,
    refused_reads: AtomicU64,
    writes: AtomicU64,
    refused_writes: AtomicU64,
    uncertain_writes: AtomicU64,
    is_over: AtomicBool,
}

/// What became of a write, as its caller was told.
enum Told {
    Done,
    /// It was not carried out.
    Refused,
    /// It may have been.
    Uncertain,
}

impl Seen {
    fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    /// Reads a product again and again. It is answered, or told when to come again.
    async fn read(&self, api: &Api, path: &str) {
        while !self.is_over() {
            let answer = in_time(api.get(path)).await;
            match answer.status {
                StatusCode::OK => self.reads.fetch_add(1, Relaxed),
                _ => {
                    assert!(is_refused(&answer), "{answer:?}");
                    self.refused_reads.fetch_add(1, Relaxed)
                }
            };
        }
    }

    /// Writes one quantity after the other to a product; those that it may have at the end.
    async fn write(&self, api: &Api, path: &str) -> BTreeSet<u64> {
        let mut possible = BTreeSet::from([0]);
        for quantity in 1.. {
            if self.is_over() {
                break;
            }
            match self.written(api, path, quantity).await {
                Told::Done => possible = BTreeSet::from([quantity]),
                Told::Refused => {}
                Told::Uncertain => {
                    possible.insert(quantity);
                }
            }
        }
        possible
    }

    async fn written(&self, api: &Api, path: &str, quantity: u64) -> Told {
        let json = format!(r#"{{"stock_quantity":{quantity}}}"#);
        let answer = in_time(api.send(Method::PATCH, path, &json)).await;
        if answer.status == StatusCode::OK {
            assert_eq!(answer.json()["stock_quantity"], quantity, "{answer:?}");
            self.writes.fetch_add(1, Relaxed);
            return Told::Done;
        }
        if is_refused(&answer) {
            self.refused_writes.fetch_add(1, Relaxed);
            return Told::Refused;
        }
        answer.problem(503, "write-uncertain");
        self.uncertain_writes.fetch_add(1, Relaxed);
        Told::Uncertain
    }

    async fn more(&self, what: &str, count: &AtomicU64) {
        let enough = count.load(Relaxed) + SOME;
        until(what, async || count.load(Relaxed) >= enough).await;
    }
}

async fn in_time(answering: impl Future<Output = Answer>) -> Answer {
    let begun = Instant::now();
    let answer = answering.await;
    assert!(begun.elapsed() < DEADLINE, "{:?}: {answer:?}", begun.elapsed());
    answer
}

/// Whether nothing was done, and the caller is told so, and when to come again.
fn is_refused(answer: &Answer) -> bool {
    let is_so = answer.status == StatusCode::SERVICE_UNAVAILABLE
        && ["database-unavailable", "overloaded"]
            .iter()
            .any(|name| answer.json()["type"] == format!("urn:problem-type:freshline:{name}"));
    assert!(!is_so || answer.header("retry-after") == "1", "{answer:?}");
    is_so
}

#[tokio::test]
async fn postgres_killed_under_reads_and_writes_breaks_no_request_and_no_word_that_was_given() {
    let town = Town::own_with(&SETTINGS).await;
    let insert =
        "insert into products (sku, name, category, price) select 'sku-' || n, 'n', 'audio', 1 from generate_series(1, $1) n";
    let insert = format!("{} returning id::text", insert.replace("$1", &WRITERS.to_string()));
    let ids: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(insert)).fetch_all(town.stage.pool()).await.expect("made");
    let paths: Vec<String> = ids.iter().map(|id| format!("/products/{id}")).collect();
    town.drained().await;
    let before = town.opened().await.generation;
    let (seen, postgres) = (Seen::default(), town.stage.postgres());
    let replica = |n: usize| &town.replicas[n % town.replicas.len()];
    let writers = join_all((0..WRITERS).map(|n| seen.write(replica(n), &paths[n])));
    let readers = join_all((0..READERS).map(|n| seen.read(replica(n), &paths[n % paths.len()])));
    let killing = async {
        seen.more("some are read", &seen.reads).await;
        seen.more("some are written", &seen.writes).await;
        let children = postgres.kill().await.expect("killed");
        assert!(children >= WRITERS / 2, "sessions died with it: {children} processes");
        seen.more("writes are refused", &seen.refused_writes).await;
        seen.more("reads are refused, once the bound has passed", &seen.refused_reads).await;
        postgres.start_again().await.expect("started");
        seen.more("writes go on by themselves", &seen.writes).await;
        seen.more("reads go on by themselves", &seen.reads).await;
        seen.is_over.store(true, SeqCst);
    };
    let (possible, _, ()) = futures::join!(writers, readers, killing);
    for (path, possible) in paths.iter().zip(possible) {
        let quantity = town.fresh.get(path).await.json()["stock_quantity"].as_u64().expect("a quantity");
        assert!(possible.contains(&quantity), "{path} has {quantity}, and its writer was told of {possible:?}");
    }
    let uncertain = seen.uncertain_writes.into_inner();
    assert!(uncertain <= WRITERS as u64 * 2, "{uncertain} writes were left in doubt, and {WRITERS} were under way");
    until("the new history's generation", async || town.opened().await.generation != before).await;
    town.drained().await;
    town.assert_true(&paths).await;
}
