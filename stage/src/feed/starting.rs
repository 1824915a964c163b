//! How each kind of feed is started, until what is committed from then on reaches the broker.

use anyhow::{Context, Result};

use super::{Between, Broker, Brokers};
use crate::servers::{Connect, ConnectOptions, Connector, Home, Kafka, KafkaOptions, Nats, NatsOptions, Topology};
use crate::{Login, Process, Stage};

/// Our relay, and a NATS of its own. Like the others it answers with the slot as well.
pub(super) async fn relay_to_nats(stage: &Stage) -> Result<(String, Between)> {
    let nats = Nats::start(Home::scratch()?, NatsOptions::default()).await?;
    let to = vec![("FRESHLINE_NATS_URL", nats.server())];
    relay(stage, to, Broker::Nats(Box::new(nats))).await
}

/// Our relay, and a topic in Kafka.
pub(super) async fn relay_to_kafka(stage: &Stage, partitions: u16, is_own: bool) -> Result<(String, Between)> {
    let topic = format!("{}.relay", stage.name());
    let (brokers, broker) = if is_own {
        let kafka = Kafka::start(Home::scratch()?, KafkaOptions::default()).await?;
        (kafka.brokers(), Broker::OwnKafka(Box::new(kafka), topic.clone()))
    } else {
        let kafka = Kafka::shared().await?;
        (kafka.brokers(), Broker::SharedKafka(kafka, topic.clone()))
    };
    let to = vec![
        ("FRESHLINE_RELAY_TO", "kafka".to_owned()),
        ("FRESHLINE_KAFKA_BROKERS", brokers),
        ("FRESHLINE_KAFKA_TOPIC", topic),
        ("FRESHLINE_KAFKA_PARTITIONS", partitions.to_string()),
    ];
    relay(stage, to, broker).await
}

/// Starts a relay that is told where to write.
async fn relay(stage: &Stage, to: Vec<(&str, String)>, broker: Broker) -> Result<(String, Between)> {
    let slot = format!("{}_relay", stage.name());
    let launch = stage.launch("freshline-relay", Login::Invalidator).variables(to);
    let own = [("FRESHLINE_RELAY_SLOT", slot.clone()), ("FRESHLINE_RELAY_ADDRESS", "127.0.0.1:0".to_owned())];
    let mut relay = Process::start(launch.variables(own))?;
    relay.line("publishing what Postgres changes").await;
    Ok((slot, Between::Relay { relay: Box::new(relay), broker }))
}

/// Debezium.
pub(super) async fn debezium(stage: &Stage, topology: Topology, is_own: bool) -> Result<(String, Between)> {
    let slot = format!("{}_dbz", stage.name());
    let connector = Connector { topology, ..Connector::of(stage.postgres(), stage.name(), &slot) };
    let brokers = if is_own { own(&connector).await? } else { shared(&connector).await? };
    let between = Between::Debezium { connector: Box::new(connector), brokers };
    stage.until("Debezium reads its slot", async || is_read(stage, &slot).await).await;
    Ok((slot, between))
}

async fn own(connector: &Connector) -> Result<Brokers> {
    let kafka = Kafka::start(Home::scratch()?, KafkaOptions::default()).await?;
    let connectors = vec![connector.clone()];
    let connect = Connect::start(Home::scratch()?, &kafka.brokers(), connectors, ConnectOptions::default()).await?;
    Ok(Brokers::Own { connect: Box::new(connect), kafka: Box::new(kafka) })
}

async fn shared(connector: &Connector) -> Result<Brokers> {
    let (kafka, connect) = (Kafka::shared().await?, Connect::shared().await?);
    connect.add(connector).await?;
    Ok(Brokers::Shared(kafka, connect))
}

/// Whether somebody reads this slot: what is committed from now on reaches the broker.
async fn is_read(stage: &Stage, slot: &str) -> Result<bool> {
    let read = sqlx::query_scalar("select active from pg_replication_slots where slot_name = $1").bind(slot);
    Ok(read.fetch_optional(stage.pool()).await.context("looking at a slot")?.unwrap_or(false))
}
