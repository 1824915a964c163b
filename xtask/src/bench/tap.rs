//! An invalidator's client and nothing behind it: what reading a broker costs by itself, and when a message is there.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream::{self, consumer::AckPolicy, consumer::DeliverPolicy, consumer::pull};
use freshline::broker::nats::KEY_HEADER;
use futures::StreamExt;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use stage::Feed;
use uuid::Uuid;

/// As the relay names it.
const STREAM: &str = "FRESHLINE";

/// As the invalidator names it.
const CONSUMER: &str = "freshline";

/// As many as the invalidator asks for at a time.
const PULL_MAX: usize = 2_000;

/// How long a broker may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What stands at a number of a broker's log.
pub struct Tapped {
    /// The number: of the stream, or of the partition.
    pub number: u64,
    /// The id in the key of a change.
    pub id: Option<Uuid>,
}

/// The log of the broker that feeds a house.
pub enum Tap {
    Nats { messages: Box<pull::Stream>, stream: Box<jetstream::stream::Stream> },
    Kafka { consumer: StreamConsumer, committed: StreamConsumer, topic: String },
}

impl Tap {
    /// What comes after a number; with none what comes from now on.
    pub async fn after(feed: &Feed, group: &str, number: Option<u64>) -> Result<Self> {
        match (feed.nats(), feed.kafka()) {
            (Some(nats), _) => Self::nats(&nats.server(), number).await,
            (None, Some((kafka, topic))) => Self::kafka(&kafka.brokers(), topic, group, number),
            (None, None) => bail!("no broker feeds this house"),
        }
    }

    async fn nats(server: &str, number: Option<u64>) -> Result<Self> {
        let stream = jetstream::new(async_nats::connect(server).await?).get_stream(STREAM).await?;
        let deliver_policy = match number {
            Some(number) => DeliverPolicy::ByStartSequence { start_sequence: number + 1 },
            None => DeliverPolicy::New,
        };
        let wanted = pull::Config { deliver_policy, ack_policy: AckPolicy::None, ..pull::Config::default() };
        let consumer = stream.create_consumer(wanted).await?;
        let messages = consumer.stream().max_messages_per_batch(PULL_MAX).messages().await?;
        Ok(Self::Nats { messages: Box::new(messages), stream: Box::new(stream) })
    }

    fn kafka(brokers: &str, topic: String, group: &str, number: Option<u64>) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", group).set("enable.auto.commit", "false");
        let (consumer, committed): (StreamConsumer, StreamConsumer) = (config.create()?, config.create()?);
        let offset = number.map_or(Ok(Offset::End), |number| i64::try_from(number + 1).map(Offset::Offset))?;
        let mut assigned = TopicPartitionList::new();
        assigned.add_partition_offset(&topic, 0, offset)?;
        consumer.assign(&assigned)?;
        Ok(Self::Kafka { consumer, committed, topic })
    }

    /// The next message.
    pub async fn next(&mut self) -> Result<Tapped> {
        match self {
            Self::Nats { messages, .. } => {
                let message = messages.next().await.context("the stream has ended")??;
                let number = message.info().map_err(anyhow::Error::from_boxed)?.stream_sequence;
                let key = message.headers.as_ref().and_then(|headers| headers.get(KEY_HEADER));
                Ok(Tapped { number, id: key.and_then(|key| id(key.as_str().as_bytes())) })
            }
            Self::Kafka { consumer, .. } => {
                let message = consumer.recv().await?;
                Ok(Tapped { number: u64::try_from(message.offset())?, id: message.key().and_then(id) })
            }
        }
    }

    /// The number of the last message.
    pub async fn last(&mut self) -> Result<u64> {
        match self {
            Self::Nats { stream, .. } => Ok(stream.info().await?.state.last_sequence),
            Self::Kafka { consumer, topic, .. } => {
                let (_, next) = consumer.fetch_watermarks(topic, 0, ANSWER_MAX)?;
                Ok(u64::try_from(next)?.saturating_sub(1))
            }
        }
    }

    /// The number up to which the invalidator needs nothing any more.
    pub async fn acknowledged(&mut self) -> Result<u64> {
        match self {
            Self::Nats { stream, .. } => Ok(stream.consumer_info(CONSUMER).await?.ack_floor.stream_sequence),
            Self::Kafka { committed, topic, .. } => {
                let mut asked = TopicPartitionList::new();
                asked.add_partition(topic, 0);
                let answer = committed.committed_offsets(asked, ANSWER_MAX)?;
                let next = answer.elements().first().and_then(|partition| partition.offset().to_raw()).unwrap_or(0);
                Ok(u64::try_from(next.max(1))? - 1)
            }
        }
    }
}

/// The id in a key such as `{"id":"0194…"}`, with or without a schema around it.
fn id(key: &[u8]) -> Option<Uuid> {
    let key: serde_json::Value = serde_json::from_slice(key).ok()?;
    key.get("payload").unwrap_or(&key).get("id")?.as_str()?.parse().ok()
}
