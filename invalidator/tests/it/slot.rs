//! A slot that holds back too much is told and warned of, and dropped where that is asked for; one that lost its place is made anew.
//! Either way the cache comes back by itself, under another generation. The same for the relay's slot.

use stage::{Login, Process, Source, Stage};

use crate::house::{House, gauge, launch};

/// What is warned of, and what is dropped.
const LIMITS: [(&str, &str); 2] = [("FRESHLINE_SLOT_WARN_BYTES", "1048576"), ("FRESHLINE_SLOT_DROP_BYTES", "33554432")];

/// Writes so many bytes of log that nobody caches.
async fn write_log(stage: &Stage, bytes: u32) {
    stage
        .sql(&format!(
            "select count(pg_logical_emit_message(true, 'ballast', repeat('x', 100000))) from generate_series(1, {})",
            bytes / 100_000
        ))
        .await;
}

/// Writes until this slot, which nobody reads, has lost its place.
async fn lose(stage: &Stage, slot: &str) {
    stage.postgres().set("max_slot_wal_keep_size", "1").await.expect("a limit, in MB");
    let is_lost = format!("select coalesce(max(wal_status), '') = 'lost' from pg_replication_slots where slot_name = '{slot}'");
    stage
        .until("the slot is lost", async || {
            stage.sql("select pg_logical_emit_message(false, '', repeat('x', 2000000)); select pg_switch_wal()").await;
            stage.sql("checkpoint").await;
            stage.value::<bool>(&is_lost).await
        })
        .await;
    stage.postgres().set("max_slot_wal_keep_size", "-1").await.expect("no limit");
}

/// Waits until the cache is open under another generation, and a change comes through.
async fn opened_anew(house: &House, before: freshline::coherence::Generation) {
    house.reopened(before).await;
    house.stage.sql("update products set price = price + 1").await;
    house.drained().await;
}

#[tokio::test]
async fn what_the_slot_holds_back_is_told_and_beyond_the_limit_the_slot_is_dropped_and_the_cache_comes_back() {
    let mut house = House::own(Source::Postgres).await;
    house.invalidator.stop(stage::WAIT_MAX).await.expect("it ends");
    house.invalidator = Process::start(launch(&house.stage).variables(LIMITS)).expect("it starts");
    house.invalidator.line("the change stream begins").await;
    house.drained().await;
    let before = house.opened().await;

    // Nothing can be applied, so that nothing is acknowledged.
    house.stage.redis().pause().await.expect("paused");
    house.stage.sql("update products set price = price + 1").await;
    write_log(&house.stage, 40_000_000).await;
    house.invalidator.line("for this warning").await;
    house.invalidator.line("it was dropped on purpose").await;
    assert!(gauge(&house.invalidator, "freshline_slot_retained_bytes").await >= 33_554_432.0);
    assert!(gauge(&house.invalidator, "freshline_slot_unacknowledged_bytes").await >= 33_554_432.0);
    assert!(gauge(&house.invalidator, "freshline_slots_dropped_total").await >= 1.0);
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

#[tokio::test]
async fn a_slot_that_lost_its_place_is_made_anew() {
    let mut house = House::own(Source::Postgres).await;
    let before = house.opened().await.generation;
    house.invalidator.kill().await.expect("it is killed");
    lose(&house.stage, house.stage.name()).await;
    house.invalidator.restart().await.expect("it starts again");
    opened_anew(&house, before).await;
}

/// A house whose changes come through a relay that has these limits.
async fn relayed() -> (House, Process) {
    let mut house = House::own(Source::Nats).await;
    let server = house.feed.nats().expect("a house with NATS").server();
    let relay = house.relayed_by(&server, &LIMITS).await;
    (house, relay)
}

#[tokio::test]
async fn the_slot_of_a_relay_whose_nats_hangs_is_dropped_at_its_limit_and_the_cache_comes_back() {
    let (house, mut relay) = relayed().await;
    let nats = house.feed.nats().expect("a house with NATS");
    let before = house.opened().await.generation;
    nats.pause().await.expect("paused");
    house.stage.sql("insert into products (sku, name, category, price) values ('A', 'a', 'c', 1)").await;
    write_log(&house.stage, 40_000_000).await;
    relay.line("for this warning").await;
    relay.line("it was dropped on purpose").await;
    assert!(gauge(&relay, "freshline_slot_retained_bytes").await >= 33_554_432.0);
    nats.resume().await.expect("resumed");
    opened_anew(&house, before).await;
}

#[tokio::test]
async fn the_slot_of_a_relay_that_lost_its_place_is_made_anew_and_nats_is_told_of_the_hole() {
    let (house, mut relay) = relayed().await;
    let before = house.opened().await.generation;
    relay.kill().await.expect("it is killed");
    lose(&house.stage, house.feed.slot()).await;
    relay.restart().await.expect("it starts again");
    opened_anew(&house, before).await;
}
