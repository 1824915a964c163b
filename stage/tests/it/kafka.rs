//! A private Kafka, and Debezium on Connect that writes to it.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::Value;
use stage::servers::{Connect, ConnectOptions, Connector, Home, KAFKA_USER, Kafka, KafkaLogin, KafkaOptions, Topology};
use stage::{Stage, until};

/// A client's own patience with a broker that is coming back.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How often two things are done at once to one Connect. With its own `resume` the first time is the last.
const ROUNDS: usize = 3;

fn home() -> Home {
    Home::scratch().expect("a scratch directory")
}

async fn shared() -> &'static Kafka {
    Kafka::shared().await.expect("Kafka starts")
}

async fn start() -> Kafka {
    Kafka::start(home(), KafkaOptions::default()).await.expect("Kafka starts")
}

fn config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers()).set("group.id", "test").set("reconnect.backoff.max.ms", "200");
    config
}

async fn produce(kafka: &Kafka, topic: &str, text: &str) {
    let producer: FutureProducer = config(kafka).create().expect("a producer");
    let record = FutureRecord::<(), str>::to(topic).payload(text);
    producer.send(record, ANSWER_MAX).await.expect("it is acknowledged");
}

/// All values that a topic's first partition holds at the moment.
fn held(kafka: &Kafka, topic: &str) -> Result<Vec<String>> {
    let consumer: BaseConsumer = config(kafka).create()?;
    let (_, end) = consumer.fetch_watermarks(topic, 0, ANSWER_MAX)?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    let mut values = Vec::new();
    let mut next = 0;
    while next < end {
        let Some(message) = consumer.poll(ANSWER_MAX) else { break };
        let message = message?;
        next = message.offset() + 1;
        values.extend(message.payload().map(|payload| String::from_utf8_lossy(payload).into_owned()));
    }
    Ok(values)
}

/// The names of all topics.
fn topics(kafka: &Kafka) -> Result<Vec<String>> {
    let consumer: BaseConsumer = config(kafka).create()?;
    let metadata = consumer.fetch_metadata(None, ANSWER_MAX)?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

#[tokio::test]
async fn what_was_produced_is_consumed_outlives_a_kill_and_goes_with_its_topic() {
    let kafka = start().await;
    produce(&kafka, "kept", "before").await;
    let (brokers, pid) = (kafka.brokers(), kafka.pid().await);
    kafka.restart().await.expect("it starts again");
    assert_eq!(kafka.brokers(), brokers);
    assert_ne!(kafka.pid().await, pid);
    produce(&kafka, "kept", "after").await;
    assert_eq!(held(&kafka, "kept").expect("values"), ["before", "after"]);

    let admin: AdminClient<_> = config(&kafka).create().expect("an administrator");
    let patience = AdminOptions::new().operation_timeout(Some(ANSWER_MAX));
    admin.delete_topics(&["kept"], &patience).await.expect("the topic is removed");
    until("it is gone", async || topics(&kafka).map(|topics| !topics.contains(&"kept".to_owned()))).await;
    let new = NewTopic::new("kept", 1, TopicReplication::Fixed(1));
    admin.create_topics([&new], &patience).await.expect("an answer").remove(0).expect("it is made again");
    produce(&kafka, "kept", "anew").await;
    assert_eq!(held(&kafka, "kept").expect("values"), ["anew"]);
}

#[tokio::test]
async fn data_is_found_again_on_another_port() {
    let (home, elsewhere) = (home(), std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let again = || Home::at(home.path()).expect("the same directory");
    let kafka = Kafka::start(again(), KafkaOptions::default()).await.expect("Kafka starts");
    produce(&kafka, "kept", "before").await;
    kafka.stop().await.expect("it stops in order");
    let port = Some(elsewhere.local_addr().expect("its address").port());
    let first = kafka.port();
    drop((kafka, elsewhere));
    let kafka = Kafka::start(again(), KafkaOptions { port, ..KafkaOptions::default() }).await.expect("Kafka starts");
    assert_ne!(kafka.port(), first);
    assert_eq!(held(&kafka, "kept").expect("values"), ["before"]);
}

#[tokio::test]
async fn a_password_is_asked_for_where_that_is_wanted() {
    let options = KafkaOptions { login: KafkaLogin::Password, ..KafkaOptions::default() };
    let kafka = Kafka::start(home(), options).await.expect("Kafka starts");
    let ask = |mechanism: &str, password: &str, patience: Duration| -> Result<()> {
        let mut config = config(&kafka);
        config.set("security.protocol", "sasl_plaintext").set("sasl.mechanism", mechanism);
        config.set("sasl.username", KAFKA_USER).set("sasl.password", password);
        let consumer: BaseConsumer = config.create()?;
        consumer.fetch_metadata(None, patience)?;
        Ok(())
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        ask(mechanism, kafka.password(), ANSWER_MAX).expect("who has it comes in");
        ask(mechanism, "another", Duration::from_secs(2)).expect_err("who has not does not");
    }
}

/// The values of a topic, each parsed.
fn events(kafka: &Kafka, topic: &str) -> Result<Vec<Value>> {
    held(kafka, topic)?.iter().map(|text| Ok(serde_json::from_str(text)?)).collect()
}

/// A row change and what Debezium says around it, each by the word that tells it from the others.
fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["op"].as_str().or(event["status"].as_str())).collect()
}

const INSERT: &str = "insert into products (sku, name, category, price) values ('a', 'b', 'c', 1)";

#[tokio::test]
async fn a_row_change_arrives_in_one_topic_between_begin_and_end_also_after_a_kill() {
    let (t, kafka) = (Stage::new().await, shared().await);
    let connector = Connector::of(t.postgres(), t.name(), t.name());
    let topic = connector.topic().expect("one topic");
    let connect = Connect::start(home(), &kafka.brokers(), vec![connector], ConnectOptions::default()).await.expect("it streams");
    t.sql(INSERT).await;
    until("the row is there", async || events(kafka, &topic).map(|events| kinds(&events) == ["BEGIN", "c", "END"])).await;
    until("a heartbeat", async || events(kafka, &topic).map(|events| events.iter().any(|event| event["ts_ms"].is_i64()))).await;

    connect.kill().await.expect("it is killed");
    t.sql("select pg_logical_emit_message(true, 'freshline.test', 'hello')").await;
    connect.start_again().await.expect("it streams again");
    until("the message is there", async || events(kafka, &topic).map(|events| kinds(&events).contains(&"m"))).await;
}

#[tokio::test]
async fn each_table_may_have_its_topic() {
    let (t, kafka) = (Stage::new().await, shared().await);
    let connector = Connector { topology: Topology::TopicPerTable, ..Connector::of(t.postgres(), t.name(), t.name()) };
    let _connect = Connect::start(home(), &kafka.brokers(), vec![connector], ConnectOptions::default()).await.expect("it streams");
    t.sql(INSERT).await;
    let (rows, transactions) = (format!("{}.public.products", t.name()), format!("{}.transaction", t.name()));
    until("the row is there", async || events(kafka, &rows).map(|events| kinds(&events) == ["c"])).await;
    until("and its transaction", async || events(kafka, &transactions).map(|events| kinds(&events) == ["BEGIN", "END"])).await;
}

#[tokio::test]
async fn a_connector_that_fails_is_an_error_with_its_reason() {
    let (t, kafka) = (Stage::new().await, shared().await);
    let connector = Connector { publication: "nowhere".into(), ..Connector::of(t.postgres(), t.name(), t.name()) };
    let failed = Connect::start(home(), &kafka.brokers(), vec![connector], ConnectOptions::default()).await;
    let error = failed.err().expect("there is no such publication").to_string();
    assert!(error.contains("Publication autocreation is disabled, please create one"), "{error}");
}

#[tokio::test]
async fn a_connector_is_started_again_while_another_goes() {
    let (t, other) = (Stage::new().await, Stage::new().await);
    let connect = Connect::start(home(), &shared().await.brokers(), Vec::new(), ConnectOptions::default()).await;
    let connect = Arc::new(connect.expect("it starts"));
    let [stays, goes] = [&t, &other].map(|stage| Connector::of(stage.postgres(), stage.name(), stage.name()));
    connect.add(&stays).await.expect("it runs");
    for _ in 0..ROUNDS {
        connect.add(&goes).await.expect("it runs");
        connect.stop_one(&stays.name).await.expect("it stops");
        let (worker, name) = (Arc::clone(&connect), goes.name.clone());
        let gone = tokio::task::spawn_blocking(move || worker.remove(&name));
        connect.start_one(&stays).await.expect("it runs again");
        gone.await.expect("no panic").expect("removed");
    }
}
