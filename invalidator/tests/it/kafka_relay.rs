//! Changes that come through the relay and Kafka: the same outcomes, and what only a topic can do wrong.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use freshline::{
    broker::{MessageId, kafka::ID_HEADER},
    coherence::{CacheKey, Fill, Generation, Proof, Refusal, Tag},
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Header, Headers, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use stage::{
    Launch, Login, Process, Stage,
    servers::{Home, KAFKA_USER, Kafka, KafkaLogin, KafkaOptions},
};

use crate::house::{House, launch};

const ANSWER_WITHIN: Duration = Duration::from_secs(60);

const INSERT: &str = "insert into products (id, sku, name, category, price) values ('0192d3a0-0000-7000-8000-00000000000";
const PRICE_1: &str = "select price from products where sku = 'sku-1'";

/// Far more rows than fit into what the relay sends at once.
const MANY: &str = "insert into products (sku, name, category, price)
    select 'bulk-' || n, repeat('bulk ', 20) || n, 'bulk', 1 from generate_series(1, 30000) n";

/// Where the topic is.
enum Broker {
    Shared(&'static Kafka),
    Own(Box<Kafka>),
}

impl std::ops::Deref for Broker {
    type Target = Kafka;

    fn deref(&self) -> &Kafka {
        match self {
            Self::Shared(kafka) => kafka,
            Self::Own(kafka) => kafka,
        }
    }
}

impl Broker {
    async fn shared() -> Self {
        Self::Shared(Kafka::shared().await.expect("Kafka starts"))
    }

    async fn own() -> Self {
        let home = Home::scratch().expect("a scratch directory");
        Self::Own(Box::new(Kafka::start(home, KafkaOptions::default()).await.expect("Kafka starts")))
    }
}

/// A house whose changes come through a relay and a topic.
struct Relayed {
    house: House,
    kafka: Broker,
    relay: Process,
}

fn topic(stage: &Stage) -> String {
    format!("{}.relay", stage.name())
}

fn relay(stage: &Stage, kafka: &Kafka, partitions: u16) -> Launch {
    stage.launch("freshline-relay", Login::Invalidator).variables([
        ("FRESHLINE_RELAY_TO", "kafka".to_owned()),
        ("FRESHLINE_KAFKA_BROKERS", kafka.brokers()),
        ("FRESHLINE_KAFKA_TOPIC", topic(stage)),
        ("FRESHLINE_KAFKA_PARTITIONS", partitions.to_string()),
        ("FRESHLINE_RELAY_SLOT", format!("{}_relay", stage.name())),
        ("FRESHLINE_RELAY_ADDRESS", "127.0.0.1:0".to_owned()),
    ])
}

fn by_kafka(stage: &Stage, kafka: &Kafka) -> Launch {
    launch(stage).variables([
        ("FRESHLINE_SOURCE", "kafka".to_owned()),
        ("FRESHLINE_KAFKA_BROKERS", kafka.brokers()),
        ("FRESHLINE_KAFKA_TOPICS", topic(stage)),
        ("FRESHLINE_KAFKA_GROUP", stage.name().to_owned()),
        // The relay's numbers are read as the relay writes them.
        ("FRESHLINE_KAFKA_DECIMALS", "precise".to_owned()),
    ])
}

impl Relayed {
    async fn new(kafka: Broker, partitions: u16) -> Self {
        let stage = Stage::new().await;
        let mut relay = Process::start(relay(&stage, &kafka, partitions)).expect("the relay starts");
        relay.line("publishing what Postgres changes").await;
        let launch = by_kafka(&stage, &kafka);
        let house = House::with(stage, launch).await;
        for n in 1..=3 {
            house.stage.sql(&format!("{INSERT}{n}', 'sku-{n}', 'thing {n}', 'audio', 10.00)")).await;
        }
        house.drained().await;
        Self { house, kafka, relay }
    }

    async fn shared() -> Self {
        Self::new(Broker::shared().await, 1).await
    }

    fn topic(&self) -> String {
        topic(&self.house.stage)
    }

    fn consumer(&self) -> BaseConsumer {
        client(&self.kafka).set("group.id", self.house.stage.name()).create().expect("a consumer")
    }

    /// The end of the topic's first partition, and the offset that is kept for the invalidator.
    fn offsets(&self) -> (i64, Option<i64>) {
        let consumer = self.consumer();
        let (_, end) = consumer.fetch_watermarks(&self.topic(), 0, ANSWER_WITHIN).expect("the ends");
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&self.topic(), 0);
        let kept = consumer.committed_offsets(asked, ANSWER_WITHIN).expect("the offsets");
        let kept = kept.find_partition(&self.topic(), 0).and_then(|kept| kept.offset().to_raw()).filter(|offset| *offset >= 0);
        (end, kept)
    }

    /// Waits until the invalidator is open under another generation than this.
    async fn opened_anew(&self, before: Generation) {
        let is_anew =
            async || self.house.control().await.is_some_and(|control| control.generation != before && control.at.as_micros() > 0);
        self.house.stage.until("a new generation", is_anew).await;
    }

    async fn generation(&self) -> Generation {
        self.house.opened().await.generation
    }

    /// That a change is seen, through all that stands between.
    async fn assert_alive(&self) {
        assert_eq!(self.house.load(&key(2), "select price from products where sku = 'sku-2'").await, Fill::Filled);
        self.house.stage.sql("update products set price = price + 1, category = 'video' where sku = 'sku-2'").await;
        self.house.drained_within(ANSWER_WITHIN).await;
        match self.house.served(&key(2), None).await {
            Ok(body) => assert!(body.as_ref().is_some_and(|body| body.contains("video")), "{body:?}"),
            Err(refusal) => assert_eq!(refusal, Refusal::Missing),
        }
    }

    async fn delete_topic(&self) {
        let patience = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN));
        admin(&self.kafka).delete_topics(&[&self.topic()], &patience).await.expect("an answer").remove(0).expect("it is removed");
    }

    /// Waits until the relay has made the topic and written so much to it.
    async fn written(&self, records: i64) {
        let (consumer, topic) = (self.consumer(), self.topic());
        let written = async || consumer.fetch_watermarks(&topic, 0, ANSWER_WITHIN).is_ok_and(|(_, end)| end >= records);
        self.house.stage.until("so much is in the topic", written).await;
    }

    /// What the first partition holds: the id that the relay gave each record, and the record.
    fn records(&self) -> Vec<(MessageId, serde_json::Value)> {
        let consumer: BaseConsumer =
            client(&self.kafka).set("group.id", "a reader").set("enable.partition.eof", "true").create().expect("a consumer");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&self.topic(), 0, Offset::Beginning).expect("an offset");
        consumer.assign(&from).expect("assigned");
        let (mut records, since) = (Vec::new(), Instant::now());
        loop {
            // It comes back for other things as well.
            let Some(polled) = consumer.poll(ANSWER_WITHIN) else {
                assert!(since.elapsed() < ANSWER_WITHIN, "the end of the topic has not come");
                continue;
            };
            match polled {
                Ok(record) => {
                    let id = record.headers().expect("headers").iter().find(|header| header.key == ID_HEADER).expect("an id");
                    let id = std::str::from_utf8(id.value.expect("an id")).expect("text").parse().expect("an id");
                    records.push((id, serde_json::from_slice(record.payload().expect("a value")).expect("JSON")));
                }
                Err(KafkaError::PartitionEOF(_)) => return records,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Before each record stands all that comes before it in the log, whatever came again.
fn assert_gapless(records: &[(MessageId, serde_json::Value)]) {
    let (mut last, mut is_ended) = (None, true);
    for (id, record) in records.iter().filter(|(id, _)| id.ordinal > 0) {
        match last {
            Some(last) if id.place() <= last => continue,
            Some((position, ordinal)) if position == id.position => assert_eq!(id.ordinal, ordinal + 1, "{record}"),
            _ => assert!(is_ended && id.ordinal == 1, "{record} follows what has not ended"),
        }
        last = Some(id.place());
        is_ended = record["source"]["last"] == true || record["status"] == "END";
    }
}

fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers());
    config
}

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    client(kafka).create().expect("an administrator")
}

fn key(n: u32) -> CacheKey {
    CacheKey::new(format!("products:0192d3a0-0000-7000-8000-00000000000{n}"))
}

#[tokio::test]
async fn the_relays_topic_has_ends_positions_and_images() {
    let r = Relayed::shared().await;
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
async fn the_topic_is_made_to_keep_what_was_not_read() {
    let r = Relayed::shared().await;
    let (topic, patience) = (r.topic(), AdminOptions::new());
    let asked = [ResourceSpecifier::Topic(&topic)];
    let told = admin(&r.kafka).describe_configs(&asked, &patience).await.expect("an answer").remove(0).expect("its settings");
    let value = |name: &str| told.get(name).and_then(|entry| entry.value.clone()).expect("a value");
    let settings = ["cleanup.policy", "retention.ms", "retention.bytes", "min.insync.replicas"].map(value);
    assert_eq!(settings, ["delete", "86400000", "-1", "1"]);
    let keyed = r.records().into_iter().find(|(_, record)| record["op"] == "c").expect("an insert").1;
    assert_eq!((&keyed["schema"], &keyed["source"]["table"]), (&serde_json::Value::Null, &"products".into()));
}

#[tokio::test]
async fn more_partitions_are_joined_by_heartbeats() {
    let r = Relayed::new(Broker::shared().await, 3).await;
    let house = &r.house;
    for n in 1..=3 {
        let sql = format!("select price from products where sku = 'sku-{n}'");
        assert_eq!(house.load(&key(n), &sql).await, Fill::Filled);
    }
    house.stage.sql("update products set price = price + 1").await;
    house.drained().await;
    for n in 1..=3 {
        // Without an order across partitions a row is removed, and not replaced.
        assert_eq!(house.served(&key(n), None).await, Err(Refusal::Missing));
    }
    let before = r.generation().await;
    house.stage.sql(MANY).await;
    r.assert_alive().await;
    assert_eq!(r.generation().await, before);
    house.stage.sql("truncate products").await;
    r.opened_anew(before).await;
}

#[tokio::test]
async fn a_relay_of_many_partitions_that_is_killed_loses_nothing() {
    let mut r = Relayed::new(Broker::shared().await, 3).await;
    let before = r.generation().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.house.stage.sql(MANY).await;
    r.relay.kill().await.expect("killed");
    r.house.stage.sql("update products set price = 11.00").await;
    r.relay.restart().await.expect("started again");
    r.assert_alive().await;
    assert_eq!(r.house.served(&key(1), None).await, Err(Refusal::Missing));
    assert_eq!(r.generation().await, before);
}

#[tokio::test]
async fn truncate_and_ddl_come_through_the_topic() {
    let r = Relayed::shared().await;
    let before = r.generation().await;
    r.house.stage.sql("alter table products alter column stock_quantity type bigint").await;
    r.opened_anew(before).await;
    let before = r.generation().await;
    r.house.stage.sql("truncate products").await;
    r.opened_anew(before).await;
}

#[tokio::test]
async fn a_killed_invalidator_goes_on_in_the_relays_topic() {
    let mut r = Relayed::shared().await;
    let before = r.generation().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.house.stage.until("an offset is kept", async || r.offsets().1.is_some()).await;
    r.house.invalidator.kill().await.expect("killed");
    r.house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    r.house.invalidator.restart().await.expect("started again");
    r.house.drained().await;
    let body = r.house.served(&key(1), None).await.expect("served").expect("a row");
    assert!(body.contains("\"price\":\"12.50\""), "{body}");
    assert_eq!(r.generation().await, before, "nothing was lost, so nothing is given up");
}

#[tokio::test]
async fn a_relay_killed_within_a_transaction_leaves_no_gap() {
    let mut r = Relayed::shared().await;
    let before = r.generation().await;
    for _ in 0..3 {
        let written = r.offsets().0;
        r.house.stage.sql(MANY.replace("bulk-", &format!("bulk-{written}-")).as_str()).await;
        r.written(written + 500).await;
        r.relay.kill().await.expect("killed");
        assert!(r.offsets().0 < written + 30_000, "it was killed too late");
        r.house.stage.sql("update products set price = 11.00 where sku like 'sku-%'").await;
        r.relay.restart().await.expect("started again");
    }
    r.assert_alive().await;
    assert_eq!(r.generation().await, before);
    let records = r.records();
    assert!(records.len() > 90_000, "{}", records.len());
    assert_gapless(&records);
}

#[tokio::test]
async fn what_a_killed_relay_has_written_twice_changes_nothing() {
    let r = Relayed::shared().await;
    let before = r.generation().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    for price in ["12.50", "13.00"] {
        r.house.stage.sql(&format!("update products set price = {price} where sku = 'sku-1'")).await;
    }
    r.house.drained().await;
    let entry = async || r.house.entry(&key(1)).await.map(|entry| (entry.id, entry.proof));
    let replaced = entry().await.expect("an entry");
    let producer: FutureProducer = client(&r.kafka).create().expect("a producer");
    let again: Vec<_> = r.records().into_iter().filter(|(_, record)| record["op"] == "u").collect();
    assert_eq!(again.len(), 2);
    for (id, record) in again {
        let header = Header { key: ID_HEADER, value: Some(&id.to_string()) };
        let (topic, value) = (r.topic(), record.to_string());
        let record = FutureRecord::<(), _>::to(&topic).payload(&value).headers(OwnedHeaders::new().insert(header));
        producer.send(record, ANSWER_WITHIN).await.expect("it is stored");
    }
    let end = r.offsets().0;
    r.house.stage.sql("update products set price = 11.00 where sku = 'sku-2'").await;
    r.house.stage.until("they are read", async || r.offsets().1.is_some_and(|kept| kept > end)).await;
    assert_eq!(entry().await.expect("an entry"), replaced);
    assert_eq!(r.generation().await, before);
}

#[tokio::test]
async fn a_kafka_killed_within_a_transaction_leaves_no_gap() {
    let r = Relayed::new(Broker::own().await, 1).await;
    let before = r.generation().await;
    let written = r.offsets().0;
    r.house.stage.sql(MANY).await;
    r.written(written + 500).await;
    r.kafka.kill().await.expect("killed");
    r.house.stage.sql("update products set price = 11.00 where sku like 'sku-%'").await;
    r.kafka.start_again().await.expect("started again");
    r.assert_alive().await;
    assert_eq!(r.generation().await, before);
    assert_gapless(&r.records());
}

#[tokio::test]
async fn a_slot_dropped_under_the_relay_to_kafka_is_a_hole() {
    let mut r = Relayed::shared().await;
    let before = r.generation().await;
    r.relay.kill().await.expect("killed");
    let drop = format!("select count(pg_drop_replication_slot('{}_relay'))", r.house.stage.name());
    let dropped = async || sqlx::query(sqlx::AssertSqlSafe(drop.as_str())).execute(r.house.stage.pool()).await.is_ok();
    r.house.stage.until("the slot is dropped", dropped).await;
    r.house.stage.sql("update products set price = 11.00").await;
    r.relay.restart().await.expect("started again");
    r.opened_anew(before).await;
    r.assert_alive().await;
}

#[tokio::test]
async fn a_topic_that_is_deleted_under_the_relay_is_a_hole() {
    let r = Relayed::shared().await;
    let before = r.generation().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.delete_topic().await;
    r.house.stage.sql("update products set price = 11.00").await;
    r.opened_anew(before).await;
    // What the slot still had has come again, and may have removed it.
    assert!(matches!(r.house.served(&key(1), None).await, Err(Refusal::OtherGeneration | Refusal::Missing)));
    r.assert_alive().await;
}

#[tokio::test]
async fn a_topic_made_anew_that_has_grown_past_the_kept_offset_is_a_hole() {
    let mut r = Relayed::shared().await;
    let before = r.generation().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.house.stage.until("an offset is kept", async || r.offsets().1.is_some()).await;
    r.house.invalidator.kill().await.expect("killed");
    let kept = r.offsets().1.expect("an offset");
    r.relay.kill().await.expect("killed");
    r.delete_topic().await;
    r.house.stage.sql("delete from products where sku = 'sku-1'").await;
    let made = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN));
    let (topic, admin) = (r.topic(), admin(&r.kafka));
    let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    let is_made = async || admin.create_topics([&new], &made).await.is_ok_and(|made| made[0].is_ok());
    r.house.stage.until("it is made again", is_made).await;
    r.relay.restart().await.expect("started again");
    r.written(1).await;
    while r.offsets().0 <= kept + 10 {
        r.house.stage.sql("update products set price = price + 1").await;
    }
    r.house.invalidator.restart().await.expect("started again");
    r.opened_anew(before).await;
    assert_eq!(r.house.served(&key(1), None).await, Err(Refusal::OtherGeneration));
    r.assert_alive().await;
}

#[tokio::test]
async fn a_topic_made_anew_while_nobody_reads_it_is_a_hole() {
    let mut r = Relayed::shared().await;
    let before = r.generation().await;
    assert_eq!(r.house.load(&key(1), PRICE_1).await, Fill::Filled);
    r.house.invalidator.pause().expect("paused");
    let read = r.offsets().0;
    r.delete_topic().await;
    r.house.stage.sql("delete from products where sku = 'sku-1'").await;
    // The relay makes it again, and comes past where it was read.
    r.house.stage.sql("update products set price = price + 1").await;
    r.relay.line_within(ANSWER_WITHIN, "the broker lacks changes that it had").await;
    while r.offsets().0 <= read + 10 {
        r.house.stage.sql("update products set price = price + 1").await;
    }
    r.house.invalidator.resume().expect("resumed");
    r.opened_anew(before).await;
    assert_eq!(r.house.served(&key(1), None).await, Err(Refusal::OtherGeneration));
    r.assert_alive().await;
}

#[tokio::test]
async fn a_topic_whose_records_were_removed_is_a_hole() {
    let mut r = Relayed::shared().await;
    let before = r.generation().await;
    r.house.invalidator.kill().await.expect("killed");
    let written = r.offsets().0;
    r.house.stage.sql("update products set price = 16.00 where sku = 'sku-1'").await;
    r.written(written + 1).await;
    let mut up_to = TopicPartitionList::new();
    up_to.add_partition_offset(&r.topic(), 0, Offset::End).expect("an offset");
    admin(&r.kafka).delete_records(&up_to, &AdminOptions::new()).await.expect("the records are removed");
    r.house.invalidator.restart().await.expect("started again");
    r.opened_anew(before).await;
    r.assert_alive().await;
}

/// How the relay ends that finds this topic, and what it says.
async fn refused(settings: &[(&str, &str)]) -> (ExitStatus, String) {
    let (stage, kafka) = (Stage::new().await, Kafka::shared().await.expect("Kafka starts"));
    let name = topic(&stage);
    let topic =
        settings.iter().fold(NewTopic::new(&name, 1, TopicReplication::Fixed(1)), |topic, (name, value)| topic.set(name, value));
    admin(kafka).create_topics([&topic], &AdminOptions::new()).await.expect("an answer").remove(0).expect("it is made");
    let mut relay = Process::start(relay(&stage, kafka, 1)).expect("the relay starts");
    let status = relay.wait(ANSWER_WITHIN).await.expect("it ends");
    (status, relay.lines().join("\n"))
}

#[tokio::test]
async fn a_kafka_topic_that_would_lose_changes_is_refused() {
    let (status, told) = refused(&[("cleanup.policy", "compact"), ("retention.ms", "60000")]).await;
    assert!(!status.success());
    for said in ["cleanup.policy has to be delete", "retention.ms has to be 600000", "kafka-configs.sh --alter"] {
        assert!(told.contains(said), "{told}");
    }
}

#[tokio::test]
async fn a_relay_logs_in_to_kafka_and_says_so_where_it_cannot() {
    let home = Home::scratch().expect("a scratch directory");
    let options = KafkaOptions { login: KafkaLogin::Password, ..KafkaOptions::default() };
    let (stage, kafka) = (Stage::new().await, Kafka::start(home, options).await.expect("Kafka starts"));
    let with = |password: &str| {
        let login = [("FRESHLINE_KAFKA_SASL", "scram-sha-256"), ("FRESHLINE_KAFKA_USER", KAFKA_USER)];
        relay(&stage, &kafka, 1).variables(login).variable("FRESHLINE_KAFKA_PASSWORD", password)
    };
    let mut relay = Process::start(with("wrong")).expect("the relay starts");
    assert!(!relay.wait(ANSWER_WITHIN).await.expect("it ends").success());
    let told = relay.lines().join("\n");
    assert!(told.contains("check FRESHLINE_KAFKA_USER") && !told.contains("wrong"), "{told}");
    let mut relay = Process::start(with(kafka.password())).expect("the relay starts");
    relay.line("publishing what Postgres changes").await;
}
