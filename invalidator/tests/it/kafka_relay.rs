//! What only the relay and its topic in Kafka can do wrong.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use freshline::broker::{
    MessageId,
    kafka::{ID_HEADER, NUMBER_HEADER},
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
    Launch, Login, Process, Source, Stage,
    servers::{Home, KAFKA_USER, Kafka, KafkaLogin, KafkaOptions},
};

use crate::{
    hands::{self, admin, client},
    house::House,
    shelf::Shelf,
};

const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Far more rows than fit into what the relay sends at once.
const MANY: &str = "insert into products (sku, name, category, price)
    select 'bulk-' || n, repeat('bulk ', 20) || n, 'bulk', 1 from generate_series(1, 30000) n";

fn topic(house: &House) -> String {
    house.feed.kafka().expect("a house with Kafka").1
}

/// The end of the topic's first partition.
fn end(house: &House) -> i64 {
    let consumer: BaseConsumer = client(house).create().expect("a consumer");
    consumer.fetch_watermarks(&topic(house), 0, ANSWER_WITHIN).expect("the ends").1
}

/// The offset of the first partition that is kept for the invalidator.
fn kept(house: &House) -> Option<i64> {
    hands::kept_offsets(house).elements()[0].offset().to_raw().filter(|offset| *offset >= 0)
}

/// Waits until the relay has written so much.
async fn written(house: &House, records: i64) {
    let consumer: BaseConsumer = client(house).create().expect("a consumer");
    let topic = topic(house);
    let written = async || consumer.fetch_watermarks(&topic, 0, ANSWER_WITHIN).is_ok_and(|(_, end)| end >= records);
    house.stage.until("so much is in the topic", written).await;
}

/// What the first partition holds: the id that the relay gave each record, and the record.
fn records(house: &House) -> Vec<(MessageId, serde_json::Value)> {
    let consumer: BaseConsumer =
        client(house).set("group.id", "a reader").set("enable.partition.eof", "true").create().expect("a consumer");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(&topic(house), 0, Offset::Beginning).expect("an offset");
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

#[tokio::test]
async fn the_topic_is_made_to_keep_what_was_not_read() {
    let shelf = Shelf::new(Source::KafkaRelay).await;
    let (topic, patience) = (topic(&shelf.house), AdminOptions::new());
    let asked = [ResourceSpecifier::Topic(&topic)];
    let told = admin(&shelf.house).describe_configs(&asked, &patience).await.expect("an answer").remove(0).expect("its settings");
    let value = |name: &str| told.get(name).and_then(|entry| entry.value.clone()).expect("a value");
    let settings = ["cleanup.policy", "retention.ms", "retention.bytes", "min.insync.replicas"].map(value);
    assert_eq!(settings, ["delete", "86400000", "-1", "1"]);
    let keyed = records(&shelf.house).into_iter().find(|(_, record)| record["op"] == "c").expect("an insert").1;
    assert_eq!((&keyed["schema"], &keyed["source"]["table"]), (&serde_json::Value::Null, &"products".into()));
}

#[tokio::test]
async fn a_relay_of_many_partitions_that_is_killed_loses_nothing() {
    let mut shelf = Shelf::new(Source::KafkaRelayPartitions).await;
    shelf.house.stage.sql(MANY).await;
    shelf.house.feed.stop_writer().await.expect("killed");
    shelf.house.stage.sql("update products set price = 11.00").await;
    shelf.house.feed.start_writer().await.expect("started again");
    shelf.house.drained_within(ANSWER_WITHIN).await;
    assert!(!shelf.is_hit(1).await, "without an order across partitions a row is removed, and not replaced");
    shelf.assert_kept().await;
}

#[tokio::test]
async fn a_relay_killed_within_a_transaction_leaves_no_gap() {
    let mut shelf = Shelf::new(Source::KafkaRelay).await;
    for _ in 0..3 {
        let before = end(&shelf.house);
        shelf.house.stage.sql(MANY.replace("bulk-", &format!("bulk-{before}-")).as_str()).await;
        written(&shelf.house, before + 500).await;
        shelf.house.feed.stop_writer().await.expect("killed");
        assert!(end(&shelf.house) < before + 30_000, "it was killed too late");
        shelf.house.stage.sql("update products set price = 11.00 where sku like 'sku-%'").await;
        shelf.house.feed.start_writer().await.expect("started again");
    }
    shelf.house.drained_within(ANSWER_WITHIN).await;
    shelf.assert_kept().await;
    let records = records(&shelf.house);
    assert!(records.len() > 90_000, "{}", records.len());
    assert_gapless(&records);
}

#[tokio::test]
async fn what_a_killed_relay_has_written_twice_changes_nothing() {
    let shelf = Shelf::new(Source::KafkaRelay).await;
    let house = &shelf.house;
    for price in ["12.50", "13.00"] {
        house.stage.sql(&format!("update products set price = {price} where sku = 'sku-1'")).await;
    }
    house.drained().await;
    shelf.cached().await;
    let producer: FutureProducer = client(house).create().expect("a producer");
    let again: Vec<_> = records(house).into_iter().filter(|(_, record)| record["op"] == "u").collect();
    assert_eq!(again.len(), 2);
    for (id, record) in again {
        let header = Header { key: ID_HEADER, value: Some(&id.to_string()) };
        let (topic, value) = (topic(house), record.to_string());
        let record = FutureRecord::<(), _>::to(&topic).payload(&value).headers(OwnedHeaders::new().insert(header));
        producer.send(record, ANSWER_WITHIN).await.expect("it is stored");
    }
    let end = end(house);
    house.stage.sql("update products set stock_quantity = 7 where sku = 'sku-2'").await;
    house.stage.until("they are read", async || kept(house).is_some_and(|kept| kept > end)).await;
    assert!(shelf.is_hit(1).await, "what came again is passed over");
    shelf.assert_kept().await;
}

#[tokio::test]
async fn a_kafka_killed_within_a_transaction_leaves_no_gap() {
    let shelf = Shelf::own(Source::KafkaRelay).await;
    let (kafka, before) = (shelf.house.feed.kafka().expect("a house with Kafka").0, end(&shelf.house));
    shelf.house.stage.sql(MANY).await;
    written(&shelf.house, before + 500).await;
    kafka.kill().await.expect("killed");
    shelf.house.stage.sql("update products set price = 11.00 where sku like 'sku-%'").await;
    kafka.start_again().await.expect("started again");
    shelf.house.drained_within(ANSWER_WITHIN * 2).await;
    shelf.assert_kept().await;
    assert_gapless(&records(&shelf.house));
}

#[tokio::test]
async fn a_topic_made_anew_that_has_grown_past_the_kept_offset_is_a_hole() {
    let mut shelf = Shelf::new(Source::KafkaRelay).await;
    shelf.house.stage.until("an offset is kept", async || kept(&shelf.house).is_some()).await;
    shelf.house.invalidator.kill().await.expect("killed");
    let before = kept(&shelf.house).expect("an offset");
    shelf.house.feed.stop_writer().await.expect("killed");
    shelf.house.stage.sql("delete from products where sku = 'sku-1'").await;
    hands::remake_log(&shelf.house).await;
    shelf.house.feed.start_writer().await.expect("started again");
    written(&shelf.house, 1).await;
    while end(&shelf.house) <= before + 10 {
        shelf.house.stage.sql("update products set price = price + 1").await;
    }
    shelf.house.invalidator.restart().await.expect("started again");
    shelf.assert_anew().await;
    shelf.assert_alive().await;
}

/// The next relay finds a topic whose last record is as late as any: only this one knows that others are gone.
#[tokio::test]
async fn a_relay_whose_topic_is_made_anew_under_it_says_that_it_is_a_hole() {
    let mut shelf = Shelf::new(Source::KafkaRelay).await;
    shelf.house.invalidator.kill().await.expect("killed");
    for _ in 0..3 {
        hands::remake_log(&shelf.house).await;
        shelf.house.stage.sql("update products set price = price + 1").await;
        let is_told = async || records(&shelf.house).iter().any(|(_, record)| !record["hole"].is_null());
        shelf.house.stage.until("the hole is told", is_told).await;
    }
}

/// So it is with a topic that was made anew under its reader, and has grown past where that stood.
#[tokio::test]
async fn a_record_that_does_not_follow_the_one_before_it_is_a_hole() {
    let shelf = Shelf::new(Source::KafkaRelay).await;
    let producer: FutureProducer = client(&shelf.house).create().expect("a producer");
    let (id, record) = records(&shelf.house).pop().expect("a record");
    let (topic, id, value) = (topic(&shelf.house), id.to_string(), record.to_string());
    let headers = [(ID_HEADER, id.as_str()), (NUMBER_HEADER, "1")].map(|(key, value)| Header { key, value: Some(value) });
    let headers = headers.into_iter().fold(OwnedHeaders::new(), OwnedHeaders::insert);
    producer.send(FutureRecord::<(), _>::to(&topic).payload(&value).headers(headers), ANSWER_WITHIN).await.expect("it is stored");
    shelf.assert_anew().await;
    shelf.assert_alive().await;
}

/// A relay to this Kafka.
fn relay(stage: &Stage, kafka: &Kafka, topic: &str) -> Launch {
    stage.launch("freshline-relay", Login::Invalidator).variables([
        ("FRESHLINE_RELAY_TO", "kafka".to_owned()),
        ("FRESHLINE_KAFKA_BROKERS", kafka.brokers()),
        ("FRESHLINE_KAFKA_TOPIC", topic.to_owned()),
        ("FRESHLINE_RELAY_SLOT", format!("{}_relay", stage.name())),
        ("FRESHLINE_RELAY_ADDRESS", "127.0.0.1:0".to_owned()),
    ])
}

/// How the relay ends that finds this topic, and what it says.
async fn refused(settings: &[(&str, &str)]) -> (ExitStatus, String) {
    let (stage, kafka) = (Stage::new().await, Kafka::shared().await.expect("Kafka starts"));
    let name = format!("{}.relay", stage.name());
    let topic =
        settings.iter().fold(NewTopic::new(&name, 1, TopicReplication::Fixed(1)), |topic, (name, value)| topic.set(name, value));
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", kafka.brokers()).create().expect("an administrator");
    admin.create_topics([&topic], &AdminOptions::new()).await.expect("an answer").remove(0).expect("it is made");
    let mut relay = Process::start(relay(&stage, kafka, &name)).expect("the relay starts");
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
        relay(&stage, &kafka, "changes").variables(login).variable("FRESHLINE_KAFKA_PASSWORD", password)
    };
    let mut relay = Process::start(with("wrong")).expect("the relay starts");
    assert!(!relay.wait(ANSWER_WITHIN).await.expect("it ends").success());
    let told = relay.lines().join("\n");
    assert!(told.contains("check FRESHLINE_KAFKA_USER") && !told.contains("wrong"), "{told}");
    let mut relay = Process::start(with(kafka.password())).expect("the relay starts");
    relay.line("publishing what Postgres changes").await;
}
