//! Changes that come through the relay and NATS JetStream: the same outcomes, and what only a broker can do wrong.

use async_nats::jetstream;
use freshline::coherence::{CacheKey, Fill, Generation, Proof, Refusal, Tag};
use stage::{
    Launch, Login, Process, Stage,
    servers::{Home, Nats, NatsOptions},
};

use crate::house::{House, launch};

const INSERT: &str = "insert into products (id, sku, name, category, price) values ('0192d3a0-0000-7000-8000-00000000000";
const PRICE_1: &str = "select price from products where sku = 'sku-1'";

/// A house whose changes come through a relay and a NATS of its own.
struct Relayed {
    house: House,
    nats: Nats,
    relay: Process,
}

fn home() -> Home {
    Home::scratch().expect("a scratch directory")
}

fn relay(stage: &Stage, nats: &Nats) -> Launch {
    stage.launch("freshline-relay", Login::Invalidator).variables([
        ("FRESHLINE_NATS_URL", nats.server()),
        ("FRESHLINE_RELAY_SLOT", format!("{}_relay", stage.name())),
        ("FRESHLINE_RELAY_ADDRESS", "127.0.0.1:0".to_owned()),
    ])
}

fn by_nats(stage: &Stage, nats: &Nats) -> Launch {
    launch(stage).variables([("FRESHLINE_SOURCE", "nats"), ("FRESHLINE_NATS_URL", &nats.server())])
}

impl Relayed {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let nats = Nats::start(home(), NatsOptions::default()).await.expect("NATS starts");
        let mut relay = Process::start(relay(&stage, &nats)).expect("the relay starts");
        relay.line("publishing what Postgres changes").await;
        let launch = by_nats(&stage, &nats);
        let house = House::with(stage, launch).await;
        for n in 1..=3 {
            house.stage.sql(&format!("{INSERT}{n}', 'sku-{n}', 'thing {n}', 'audio', 10.00)")).await;
        }
        house.drained().await;
        Self { house, nats, relay }
    }

    async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.nats.url()).await.expect("NATS answers"))
    }

    async fn stream(&self) -> jetstream::stream::Stream {
        self.jetstream().await.get_stream("FRESHLINE").await.expect("the relay's stream")
    }

    /// Waits until the cache is open under another generation than this, with a bound on its age.
    async fn opened_anew(&self, before: Generation) {
        let is_anew =
            async || self.house.control().await.is_some_and(|control| control.generation != before && control.at.as_micros() > 0);
        if tokio::time::timeout(std::time::Duration::from_secs(12), self.house.stage.until("a new generation", is_anew))
            .await
            .is_err()
        {
            eprintln!("RELAY {}\nINV {}", self.relay.lines().join("\n"), self.house.invalidator.lines().join("\n"));
            panic!("not anew");
        }
    }

    async fn generation(&self) -> Generation {
        self.house.opened().await.generation
    }

    /// That a change is seen, through all that stands between.
    async fn assert_alive(&self) {
        assert_eq!(self.house.load(&key(2), "select price from products where sku = 'sku-2'").await, Fill::Filled);
        self.house.stage.sql("update products set price = price + 1, category = 'video' where sku = 'sku-2'").await;
        self.house.drained().await;
        match self.house.served(&key(2), None).await {
            Ok(body) => assert!(body.as_ref().is_some_and(|body| body.contains("video")), "{body:?}"),
            Err(refusal) => assert_eq!(refusal, Refusal::Missing),
        }
    }
}

fn key(n: u32) -> CacheKey {
    CacheKey::new(format!("products:0192d3a0-0000-7000-8000-00000000000{n}"))
}

#[tokio::test]
async fn the_relays_stream_has_ends_positions_and_images() {
    let r = Relayed::new().await;
    let house = &r.house;
    assert_eq!(house.load(&key(1), PRICE_1).await, Fill::Filled);
    house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    house.drained().await;
    let body = house.served(&key(1), None).await.expect("served").expect("a row");
    let row: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(row["price"], "12.50");
    assert!(matches!(house.entry(&key(1)).await.expect("an entry").proof, Proof::Lsn(_)));

    let pages = ["audio", "video"].map(|c| (CacheKey::new(format!("page:{c}")), Tag::new(format!("products:category={c}"))));
    for (page, tag) in &pages {
        assert_eq!(house.load_tagged(page, tag, "select count(*) from products").await, Fill::Filled);
    }
    house.stage.sql("update products set category = 'video' where sku = 'sku-1'").await;
    house.drained().await;
    for (page, tag) in &pages {
        assert_eq!(house.served(page, Some(tag)).await, Err(Refusal::TagChanged));
    }
}

#[tokio::test]
async fn truncate_and_ddl_come_through_the_relay() {
    let r = Relayed::new().await;
    let before = r.generation().await;
    r.house.stage.sql("alter table products alter column stock_quantity type bigint").await;
    r.opened_anew(before).await;
    let before = r.generation().await;
    r.house.stage.sql("truncate products").await;
    r.opened_anew(before).await;
}

#[tokio::test]
async fn a_killed_invalidator_goes_on_where_it_was_and_waits_for_nothing() {
    let mut r = Relayed::new().await;
    let before = r.generation().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.house.invalidator.kill().await.expect("killed");
    r.house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    r.house.invalidator.restart().await.expect("started again");
    r.house.drained().await;
    let body = r.house.served(&key(1), None).await.expect("served").expect("a row");
    assert!(body.contains("\"price\":\"12.50\""), "{body}");
    assert_eq!(r.generation().await, before, "nothing was lost, so nothing is given up");
}

#[tokio::test]
async fn a_second_invalidator_takes_over_from_a_killed_one() {
    let mut r = Relayed::new().await;
    let before = r.generation().await;
    let mut second = Process::start(by_nats(&r.house.stage, &r.nats)).expect("the second starts");
    second.line("waiting for its turn").await;
    r.house.invalidator.kill().await.expect("killed");
    second.line("the change stream begins at").await;
    r.assert_alive().await;
    assert_eq!(r.generation().await, before);
}

#[tokio::test]
async fn a_killed_relay_neither_loses_nor_repeats_anything() {
    let mut r = Relayed::new().await;
    let before = r.generation().await;
    r.relay.kill().await.expect("killed");
    r.house.stage.sql("update products set price = 11.00").await;
    r.relay.restart().await.expect("started again");
    r.assert_alive().await;
    assert_eq!(r.generation().await, before);
    let mut stream = r.stream().await;
    let last = stream.info().await.expect("told").state.last_sequence;
    let mut ids = std::collections::HashSet::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.expect("a message");
        let id = message.headers.get("Nats-Msg-Id").expect("an id").as_str().to_owned();
        assert!(ids.insert(id.clone()), "{id} stands there twice");
    }
}

#[tokio::test]
async fn a_restarted_broker_loses_nothing() {
    let r = Relayed::new().await;
    let before = r.generation().await;
    r.nats.kill().await.expect("killed");
    r.house.stage.sql("update products set price = 11.00").await;
    r.nats.start_again().await.expect("started again");
    r.assert_alive().await;
    assert_eq!(r.generation().await, before);
}

#[tokio::test]
async fn a_purged_stream_is_a_hole() {
    let mut r = Relayed::new().await;
    let before = r.generation().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.house.invalidator.kill().await.expect("killed");
    let stream = r.stream().await;
    let deletes =
        async || stream.get_last_raw_message_by_subject("freshline.public.products").await.is_ok_and(|last| is_delete(&last));
    r.house.stage.sql("delete from products where sku = 'sku-1'").await;
    // What tells of it is stored, and gone before anybody reads it.
    r.house.stage.until("the relay has published it", deletes).await;
    stream.purge().await.expect("purged");
    r.house.invalidator.restart().await.expect("started again");
    r.opened_anew(before).await;
    assert_eq!(r.house.served(&key(1), None).await, Err(Refusal::OtherGeneration));
    r.assert_alive().await;
}

fn is_delete(message: &jetstream::message::StreamMessage) -> bool {
    serde_json::from_slice::<serde_json::Value>(&message.payload).is_ok_and(|envelope| envelope["op"] == "d")
}

#[tokio::test]
async fn messages_that_go_while_the_stream_is_read_are_a_hole() {
    let mut r = Relayed::new().await;
    let before = r.generation().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.house.invalidator.pause().expect("paused");
    let stream = r.stream().await;
    let deletes =
        async || stream.get_last_raw_message_by_subject("freshline.public.products").await.is_ok_and(|last| is_delete(&last));
    r.house.stage.sql("delete from products where sku = 'sku-1'").await;
    r.house.stage.until("the relay has published it", deletes).await;
    stream.purge().await.expect("purged");
    r.house.invalidator.resume().expect("resumed");
    r.house.drained().await;
    if let Ok(body) = r.house.served(&key(1), None).await {
        assert_eq!((body, r.generation().await), (None, before), "the deletion had come before it was purged");
    }
    r.assert_alive().await;
}

#[tokio::test]
async fn a_stream_made_anew_is_a_hole() {
    let r = Relayed::new().await;
    let before = r.generation().await;
    r.jetstream().await.delete_stream("FRESHLINE").await.expect("deleted");
    r.house.stage.sql("update products set price = 11.00").await;
    r.opened_anew(before).await;
    r.assert_alive().await;
}

#[tokio::test]
async fn a_stream_restored_from_an_old_copy_is_a_hole() {
    let r = Relayed::new().await;
    let before = r.generation().await;
    let copy = home();
    r.nats.save_to(copy.path()).await.expect("saved");
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.assert_alive().await;
    // What the slot still has would be published again.
    let written = r.house.stage.sql("delete from products where sku = 'sku-3'").await;
    let confirmed = format!(
        "select coalesce(max(confirmed_flush_lsn - '0/0'), 0) >= {written} from pg_replication_slots where slot_name = '{}_relay'",
        r.house.stage.name()
    );
    r.house.stage.until("the slot has forgotten it", async || r.house.stage.value::<bool>(&confirmed).await).await;
    r.nats.restart_from(copy.path()).await.expect("restored");
    r.opened_anew(before).await;
    assert_eq!(r.house.served(&key(1), None).await, Err(Refusal::OtherGeneration));
    r.assert_alive().await;
}

#[tokio::test]
async fn a_slot_that_was_dropped_is_a_hole() {
    let mut r = Relayed::new().await;
    let before = r.generation().await;
    r.relay.kill().await.expect("killed");
    let drop = format!("select pg_drop_replication_slot('{}_relay')", r.house.stage.name());
    r.house
        .stage
        .until("the slot is dropped", async || {
            sqlx::query(sqlx::AssertSqlSafe(drop.as_str())).execute(r.house.stage.pool()).await.map(drop_it)
        })
        .await;
    r.house.stage.sql("update products set price = 11.00").await;
    r.relay.restart().await.expect("started again");
    r.opened_anew(before).await;
    r.assert_alive().await;
}

fn drop_it<T>(_: T) {}

#[tokio::test]
async fn what_cannot_be_used_is_kept_and_loses_nothing() {
    let r = Relayed::new().await;
    let before = r.generation().await;
    let jetstream = r.jetstream().await;
    // What the slot has not been told to forget yet comes again behind the hole, and is no duplicate there.
    r.assert_alive().await;
    let stored = jetstream.publish("freshline.public.products", "no JSON at all".into()).await.expect("sent");
    stored.await.expect("stored");
    r.opened_anew(before).await;
    r.assert_alive().await;
    let kept: (i64, Vec<u8>) = sqlx::query_as("select count(*) over (), raw from freshline.dead_letters")
        .fetch_one(r.house.stage.pool())
        .await
        .expect("kept");
    assert_eq!(kept, (1, b"no JSON at all".to_vec()));
}

#[tokio::test]
async fn a_large_transaction_comes_through_in_parts() {
    let r = Relayed::new().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.house
        .stage
        .sql("insert into products (sku, name, category, price) select 'bulk-' || n, 'bulk ' || n, 'bulk', 1 from generate_series(1, 20000) n")
        .await;
    r.house.stage.sql("update products set price = 2").await;
    r.house.drained().await;
    assert_eq!(r.house.served(&key(1), None).await, Err(Refusal::Missing));
    r.assert_alive().await;
}
