//! A slot that holds back too much is warned of, and dropped where that is asked for; the cache comes back by itself.

use stage::{Login, Process, Source, Stage};

use crate::house::{House, launch};

/// Writes so many bytes of log that nobody caches.
async fn write_log(stage: &Stage, bytes: u32) {
    stage
        .sql(&format!(
            "select count(pg_logical_emit_message(true, 'ballast', repeat('x', 100000))) from generate_series(1, {})",
            bytes / 100_000
        ))
        .await;
}

#[tokio::test]
async fn what_the_slot_holds_back_is_told_and_beyond_the_limit_the_slot_is_dropped_and_the_cache_comes_back() {
    let mut house = House::own(Source::Postgres).await;
    house.invalidator.stop(stage::WAIT_MAX).await.expect("it ends");
    let limits = [("FRESHLINE_SLOT_WARN_BYTES", "1048576"), ("FRESHLINE_SLOT_DROP_BYTES", "33554432")];
    house.invalidator = Process::start(launch(&house.stage).variables(limits)).expect("it starts");
    house.invalidator.line("the change stream begins").await;
    house.drained().await;
    let before = house.opened().await;

    // Nothing can be applied, so that nothing is acknowledged.
    house.stage.redis().pause().await.expect("paused");
    house.stage.sql("update products set price = price + 1").await;
    write_log(&house.stage, 40_000_000).await;
    house.invalidator.line("for this warning").await;
    house.invalidator.line("it was dropped on purpose").await;
    write_log(&house.stage, 1_000_000).await;
    let retained = format!(
        "select coalesce(max(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), restart_lsn)), 0)::int8 from pg_replication_slots where slot_name = '{}'",
        house.stage.name()
    );
    house.stage.until("the log is free", async || house.stage.value::<i64>(&retained).await < 33_554_432).await;

    house.stage.redis().resume().await.expect("resumed");
    house.drained().await;
    let after = house.opened().await;
    assert_ne!(after.generation, before.generation, "what was cached before may lack what the slot no longer has");
}

#[tokio::test]
async fn without_a_limit_the_slot_is_warned_of_and_kept() {
    let stage = Stage::own().await;
    let invalidator = stage.launch("freshline-invalidator", Login::Invalidator);
    let mut invalidator = Process::start(
        invalidator.variables([("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0"), ("FRESHLINE_SLOT_WARN_BYTES", "1048576")]),
    )
    .expect("it starts");
    invalidator.line("the cache is open").await;
    stage.redis().pause().await.expect("paused");
    stage.sql("insert into products (sku, name, category, price) values ('A', 'a', 'c', 1)").await;
    write_log(&stage, 40_000_000).await;
    invalidator.line("for this warning").await;
    stage.redis().resume().await.expect("resumed");
    // Held back for as long as it could not be applied, and no longer: nothing was dropped.
    stage
        .until("the slot has moved on", async || {
            stage.sql("checkpoint").await; // after which the slot may move
            invalidator.lines().iter().any(|line| line.contains("below the limit of"))
        })
        .await;
    assert!(!invalidator.lines().iter().any(|line| line.contains("dropped on purpose")), "{}", invalidator.tail());
}
