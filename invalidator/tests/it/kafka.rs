//! Changes that come through Debezium and Kafka: the same outcomes, and what only a broker can do wrong.

use std::time::Duration;

use freshline::coherence::{CacheKey, Fill, Proof, Refusal, Tag};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use stage::{
    Launch, Process, Stage,
    servers::{Connect, ConnectOptions, Connector, Home, Kafka, KafkaOptions, Topology},
};

use crate::house::{House, launch};

const ANSWER_WITHIN: Duration = Duration::from_secs(60);

const INSERT: &str = "insert into products (id, sku, name, category, price) values ('0192d3a0-0000-7000-8000-00000000000";

/// A house whose changes come through a Kafka of its own.
struct Brokered {
    house: House,
    kafka: Kafka,
    connect: Connect,
    topic: String,
}

fn home() -> Home {
    Home::scratch().expect("a scratch directory")
}

fn by_kafka(stage: &Stage, kafka: &Kafka, topic: &str) -> Launch {
    launch(stage).variables([
        ("FRESHLINE_SOURCE", "kafka"),
        ("FRESHLINE_KAFKA_BROKERS", &kafka.brokers()),
        ("FRESHLINE_KAFKA_TOPICS", topic),
        ("FRESHLINE_KAFKA_GROUP", stage.name()),
    ])
}

impl Brokered {
    async fn new(partitions: u16) -> Self {
        let (stage, kafka) = (Stage::new().await, Kafka::start(home(), KafkaOptions::default()).await.expect("Kafka starts"));
        let connector = Connector {
            topology: Topology::OneTopic { partitions },
            ..Connector::of(stage.postgres(), stage.name(), &format!("{}_dbz", stage.name()))
        };
        let topic = connector.topic().expect("one topic");
        let connect =
            Connect::start(home(), &kafka.brokers(), vec![connector], ConnectOptions::default()).await.expect("it streams");
        let launch = by_kafka(&stage, &kafka, &topic);
        let house = House::with(stage, launch).await;
        for n in 1..=3 {
            house.stage.sql(&format!("{INSERT}{n}', 'sku-{n}', 'thing {n}', 'audio', 10.00)")).await;
        }
        house.drained().await;
        Self { house, kafka, connect, topic }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka.brokers()).set("group.id", self.house.stage.name());
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an administrator")
    }

    async fn produce(&self, key: &[u8], value: &[u8]) {
        let producer: FutureProducer = self.client().create().expect("a producer");
        let record = FutureRecord::to(&self.topic).key(key).payload(value);
        producer.send(record, ANSWER_WITHIN).await.expect("it is acknowledged");
    }

    /// The end of the topic, and the offset that is kept for the invalidator.
    fn offsets(&self) -> (i64, Option<i64>) {
        let consumer: BaseConsumer = self.client().create().expect("a consumer");
        let (_, end) = consumer.fetch_watermarks(&self.topic, 0, ANSWER_WITHIN).expect("the ends");
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&self.topic, 0);
        let kept = consumer.committed_offsets(asked, ANSWER_WITHIN).expect("the offsets");
        let kept = kept.find_partition(&self.topic, 0).and_then(|kept| kept.offset().to_raw()).filter(|offset| *offset >= 0);
        (end, kept)
    }

    /// Waits until the invalidator is open under another generation than this.
    async fn opened_anew(&self, before: freshline::coherence::Generation) {
        self.house
            .stage
            .until("a new generation", async || {
                self.house.control().await.is_some_and(|control| control.generation != before && control.at.as_micros() > 0)
            })
            .await;
    }
}

fn key(n: u32) -> CacheKey {
    CacheKey::new(format!("products:0192d3a0-0000-7000-8000-00000000000{n}"))
}

const PRICE_1: &str = "select price from products where sku = 'sku-1'";

/// The row is replaced, or removed where the transaction was known to be visible when its event came.
async fn gone_or(house: &House, price: &str) {
    match house.served(&key(1), None).await {
        Err(refusal) => assert_eq!(refusal, Refusal::Missing),
        Ok(body) => {
            let row: serde_json::Value = serde_json::from_str(&body.expect("a row")).expect("JSON");
            assert_eq!(row["price"], price);
            assert!(matches!(house.entry(&key(1)).await.expect("an entry").proof, Proof::Lsn(_)));
        }
    }
}

#[tokio::test]
async fn one_partition_has_ends_positions_and_images() {
    let mut b = Brokered::new(1).await;
    let house = &b.house;
    assert_eq!(house.load(&key(1), PRICE_1).await, Fill::Filled);
    house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    house.drained().await;
    gone_or(house, "12.50").await;

    let pages = ["audio", "video"].map(|c| (CacheKey::new(format!("page:{c}")), Tag::new(format!("products:category={c}"))));
    for (page, tag) in &pages {
        assert_eq!(house.load_tagged(page, tag, "select count(*) from products").await, Fill::Filled);
    }
    house.stage.sql("update products set category = 'video' where sku = 'sku-1'").await;
    house.drained().await;
    for (page, tag) in &pages {
        assert_eq!(house.served(page, Some(tag)).await, Err(Refusal::TagChanged));
    }

    // Offsets follow what is applied and visible, and a restart goes on from there in the same generation.
    house.stage.until("the offsets are kept", async || b.offsets().1.is_some_and(|kept| kept + 20 > b.offsets().0)).await;
    let before = house.control().await.expect("open");
    b.house.invalidator.kill().await.expect("it is killed");
    let house = &b.house;
    house.stage.sql("update products set price = 13.00 where sku = 'sku-1'").await;
    let _again = Process::start(by_kafka(&house.stage, &b.kafka, &b.topic)).expect("the invalidator starts");
    house.drained().await;
    assert_eq!(house.control().await.expect("open").generation, before.generation);
    gone_or(house, "13.00").await;

    house.stage.sql("truncate products").await;
    b.opened_anew(before.generation).await;
}

#[tokio::test]
async fn more_partitions_are_joined_by_markers() {
    let b = Brokered::new(3).await;
    let house = &b.house;
    for n in 1..=3 {
        let sql = format!("select price from products where sku = 'sku-{n}'");
        assert_eq!(house.load(&key(n), &sql).await, Fill::Filled);
    }
    house.stage.sql("update products set price = price + 1").await;
    house.drained().await;
    for n in 1..=3 {
        // Without the end of its commit a row is removed, and not replaced.
        assert_eq!(house.served(&key(n), None).await, Err(Refusal::Missing));
    }
    let before = house.control().await.expect("open").generation;
    house.stage.sql("truncate products").await;
    b.opened_anew(before).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_and_what_it_names_is_gone() {
    let b = Brokered::new(1).await;
    let house = &b.house;
    assert_eq!(house.load(&key(1), PRICE_1).await, Fill::Filled);
    let before = house.control().await.expect("open").generation;
    // Its transaction and its row can be told, but not its tags: everything is emptied.
    let xid: String = sqlx::query_scalar("select pg_current_xact_id()::text").fetch_one(house.stage.pool()).await.expect("an id");
    let id = "0192d3a0-0000-7000-8000-000000000001";
    let value =
        format!(r#"{{"op":"u","after":{{"id":7}},"source":{{"schema":"public","table":"products","txId":{xid},"lsn":9}}}}"#);
    b.produce(format!(r#"{{"id":"{id}"}}"#).as_bytes(), value.as_bytes()).await;
    b.opened_anew(before).await;
    assert_eq!(house.served(&key(1), None).await, Err(Refusal::OtherGeneration));

    // Nothing of it can be told: the cache is closed, and opened when nothing can be missing.
    let before = house.control().await.expect("open").generation;
    b.produce(b"?", b"{\"no\": \"envelope\"").await;
    b.opened_anew(before).await;
    let kept: Vec<(String, Vec<u8>)> = sqlx::query_as("select reason, raw from freshline.dead_letters order by id")
        .fetch_all(house.stage.pool())
        .await
        .expect("the dead letters");
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].0.contains("column id has a value that its type does not have"), "{kept:?}");
    assert_eq!(kept[1].1, b"{\"no\": \"envelope\"");
}

#[tokio::test]
async fn a_standby_takes_over() {
    let mut b = Brokered::new(1).await;
    let mut standby = Process::start(by_kafka(&b.house.stage, &b.kafka, &b.topic)).expect("the standby starts");
    standby.line("waiting for its turn").await;
    b.house.invalidator.kill().await.expect("it is killed");
    b.house.stage.sql("update products set price = 14.00 where sku = 'sku-1'").await;
    b.house.drained().await;
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_a_hole() {
    let b = Brokered::new(1).await;
    let before = b.house.control().await.expect("open").generation;
    let patience = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN));
    b.admin().delete_topics(&[&b.topic], &patience).await.expect("the topic is removed");
    let new = NewTopic::new(&b.topic, 1, TopicReplication::Fixed(1));
    b.house
        .stage
        .until("it is made again", async || {
            // Debezium may be the first.
            let made = b.admin().create_topics([&new], &patience).await.expect("an answer").remove(0);
            matches!(made, Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists)))
        })
        .await;
    b.opened_anew(before).await;
    b.house.stage.sql("update products set price = 15.00 where sku = 'sku-1'").await;
    b.house.drained().await;
}

#[tokio::test]
async fn offsets_out_of_retention_are_a_hole() {
    let mut b = Brokered::new(1).await;
    let before = b.house.control().await.expect("open").generation;
    b.house.stage.until("some offset is kept", async || b.offsets().1.is_some()).await;
    b.house.invalidator.kill().await.expect("it is killed");
    b.house.stage.sql("update products set price = 16.00 where sku = 'sku-1'").await;
    let written = b.offsets().0;
    b.house.stage.until("it is in the topic", async || b.offsets().0 > written + 2).await;
    let mut up_to = TopicPartitionList::new();
    up_to.add_partition_offset(&b.topic, 0, Offset::End).expect("an offset");
    b.admin().delete_records(&up_to, &AdminOptions::new()).await.expect("the records are removed");
    let _again = Process::start(by_kafka(&b.house.stage, &b.kafka, &b.topic)).expect("the invalidator starts");
    b.opened_anew(before).await;
    b.house.drained().await;
}

#[tokio::test]
async fn a_broker_and_a_connector_that_are_killed_lose_nothing() {
    let b = Brokered::new(1).await;
    let before = b.house.control().await.expect("open").generation;
    b.connect.kill().await.expect("it is killed");
    b.house.stage.sql("update products set price = 17.00 where sku = 'sku-1'").await;
    b.connect.start_again().await.expect("it streams again");
    b.house.drained().await;
    b.kafka.kill().await.expect("it is killed");
    b.house.stage.sql("update products set price = 18.00 where sku = 'sku-1'").await;
    b.kafka.start_again().await.expect("it serves again");
    b.house.drained_within(ANSWER_WITHIN).await;
    assert_eq!(b.house.control().await.expect("open").generation, before);
}
