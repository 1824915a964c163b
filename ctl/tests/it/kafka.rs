//! `doctor` and `status` where changes come through Debezium and Kafka.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier},
    client::DefaultClientContext,
};
use stage::{
    Login, Process, Stage,
    servers::{Connect, ConnectOptions, Connector, Home, Kafka, Topology},
};

use crate::house::{House, Ran, assert_found, ended, findings, launch};

/// A client's own patience with the broker.
const ANSWER_MAX: Duration = Duration::from_secs(60);

struct Brokered {
    house: House,
    kafka: &'static Kafka,
    _connect: Connect,
    topic: String,
}

impl Brokered {
    async fn new() -> Self {
        let (stage, kafka) = (Stage::new().await, Kafka::shared().await.expect("Kafka starts"));
        let connector = Connector::of(stage.postgres(), stage.name(), &format!("{}_dbz", stage.name()));
        let topic = connector.topic().expect("one topic");
        let connect = connected(kafka, connector).await;
        let mut source = source(&stage, kafka, &topic).to_vec();
        source.push(("FRESHLINE_KAFKA_CONNECT_URL", format!("http://127.0.0.1:{}", connect.port())));
        Self { house: House::by(stage, &source).await, kafka, _connect: connect, topic }
    }

    async fn doctor(&self) -> Ran {
        self.house.run(&["doctor", "--json"]).await
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", self.kafka.brokers()).create().expect("an administrator")
    }

    /// Gives the topic these settings and no others.
    async fn set(&self, settings: &[(&str, &str)]) {
        let mut config = AlterConfig::new(ResourceSpecifier::Topic(&self.topic));
        for (name, value) in settings {
            config = config.set(name, value);
        }
        let patience = AdminOptions::new().operation_timeout(Some(ANSWER_MAX));
        self.admin().alter_configs([&config], &patience).await.expect("an answer").remove(0).expect("it is set");
    }
}

async fn connected(kafka: &Kafka, connector: Connector) -> Connect {
    let home = Home::scratch().expect("a scratch directory");
    Connect::start(home, &kafka.brokers(), vec![connector], ConnectOptions::default()).await.expect("it streams")
}

fn source(stage: &Stage, kafka: &Kafka, topics: &str) -> [(&'static str, String); 4] {
    [
        ("FRESHLINE_SOURCE", "kafka".to_owned()),
        ("FRESHLINE_KAFKA_BROKERS", kafka.brokers()),
        ("FRESHLINE_KAFKA_TOPICS", topics.to_owned()),
        ("FRESHLINE_KAFKA_GROUP", stage.name().to_owned()),
    ]
}

#[tokio::test]
async fn a_sound_kafka_has_nothing_to_mend_its_place_is_shown_and_what_loses_changes_is_found() {
    let b = Brokered::new().await;
    let is_kept = async || {
        let told = b.house.run(&["status", "--json"]).await.json();
        told["broker"]["kafka"]["topics"][0]["partitions"][0]["committed"].is_i64()
    };
    b.house.stage.until("an offset is kept", is_kept).await;
    let ran = b.doctor().await;
    assert_eq!(findings(&ran, "problem"), Vec::<String>::new());
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert_found(&ran, "ok", &["one topic, one partition"]);
    assert_found(&ran, "ok", &["messages of", "are not acknowledged"]);
    assert_found(&ran, "ok", &["read for the topics", "_dbz"]);
    assert_found(&ran, "ok", &["_dbz runs, and tells all that is needed"]);
    let text = b.house.run(&["status"]).await.text;
    assert!(text.contains(&b.topic) && text.contains("acknowledged") && text.contains("nothing older than"), "{text}");

    b.set(&[("cleanup.policy", "compact"), ("retention.ms", "60000"), ("max.message.bytes", "1000000")]).await;
    let ran = b.doctor().await;
    assert_found(&ran, "problem", &["cleanup.policy has to be delete", "cleanup.policy=delete"]);
    assert_found(&ran, "problem", &["600000 at least", "retention.ms="]);
    assert_found(&ran, "note", &["a longer row stops the connector", "max.message.bytes="]);
    assert_eq!(ran.code, Some(1));
    b.set(&[]).await;

    let patience = AdminOptions::new().operation_timeout(Some(ANSWER_MAX));
    let mut b = b;
    b.house.invalidator.stop(stage::WAIT_MAX).await.expect("it ends");
    b.admin().create_partitions([&NewPartitions::new(&b.topic, 2)], &patience).await.expect("an answer").remove(0).expect("made");
    let is_found = async || {
        findings(&b.doctor().await, "problem").iter().any(|found| found.contains("partition 1 of") && found.contains("is new"))
    };
    b.house.stage.until("the new partition is found", is_found).await;
    assert_found(&b.doctor().await, "ok", &["several partitions", "last marker"]);
}

#[tokio::test]
async fn under_kafka_a_topic_for_each_table_is_told_with_what_to_change() {
    let (stage, kafka) = (Stage::new().await, Kafka::shared().await.expect("Kafka starts"));
    let connector = Connector { topology: Topology::TopicPerTable, ..Connector::of(stage.postgres(), stage.name(), stage.name()) };
    let _connect = connected(kafka, connector).await;
    stage.sql("insert into products (sku, name, category, price) values ('A', 'a', 'audio', 1)").await;
    let topics = ["public.products", "transaction"].map(|topic| format!("{}.{topic}", stage.name())).join(",");
    let source = source(&stage, kafka, &topics);
    let run = async |arguments: &[&str]| ended(launch(&stage, arguments).variables(source.clone())).await;
    let is_there = async || {
        let told = run(&["status", "--json"]).await.json()["broker"]["kafka"]["topics"].clone();
        told.as_array().is_some_and(|topics| topics.iter().all(|topic| topic["partitions"][0].is_object()))
    };
    stage.until("the topics are there", is_there).await;
    let ran = run(&["doctor", "--json"]).await;
    assert_found(&ran, "note", &["a topic for each table", "own age only", "RegexRouter"]);
    assert_found(&ran, "note", &["nothing of", "is acknowledged yet"]);
    let status = run(&["status"]).await.text;
    assert!(status.contains("own age only") && status.contains("RegexRouter"), "{status}");
    assert_eq!(run(&["status", "--json"]).await.json()["broker"]["kafka"]["topology"], "topic_per_table");

    // It works, and nothing is to be mended: no more can be proven of such topics.
    let invalidator = stage.launch("freshline-invalidator", Login::Invalidator).variables(source.clone());
    let _invalidator = Process::start(invalidator.variable("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0")).expect("it starts");
    stage.until("the cache is open", async || run(&["status", "--json"]).await.json()["cache"]["open"] == 1).await;
    let ran = run(&["doctor", "--json"]).await;
    assert_eq!(findings(&ran, "problem"), Vec::<String>::new());
    assert_found(&ran, "note", &["nothing is proven yet", "values are served while they are younger"]);
}

#[tokio::test]
async fn a_kafka_or_a_topic_that_is_not_there_is_told_with_its_setting() {
    let (stage, kafka) = (Stage::new().await, Kafka::shared().await.expect("Kafka starts"));
    let missing = source(&stage, kafka, &format!("{}.nowhere", stage.name()));
    let ran = ended(launch(&stage, &["doctor", "--json"]).variables(missing)).await;
    assert_found(&ran, "problem", &["there is no topic", "FRESHLINE_KAFKA_TOPICS"]);
    assert_found(&ran, "problem", &["nobody reads a slot of this database", "start the Debezium connector"]);
    let mut away = source(&stage, kafka, "t");
    away[1].1 = "127.0.0.1:1".to_owned();
    let connect = ("FRESHLINE_KAFKA_CONNECT_URL", "http://u:hunter2@127.0.0.1:1".to_owned());
    let ran = ended(launch(&stage, &["doctor", "--json"]).variables(away).variable(connect.0, connect.1)).await;
    assert_found(&ran, "unseen", &["no broker at 127.0.0.1:1", "FRESHLINE_KAFKA_BROKERS"]);
    assert_found(&ran, "unseen", &["Kafka Connect cannot be asked", "FRESHLINE_KAFKA_CONNECT_URL"]);
    assert!(ran.code == Some(2) && !ran.text.contains("hunter2"), "{}", ran.text);
}
