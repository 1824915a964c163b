//! Every kind of change, as a reader sees it.

use stage::Source;
use uuid::Uuid;

use crate::{
    reader::Watched,
    shelf::{Shelf, id},
};

stage::over_sources! { [postgres: Postgres, nats: Nats, kafka_relay: KafkaRelay, kafka: Kafka, kafka_partitions: KafkaPartitions] [
    an_insert_is_seen_where_its_absence_was_cached,
    an_update_is_seen_and_touches_no_other_row,
    a_deletion_is_seen,
    a_transaction_is_seen_whole_and_what_it_rolled_back_never,
    a_changed_primary_key_leaves_neither_row_stale,
    a_moved_row_leaves_both_lists,
    truncate_empties_everything_at_once,
    ddl_that_changes_values_empties_everything,
    ddl_that_rolls_back_empties_nothing,
    a_long_text_that_did_not_change_is_not_lost,
    a_row_longer_than_a_broker_takes_is_seen,
    a_message_longer_than_a_broker_takes_stops_nothing,
] }

async fn an_insert_is_seen_where_its_absence_was_cached(source: Source) {
    let shelf = Shelf::new(source).await;
    let row = format!("'{}', 'sku-4', 'thing 4', 'audio', 9.00", id(4));
    shelf.change(&format!("insert into products (id, sku, name, category, price) values ({row})")).await;
    shelf.assert_kept().await;
    assert!(shelf.sees(4, "sku", "sku-4").await);
}

async fn an_update_is_seen_and_touches_no_other_row(source: Source) {
    let shelf = Shelf::new(source).await;
    shelf.change("update products set price = 12.50 where sku = 'sku-1'").await;
    assert!(shelf.is_hit(2).await, "another row was touched");
    shelf.assert_kept().await;
    assert!(shelf.sees(1, "price", "12.50").await);
}

async fn a_deletion_is_seen(source: Source) {
    let shelf = Shelf::new(source).await;
    shelf.change("delete from products where sku = 'sku-1'").await;
    shelf.assert_kept().await;
    assert_eq!(shelf.reader.cached(&Watched::Row(id(1))).await.value, None);
}

async fn a_transaction_is_seen_whole_and_what_it_rolled_back_never(source: Source) {
    let shelf = Shelf::new(source).await;
    let price = |n, price| format!("update products set price = {price} where sku = 'sku-{n}'");
    let [one, two, never, three] = [price(1, 11), price(2, 12), price(1, 99), price(3, 13)];
    shelf
        .change(&format!("begin; {one}; savepoint a; {two}; release a; savepoint b; {never}; rollback to b; {three}; commit"))
        .await;
    shelf.assert_kept().await;
    for (n, price) in [(1, "11.00"), (2, "12.00"), (3, "13.00")] {
        assert!(shelf.sees(n, "price", price).await);
    }
}

async fn a_changed_primary_key_leaves_neither_row_stale(source: Source) {
    let shelf = Shelf::new(source).await;
    shelf.change(&format!("update products set id = '{}' where sku = 'sku-1'", id(5))).await;
    shelf.assert_kept().await;
    assert_eq!(shelf.reader.cached(&Watched::Row(id(1))).await.value, None);
    assert!(shelf.sees(5, "sku", "sku-1").await);
}

async fn a_moved_row_leaves_both_lists(source: Source) {
    let shelf = Shelf::new(source).await;
    shelf.change("update products set category = 'video' where sku = 'sku-1'").await;
    shelf.assert_kept().await;
    let is_in = async |category| shelf.shows(category).await.contains(&id(1));
    assert!(is_in("video").await && !is_in("audio").await);
}

async fn truncate_empties_everything_at_once(source: Source) {
    let shelf = Shelf::new(source).await;
    shelf.change("truncate products").await;
    shelf.assert_anew().await;
    assert_eq!(shelf.shows("audio").await, Vec::<Uuid>::new());
}

async fn ddl_that_changes_values_empties_everything(source: Source) {
    let shelf = Shelf::new(source).await;
    // No row event tells of the new value.
    shelf.change("alter table products alter column stock_quantity type bigint using stock_quantity + 7").await;
    shelf.assert_anew().await;
    assert!(shelf.sees(1, "stock_quantity", 7).await);
    shelf.assert_alive().await;
}

async fn ddl_that_rolls_back_empties_nothing(source: Source) {
    let shelf = Shelf::new(source).await;
    shelf.change("begin; alter table products alter column stock_quantity type bigint using stock_quantity + 7; rollback").await;
    shelf.change("update products set price = 11 where sku = 'sku-1'").await;
    assert!(shelf.is_hit(2).await);
    shelf.assert_kept().await;
}

async fn a_long_text_that_did_not_change_is_not_lost(source: Source) {
    let shelf = Shelf::new(source).await;
    let is_apart = "select pg_column_size(description) > 2000 from products where sku = 'sku-1'";
    assert!(shelf.house.stage.value::<bool>(is_apart).await, "it lies in the row itself, and the stream does not leave it out");
    shelf.change("update products set price = 12.50 where sku = 'sku-1'").await;
    shelf.assert_kept().await;
    let text: String = shelf.house.stage.value("select description from products where sku = 'sku-1'").await;
    assert!(shelf.sees(1, "description", text).await);
}

async fn a_row_longer_than_a_broker_takes_is_seen(source: Source) {
    let shelf = Shelf::new(source).await;
    for price in ["11.00", "12.00"] {
        // The first one brings the long text; of the second it is what stood there before.
        let long = "attributes || jsonb_build_object('long', repeat('long', 300000))";
        shelf.change(&format!("update products set price = {price}, attributes = {long} where sku = 'sku-1'")).await;
        shelf.assert_kept().await;
        assert!(shelf.sees(1, "price", price).await);
    }
}

async fn a_message_longer_than_a_broker_takes_stops_nothing(source: Source) {
    let shelf = Shelf::new(source).await;
    for (prefix, content) in [("'somebody'", "repeat('x', 2000000)"), ("repeat('y', 2000000)", "''")] {
        shelf.change(&format!("select pg_logical_emit_message(true, {prefix}, {content})")).await;
    }
    shelf.change("update products set price = 12.50 where sku = 'sku-1'").await;
    shelf.assert_kept().await;
    assert!(shelf.sees(1, "price", "12.50").await);
}
