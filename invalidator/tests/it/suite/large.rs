//! One transaction of very many rows.

use std::time::{Duration, Instant};

use stage::Source;
use uuid::Uuid;

use crate::{reader::Watched, shelf::Shelf};

/// A build without optimization on a busy machine: far longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// The variable that makes it another number of rows: a million is a matter of a minute or more through a broker.
const ROWS_VARIABLE: &str = "FRESHLINE_TEST_LARGE_ROWS";

stage::over_sources! { [postgres: Postgres, nats: Nats, kafka_relay: KafkaRelay, kafka: Kafka, kafka_partitions: KafkaPartitions] [
    a_large_transaction_is_applied_in_bounded_memory,
] }

/// How many rows each source is given in a run of all tests: what takes it less than half a minute here.
fn rows(source: Source) -> u32 {
    let asked = std::env::var(ROWS_VARIABLE).ok().map(|text| text.parse().expect("a number of rows"));
    asked.unwrap_or(match source {
        Source::Postgres => 1_000_000,
        Source::Nats | Source::KafkaRelay => 100_000,
        Source::Kafka => 50_000,
        Source::KafkaRelayPartitions | Source::KafkaPartitions | Source::KafkaTables => 20_000,
    })
}

/// The most memory that the invalidator has taken, in kB.
fn peak_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn a_large_transaction_is_applied_in_bounded_memory(source: Source) {
    let (mut shelf, rows) = (Shelf::new(source).await, rows(source));
    let bulk = format!("select 'bulk-' || n, 'bulk ' || n, 'bulk', 1 from generate_series(1, {rows}) n");
    for (what, sql) in [
        ("inserted", format!("insert into products (sku, name, category, price) {bulk}")),
        // Each of these is in the stream as it was, and as it is.
        ("updated", "update products set price = price + 1 where split_part(sku, '-', 2)::int % 4 = 0".to_owned()),
    ] {
        shelf.house.stage.sql(&sql).await;
        let begun = Instant::now();
        shelf.house.drained_within(PATIENCE).await;
        println!(
            "{rows} rows {what}: applied {:?} after the commit, peak {} kB",
            begun.elapsed(),
            peak_kb(shelf.house.invalidator.pid())
        );
        shelf.assert_kept().await;
        let middle: Uuid = shelf.house.stage.value(&format!("select id from products where sku = 'bulk-{}'", rows / 2)).await;
        shelf.watch(Watched::Row(middle)).await;
    }
    // A million rows are some 700 MB in the stream. That a release build stays below 64 MB is measured by `cargo xtask bench memory`.
    let peak_kb = peak_kb(shelf.house.invalidator.pid());
    assert!(peak_kb <= 128 * 1024, "the invalidator took {peak_kb} kB over {rows} rows");
}
