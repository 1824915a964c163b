//! Memory does not grow with a transaction, nor is a large row too large.

use freshline::change::{Datum, Event};
use stage::Stage;
use tokio::sync::Mutex;

use super::{follow, rows};

/// These tests look at the memory of the whole process, so they come one after the other.
static MEMORY: Mutex<()> = Mutex::const_new(());

/// The process's resident memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_passes_through_in_little_memory() {
    let _alone = MEMORY.lock().await;
    let t = Stage::new().await;
    t.sql("create table many (id int primary key, body text); alter table many replica identity full").await;
    let mut stream = follow(&t).await;
    t.sql("insert into many select g, repeat('x', 1000) from generate_series(1, 200000) g").await;
    let before = resident();
    let (mut count, mut peak) = (0_u32, 0);
    loop {
        let events = stream.batch().await.expect("events");
        count += events.iter().map(|event| u32::from(matches!(event, Event::Row(_)))).sum::<u32>();
        peak = peak.max(resident().saturating_sub(before));
        if events.iter().any(|event| matches!(event, Event::Commit { .. })) {
            break;
        }
    }
    assert_eq!(count, 200_000);
    assert!(peak < 40 << 20, "{} MB more for 200 MB of rows", peak >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_stalls_holds_back_the_server_not_the_rows() {
    let _alone = MEMORY.lock().await;
    let t = Stage::new().await;
    t.sql("create table stalled (body text)").await;
    let mut stream = follow(&t).await;
    let before = resident();
    t.sql("insert into stalled select repeat('x', 1000000) from generate_series(1, 100) g").await;
    // Nobody takes anything, until the walsender can't send any more.
    let stuck = "select wait_event is not distinct from 'WalSenderWriteData' from pg_stat_activity a
                 join pg_replication_slots s on s.active_pid = a.pid where s.database = current_database()";
    stage::until("the walsender waits for us", async || t.value::<bool>(stuck).await).await;
    let held = resident().saturating_sub(before);
    assert!(held < 40 << 20, "{} MB held of 100 MB of rows", held >> 20);
    assert_eq!(stream.rows(&t).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_ten_megabytes_arrives_whole() {
    let _alone = MEMORY.lock().await;
    let t = Stage::new().await;
    t.sql("create table large (id int primary key, body text); alter table large replica identity full").await;
    let mut stream = follow(&t).await;
    t.sql("insert into large values (1, repeat('ü', 5000000))").await;
    t.sql("update large set body = body || '!'").await;
    let changes = rows(stream.seen(&t).await);
    let (before, after) = (changes[1].before.as_ref().expect("before"), changes[1].after.as_ref().expect("after"));
    let len = |datum| if let Some(Datum::Text(text)) = datum { str::len(text) } else { 0 };
    assert_eq!((len(before.get(1)), len(after.get(1))), (10_000_000, 10_000_001));
}
