//! Kafka: the topics, how they are laid out, and how far they were applied.

use std::{collections::HashMap, time::SystemTime};

use freshline::broker::{KafkaConfig, kafka::Met};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    consumer::{BaseConsumer, Consumer},
};
use serde::Serialize;

use super::Untold;
use crate::servers::ANSWER_WITHIN;

/// How topics are laid out, as protocol.md tells them apart. It decides what freshness can be proven by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// One topic with one partition and everything in it.
    OnePartition,
    /// One topic with several partitions, each with its markers.
    Partitions,
    /// Several topics: no marker enters those of tables.
    TopicPerTable,
}

/// All topics that are consumed.
#[derive(Debug, Serialize)]
pub struct Topics {
    /// How they are laid out.
    pub topology: Topology,
    /// Brokers in the cluster.
    pub brokers: usize,
    /// One after another.
    pub topics: Vec<Topic>,
}

/// One topic.
#[derive(Debug, Serialize)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions; none where it is not there.
    pub partitions: Vec<Partition>,
    /// How many copies there are of a partition, at least.
    #[serde(skip)]
    pub copies: usize,
    /// Its settings; none where this user may not see them.
    #[serde(skip)]
    pub settings: Option<HashMap<String, String>>,
}

/// One partition.
#[derive(Debug, Serialize)]
pub struct Partition {
    /// Its number.
    pub number: i32,
    /// The first offset that it still has.
    pub first: i64,
    /// Where the next message will stand.
    pub end: i64,
    /// The offset to go on from: all before it is applied, visible, and acknowledged. None where nothing is.
    pub committed: Option<i64>,
    /// Whether what waits has waited for more than half of the retention.
    #[serde(skip)]
    pub is_growing_old: bool,
}

impl Partition {
    /// Messages that are not acknowledged.
    pub fn unacknowledged(&self) -> Option<i64> {
        self.committed.map(|committed| self.end.saturating_sub(committed))
    }
}

impl Topic {
    /// A setting of it as a number, if this user may see it.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.settings.as_ref()?.get(name)?.parse().ok()
    }
}

impl Topology {
    /// What the proof of freshness rests on, and what would make it stronger.
    pub fn told(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::OnePartition => ("one topic, one partition: exact ends, entries are replaced", None),
            Self::Partitions => {
                ("one topic, several partitions: the position is that of the last marker in all, entries are removed", None)
            }
            Self::TopicPerTable => {
                ("a topic for each table, which no marker enters: freshness comes from each entry's own age only", Some(ROUTED))
            }
        }
    }
}

/// What makes a proof of freshness possible.
pub const ROUTED: &str = "route all of the connector's topics into one: transforms.one.type=org.apache.kafka.connect.transforms.RegexRouter, \
                          transforms.one.regex=.*, transforms.one.replacement=freshline.all; and FRESHLINE_KAFKA_TOPICS=freshline.all";

/// Looks at the topics.
///
/// # Errors
/// [`Untold`].
pub async fn look(config: &KafkaConfig) -> Result<Topics, Untold> {
    config.address.greet().await?;
    let settings = settings(config).await?;
    let config = config.clone();
    let asked = tokio::task::spawn_blocking(move || topics(&config, settings)).await;
    asked.map_err(Untold::asking("Kafka", "telling its topics"))?
}

/// The settings of each topic that this user may see.
async fn settings(config: &KafkaConfig) -> Result<HashMap<String, HashMap<String, String>>, Untold> {
    let asking = || Untold::asking("Kafka", "telling the settings of its topics");
    let admin: AdminClient<Met> = config.address.client().create_with_context(Met::default()).map_err(asking())?;
    let wanted: Vec<_> = config.topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN)).operation_timeout(Some(ANSWER_WITHIN));
    let answered = admin.describe_configs(&wanted, &options).await.map_err(asking())?;
    let told = config.topics.iter().zip(answered).filter_map(|(topic, answer)| {
        let entries = answer.ok()?.entries.into_iter();
        Some((topic.clone(), entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()))
    });
    Ok(told.collect())
}

fn topics(config: &KafkaConfig, mut settings: HashMap<String, HashMap<String, String>>) -> Result<Topics, Untold> {
    let mut client = config.address.client();
    client.set("group.id", &config.group).set("allow.auto.create.topics", "false");
    let consumer: BaseConsumer<Met> =
        client.create_with_context(Met::default()).map_err(Untold::asking("Kafka", "making a client"))?;
    let (mut brokers, mut topics) = (0, Vec::new());
    for name in &config.topics {
        let asked = consumer.fetch_metadata(Some(name), ANSWER_WITHIN);
        let metadata = asked.map_err(Untold::asking("Kafka", "telling the partitions of a topic"))?;
        brokers = metadata.brokers().len();
        let told = || metadata.topics().iter().flat_map(|topic| topic.partitions());
        let numbers: Vec<i32> = told().map(|partition| partition.id()).collect();
        let copies = told().map(|partition| partition.replicas().len()).min().unwrap_or_default();
        let mut topic = Topic { name: name.clone(), partitions: Vec::new(), copies, settings: settings.remove(name) };
        if !numbers.is_empty() {
            topic.partitions = partitions(&consumer, &topic, &numbers)?;
        }
        topics.push(topic);
    }
    let topology = match topics.as_slice() {
        [one] if one.partitions.len() <= 1 => Topology::OnePartition,
        [_] => Topology::Partitions,
        _ => Topology::TopicPerTable,
    };
    Ok(Topics { topology, brokers, topics })
}

fn partitions(consumer: &BaseConsumer<Met>, topic: &Topic, numbers: &[i32]) -> Result<Vec<Partition>, Untold> {
    let (asking, name) = (|doing| Untold::asking("Kafka", doing), &topic.name);
    let mut asked = TopicPartitionList::new();
    for number in numbers {
        asked.add_partition(name, *number);
    }
    let committed = consumer.committed_offsets(asked, ANSWER_WITHIN).map_err(asking("telling what is acknowledged"))?;
    let young = half_old(consumer, topic, numbers)?;
    let mut partitions = Vec::new();
    for number in numbers {
        let (first, end) =
            consumer.fetch_watermarks(name, *number, ANSWER_WITHIN).map_err(asking("telling the ends of a partition"))?;
        let offset_in = |list: &TopicPartitionList| match list.find_partition(name, *number)?.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::End => Some(end),
            _ => None,
        };
        let committed = offset_in(&committed).filter(|offset| *offset >= 0);
        let young = young.as_ref().map(|young| offset_in(young).unwrap_or(end));
        let is_growing_old = committed.zip(young).is_some_and(|(committed, young)| committed < young);
        partitions.push(Partition { number: *number, first, end, committed, is_growing_old });
    }
    Ok(partitions)
}

/// In each partition the first message that is younger than half of the retention; none where nothing grows too old.
fn half_old(consumer: &BaseConsumer<Met>, topic: &Topic, numbers: &[i32]) -> Result<Option<TopicPartitionList>, Untold> {
    let asking = || Untold::asking("Kafka", "telling how old messages are");
    let Some(retention_ms) = topic.number("retention.ms").filter(|retention_ms| *retention_ms > 0) else { return Ok(None) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let since = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(retention_ms / 2).max(0);
    let mut times = TopicPartitionList::new();
    for number in numbers {
        times.add_partition_offset(&topic.name, *number, Offset::Offset(since)).map_err(asking())?;
    }
    consumer.offsets_for_times(times, ANSWER_WITHIN).map(Some).map_err(asking())
}
