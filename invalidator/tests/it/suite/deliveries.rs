//! How changes come: again, late, to one who was killed or to who takes its place. Nothing is missed, nothing stale comes back, and
//! nothing is given up that need not be.

use std::time::{Duration, Instant};

use freshline::cache::{Origin, Want};
use stage::{Process, Source};

use crate::{
    hands,
    house::{House, commit_one_by_one},
    reader::Watched,
    shelf::{Shelf, id},
};

stage::over_sources! { [postgres: Postgres, nats: Nats, kafka_relay: KafkaRelay, kafka: Kafka] [
    what_comes_again_from_the_start_brings_nothing_back,
    an_invalidator_killed_in_the_middle_of_a_backlog_loses_nothing,
    an_invalidator_stopped_in_the_middle_of_a_backlog_loses_nothing,
    a_standby_takes_over_within_seconds,
    a_writer_killed_in_the_middle_of_a_backlog_loses_nothing,
    a_restarted_broker_loses_nothing,
    a_crash_of_postgres_opens_a_new_generation,
    an_idle_table_stays_fresh_and_holds_back_no_log,
] }

/// More than is applied between two looks at how far that has come. Debezium takes longest to bring it, three messages for each.
fn backlog(source: Source) -> u32 {
    match source {
        Source::Postgres | Source::Nats | Source::KafkaRelay | Source::KafkaRelayPartitions => 20_000,
        Source::Kafka | Source::KafkaPartitions | Source::KafkaTables => 6_000,
    }
}

async fn what_comes_again_from_the_start_brings_nothing_back(source: Source) {
    let mut shelf = Shelf::new(source).await;
    hands::stored(&shelf.house).await;
    let start = hands::bookmark(&shelf.house).await;
    shelf.house.commit_one_by_one(1_000).await;
    shelf.house.drained().await;
    shelf.cached().await;
    shelf.house.invalidator.kill().await.expect("killed");
    hands::go_back(&shelf.house, start).await;
    shelf.house.invalidator.restart().await.expect("started again");
    // Behind all that comes again, and no change of anything.
    let last = shelf.house.stage.sql("select pg_logical_emit_message(true, 'test', '')").await;
    shelf
        .house
        .stage
        .until("all has come again", async || {
            shelf.assert_no_read_is_untrue().await;
            shelf.house.control().await.is_some_and(|control| control.position.get() >= last)
        })
        .await;
    shelf.assert_kept().await;
}

/// Lets an invalidator begin with a backlog, ends it in the middle, and starts it again.
async fn ended_in_the_middle(source: Source, end: impl AsyncFnOnce(&mut Process)) {
    let mut shelf = Shelf::new(source).await;
    let house = &mut shelf.house;
    house.invalidator.kill().await.expect("killed");
    let before = house.control().await.expect("open").position;
    house.commit_one_by_one(backlog(source)).await;
    hands::stored(house).await;
    let last = house.stage.sql("select 1").await;
    house.invalidator.restart().await.expect("started again");
    house
        .stage
        .until("some of it is applied", async || house.control().await.is_some_and(|control| control.position > before))
        .await;
    end(&mut house.invalidator).await;
    let reached = house.control().await.expect("open").position.get();
    assert!(reached < last, "all of it had been applied: this shows nothing");
    house.invalidator.restart().await.expect("started again");
    house.drained().await;
    shelf.assert_kept().await;
}

async fn an_invalidator_killed_in_the_middle_of_a_backlog_loses_nothing(source: Source) {
    ended_in_the_middle(source, async |process| process.kill().await.expect("killed")).await;
}

async fn an_invalidator_stopped_in_the_middle_of_a_backlog_loses_nothing(source: Source) {
    ended_in_the_middle(source, async |process| {
        let status = process.stop(stage::WAIT_MAX).await.expect("it ends");
        assert!(status.success(), "{status}: {}", process.tail());
    })
    .await;
}

async fn a_standby_takes_over_within_seconds(source: Source) {
    let mut shelf = Shelf::new(source).await;
    let mut standby = shelf.house.standby();
    standby.line(if source == Source::Postgres { "is in use" } else { "waiting for its turn" }).await;
    shelf.house.invalidator.kill().await.expect("killed");
    let killed = Instant::now();
    shelf.change("update products set price = 12.50, category = 'video' where sku = 'sku-1'").await;
    let took = killed.elapsed();
    shelf.assert_kept().await;
    println!("the standby had applied the next change after {took:?}");
    assert!(took < Duration::from_secs(10), "it took over after {took:?}");
}

async fn a_writer_killed_in_the_middle_of_a_backlog_loses_nothing(source: Source) {
    let mut shelf = Shelf::own(source).await;
    // A Debezium that is killed before it has noted anything begins anew.
    hands::stored(&shelf.house).await;
    let House { stage, feed, .. } = &mut shelf.house;
    let before = stage.sql("select 1").await;
    let pool = stage.pool().clone();
    let writing = tokio::spawn(async move { commit_one_by_one(&pool, 5_000).await });
    stage.until("some of it is committed", async || stage.sql("select 1").await > before + 100_000).await;
    let killed = Instant::now();
    feed.restart_writer(stage).await.expect("killed, and started again");
    writing.await.expect("no panic");
    println!("the writer runs again, and all is committed, after {:?}", killed.elapsed());
    shelf.house.drained_within(stage::WAIT_MAX * 4).await;
    println!("and all is applied after {:?}", killed.elapsed());
    shelf.assert_kept().await;
}

async fn a_restarted_broker_loses_nothing(source: Source) {
    let shelf = Shelf::own(source).await;
    shelf.house.stage.sql("update products set price = 12.50, category = 'video' where sku = 'sku-1'").await;
    shelf.house.feed.restart_broker(&shelf.house.stage).await.expect("it serves again");
    shelf.house.stage.sql("update products set price = 13.50 where sku = 'sku-2'").await;
    shelf.house.drained_within(stage::WAIT_MAX * 2).await;
    match source {
        // A Postgres that was started again counts transactions in a history of its own.
        Source::Postgres => shelf.assert_anew().await,
        _ => shelf.assert_kept().await,
    }
    shelf.assert_alive().await;
}

async fn a_crash_of_postgres_opens_a_new_generation(source: Source) {
    let shelf = Shelf::own_postgres(source).await;
    let postgres = shelf.house.stage.postgres();
    let before = shelf.house.opened().await.source;
    let pid: i32 = shelf.house.stage.value("select pid from pg_stat_activity where backend_type = 'background writer'").await;
    postgres.kill_backend(pid).await.expect("killed");
    postgres.ready().await.expect("recovered");
    shelf.assert_anew().await; // its transaction ids may mean other transactions now
    let after = shelf.house.opened().await.source;
    assert_ne!(after, before);
    assert_eq!(after.system, before.system);
    shelf.assert_alive().await;
}

async fn an_idle_table_stays_fresh_and_holds_back_no_log(source: Source) {
    let shelf = Shelf::new(source).await;
    let Shelf { house, reader, .. } = &shelf;
    house.stage.sql("create table unpublished (text text)").await;
    let noise = "insert into unpublished select repeat('x', 1000) from generate_series(1, 1000)";
    let written = house.stage.sql(noise).await;
    let is_free = format!(
        "select coalesce(min(restart_lsn - '0/0'), 0) >= {written} from pg_replication_slots where slot_name = '{}'",
        house.feed.slot()
    );
    let is_free = async || {
        house.stage.sql("checkpoint").await; // after which a slot may move
        house.stage.sql(noise).await;
        house.stage.value::<bool>(&is_free).await
    };
    house.stage.until("the log is free", is_free).await;
    // Filled longer ago than that: only what is proven since then lets it be served.
    let want = Want { max_staleness: Some(Duration::from_secs(1)), ..Want::default() };
    let filled = house.entry(&freshline::catalog::keys::product(id(1))).await.expect("an entry").read_at.expect("read by a reader");
    let is_fresh = async || {
        let is_old = house.control().await.is_some_and(|control| control.at.as_micros() > filled.as_micros() + 2_000_000);
        is_old && reader.get(&Watched::Row(id(1)), &want).await.origin == Origin::Redis
    };
    house.stage.until("what was read long ago is served as fresh", is_fresh).await;
    shelf.assert_kept().await;
}
