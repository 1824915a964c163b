//! Everything that can be lost where changes come from, each lost at the server: what had been cached is given up, and nothing that
//! was not delivered is missing from what is read then.

use stage::Source;

use crate::{hands, shelf::Shelf};

stage::over_sources! { [postgres: Postgres, nats: Nats, kafka_relay: KafkaRelay, kafka: Kafka, kafka_partitions: KafkaPartitions] [
    a_slot_that_was_dropped_is_a_hole,
] }

// Debezium 3.7 goes on after a slot that somebody moved and does not say so, under `offset.mismatch.strategy` trust_offset as well while
// its driver confirms positions, too (seen): whoever moves a slot has to clear the cache.
stage::over_sources! { [postgres_slot: Postgres, nats_slot: Nats, kafka_relay_slot: KafkaRelay] [
    a_slot_that_was_moved_on_is_a_hole,
] }

// What only a broker can lose.
stage::over_sources! { [nats_log: Nats, kafka_relay_log: KafkaRelay, kafka_log: Kafka, kafka_partitions_log: KafkaPartitions] [
    a_log_that_was_emptied_is_a_hole,
    a_log_that_was_emptied_while_it_is_read_leaves_nothing_stale,
    a_log_that_was_made_anew_is_a_hole,
    a_log_that_was_made_anew_while_it_is_read_is_a_hole,
    a_slot_that_was_dropped_while_nobody_is_away_is_a_hole,
] }

/// Changes what is cached, in a way that nothing tells of any more once `lose` is done, while the invalidator is dead.
async fn lost_unread(source: Source, lose: impl AsyncFnOnce(&mut Shelf)) {
    let mut shelf = Shelf::new(source).await;
    shelf.house.invalidator.kill().await.expect("killed");
    lose(&mut shelf).await;
    shelf.house.invalidator.restart().await.expect("started again");
    shelf.assert_anew().await;
    shelf.assert_alive().await;
}

const CHANGE: &str = "update products set price = 12.50, category = 'video' where sku = 'sku-1'";

async fn a_slot_that_was_dropped_is_a_hole(source: Source) {
    lost_unread(source, async |shelf| {
        let house = &mut shelf.house;
        house.feed.stop_writer().await.expect("stopped");
        hands::drop_slot(house).await;
        house.stage.sql(CHANGE).await; // no slot will stream this
        house.feed.start_writer_anew().await.expect("started again");
    })
    .await;
}

async fn a_slot_that_was_moved_on_is_a_hole(source: Source) {
    lost_unread(source, async |shelf| {
        let house = &mut shelf.house;
        house.feed.stop_writer().await.expect("stopped");
        house.stage.sql(CHANGE).await;
        hands::move_slot_on(house).await;
        house.feed.start_writer_anew().await.expect("started again");
    })
    .await;
}

async fn a_slot_that_was_dropped_while_nobody_is_away_is_a_hole(source: Source) {
    let mut shelf = Shelf::new(source).await;
    shelf.house.feed.stop_writer().await.expect("stopped");
    hands::drop_slot(&shelf.house).await;
    shelf.house.stage.sql(CHANGE).await;
    shelf.house.feed.start_writer_anew().await.expect("started again");
    shelf.assert_anew().await;
    shelf.assert_alive().await;
}

async fn a_log_that_was_emptied_is_a_hole(source: Source) {
    lost_unread(source, async |shelf| {
        shelf.house.stage.sql(CHANGE).await;
        hands::stored(&shelf.house).await;
        hands::empty_log(&shelf.house).await;
    })
    .await;
}

async fn a_log_that_was_emptied_while_it_is_read_leaves_nothing_stale(source: Source) {
    let mut shelf = Shelf::new(source).await;
    // It hangs, and its connections stay: what goes may have been handed to it before, or not.
    shelf.house.invalidator.pause().expect("paused");
    shelf.house.stage.sql(CHANGE).await;
    hands::stored(&shelf.house).await;
    hands::empty_log(&shelf.house).await;
    shelf.house.invalidator.resume().expect("resumed");
    shelf.house.drained().await;
    shelf.assert_alive().await;
}

async fn a_log_that_was_made_anew_is_a_hole(source: Source) {
    lost_unread(source, async |shelf| {
        shelf.house.stage.sql(CHANGE).await;
        hands::stored(&shelf.house).await;
        hands::remake_log(&shelf.house).await;
        // Longer than the one before it was: what was acknowledged is there, and is something else.
        shelf.house.commit_one_by_one(300).await;
        hands::stored(&shelf.house).await;
    })
    .await;
}

async fn a_log_that_was_made_anew_while_it_is_read_is_a_hole(source: Source) {
    let mut shelf = Shelf::new(source).await;
    // It hangs while that happens, and finds what looks like the log that it was reading.
    shelf.house.invalidator.pause().expect("paused");
    hands::remake_log(&shelf.house).await;
    shelf.house.commit_one_by_one(300).await;
    shelf.house.invalidator.resume().expect("resumed");
    shelf.assert_anew().await;
    shelf.assert_alive().await;
}
