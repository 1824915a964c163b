//! What only the relay and its stream can do wrong.

use std::collections::HashSet;

use stage::{Fault, Proxy, Source, servers::Home};

use crate::{
    hands::{self, stream},
    house::gauge,
    shelf::Shelf,
};

#[tokio::test]
async fn a_killed_relay_stores_nothing_twice() {
    let mut shelf = Shelf::new(Source::Nats).await;
    shelf.house.feed.stop_writer().await.expect("killed");
    shelf.house.stage.sql("update products set price = 11.00").await;
    shelf.house.feed.start_writer().await.expect("started again");
    shelf.house.drained().await;
    shelf.assert_kept().await;
    let mut stream = stream(&shelf.house).await;
    let last = stream.info().await.expect("told").state.last_sequence;
    let mut ids = HashSet::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.expect("a message");
        let id = message.headers.get("Nats-Msg-Id").expect("an id").as_str().to_owned();
        assert!(ids.insert(id.clone()), "{id} stands there twice");
    }
}

#[tokio::test]
async fn a_stream_restored_from_an_old_copy_is_a_hole() {
    let shelf = Shelf::new(Source::Nats).await;
    let (house, copy) = (&shelf.house, Home::scratch().expect("a scratch directory"));
    let nats = house.feed.nats().expect("a house with NATS");
    nats.save_to(copy.path()).await.expect("saved");
    shelf.assert_alive().await;
    // What the slot still has would be published again.
    house.stage.sql("delete from products where sku = 'sku-3'").await;
    hands::stored(house).await;
    nats.restart_from(copy.path()).await.expect("restored");
    shelf.assert_anew().await;
    shelf.assert_alive().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_kept_and_loses_nothing() {
    let shelf = Shelf::new(Source::Nats).await;
    // What the slot has not been told to forget yet comes again behind the hole, and is no duplicate there.
    shelf.assert_alive().await;
    hands::publish(&shelf.house, b"?", b"no JSON at all").await;
    shelf.assert_anew().await;
    shelf.assert_alive().await;
    let kept: (i64, Vec<u8>) = sqlx::query_as("select count(*) over (), raw from freshline.dead_letters")
        .fetch_one(shelf.house.stage.pool())
        .await
        .expect("kept");
    assert_eq!(kept, (1, b"no JSON at all".to_vec()));
}

/// More comes at once than may be on its way: what is published waits for what is stored, and for nothing that only it can take.
#[tokio::test]
async fn a_nats_that_is_slow_to_answer_while_much_is_published_stops_nothing() {
    let mut shelf = Shelf::new(Source::Nats).await;
    let server = shelf.house.feed.nats().expect("a house with NATS").server();
    let proxy = Proxy::to(server.trim_start_matches("nats://").parse().expect("an address")).await.expect("a proxy");
    let relay = shelf.house.relayed_by(&format!("nats://{}", proxy.address()), &[]).await;
    let published = gauge(&relay, "freshline_relay_published_total").await;
    proxy.set(Fault::HoldReplies);
    // Nearly as many as may be on their way, and then a transaction that is let through as it comes: a thousand and more at once, which
    // is more than the client has room for.
    for (n, rows) in [1_000, 1_000, 1_000, 990, 3_000].into_iter().enumerate() {
        let insert = "insert into products (sku, name, category, price)";
        shelf
            .house
            .stage
            .sql(&format!("{insert} select 'm-{n}-' || i, 'thing', 'bulk', 1 from generate_series(1, {rows}) i"))
            .await;
    }
    shelf.house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    let are_on_their_way = async || gauge(&relay, "freshline_relay_published_total").await >= published + 3_900.0;
    shelf.house.stage.until("as many are on their way as may be", are_on_their_way).await;
    proxy.set(Fault::None);
    shelf.house.drained().await;
    shelf.assert_kept().await;
    assert!(shelf.sees(1, "price", "12.50").await);
}
