//! What only a topic can bring.

use std::time::Duration;

use freshline::coherence::{Fill, Refusal};
use rdkafka::producer::{FutureProducer, FutureRecord};
use stage::Source;

use crate::{
    hands,
    house::House,
    life::{PRICE_1, insert, key},
};

async fn produce(house: &House, key: &[u8], value: &[u8]) {
    let (_, topic) = house.feed.kafka().expect("a house with Kafka");
    let producer: FutureProducer = hands::client(house).create().expect("a producer");
    let record = FutureRecord::to(&topic).key(key).payload(value);
    producer.send(record, Duration::from_secs(60)).await.expect("it is acknowledged");
}

#[tokio::test]
async fn without_the_end_of_its_commit_a_row_is_removed_and_not_replaced() {
    let house = House::new(Source::KafkaPartitions).await;
    insert(&house, 3).await;
    for n in 1..=3 {
        assert_eq!(house.load(&key(n), &format!("select price from products where sku = 'sku-{n}'")).await, Fill::Filled);
    }
    house.stage.sql("update products set price = price + 1").await;
    house.drained().await;
    for n in 1..=3 {
        assert_eq!(house.served(&key(n)).await, Err(Refusal::Missing));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_and_what_it_names_is_gone() {
    let house = House::new(Source::Kafka).await;
    insert(&house, 1).await;
    assert_eq!(house.load(&key(1), PRICE_1).await, Fill::Filled);
    let before = house.opened().await.generation;
    // Its transaction and its row can be told, but not its tags: everything is emptied.
    let xid: String = house.stage.value("select pg_current_xact_id()::text").await;
    let id = "0192d3a0-0000-7000-8000-000000000001";
    let value =
        format!(r#"{{"op":"u","after":{{"id":7}},"source":{{"schema":"public","table":"products","txId":{xid},"lsn":9}}}}"#);
    produce(&house, format!(r#"{{"id":"{id}"}}"#).as_bytes(), value.as_bytes()).await;
    let before = house.reopened(before).await.generation;
    assert_eq!(house.served(&key(1)).await, Err(Refusal::OtherGeneration));

    // Nothing of it can be told: the cache is closed, and opened when nothing can be missing.
    produce(&house, b"?", b"{\"no\": \"envelope\"").await;
    house.reopened(before).await;
    let kept: Vec<(String, Vec<u8>)> = sqlx::query_as("select reason, raw from freshline.dead_letters order by id")
        .fetch_all(house.stage.pool())
        .await
        .expect("the dead letters");
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].0.contains("column id has a value that its type does not have"), "{kept:?}");
    assert_eq!(kept[1].1, b"{\"no\": \"envelope\"");
}
