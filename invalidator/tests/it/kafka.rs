//! Changes that come through Debezium and Kafka: the same outcomes, and what only a broker can do wrong.

use std::time::Duration;

use freshline::coherence::{CacheKey, Fill, Proof, Refusal, Tag};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
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

#[tokio::test]
async fn one_partition_has_ends_positions_and_images() {
    let b = Brokered::new(1).await;
    let house = &b.house;
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

    // Offsets follow what is applied and visible, and a restart goes on from there in the same generation.
    house.stage.until("the offsets are kept", async || b.offsets().1.is_some_and(|kept| kept + 20 > b.offsets().0)).await;
    let before = house.control().await.expect("open");
    house.invalidator.kill().await;
    house.stage.sql("update products set price = 13.00 where sku = 'sku-1'").await;
    let _again = Process::start(by_kafka(&house.stage, &b.kafka, &b.topic)).expect("the invalidator starts");
    house.drained().await;
    assert_eq!(house.control().await.expect("open").generation, before.generation);
    let body = house.served(&key(1), None).await.expect("served").expect("a row");
    assert!(body.contains("13.00"), "{body}");

    house.stage.sql("truncate products").await;
    b.opened_anew(before.generation).await;
}
