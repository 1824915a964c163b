//! The topic: made with settings that keep changes until they are read, and refused where it would lose them unseen.

use std::{collections::HashMap, time::Duration};

use freshline::broker::kafka::{KafkaAddress, topic_faults};
use rdkafka::{
    ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::Client,
    error::{KafkaResult, RDKafkaErrorCode},
    metadata::Metadata,
    producer::{FutureProducer, Producer},
};
use tracing::info;

use super::{ANSWER_WITHIN, Context, KafkaRefused, ToKafka, client_config};

/// The copies that a topic is made with, where there are so many brokers.
const COPIES: usize = 3;

/// How soon it is looked again whether a topic that was made is known everywhere.
const MADE_PAUSE: Duration = Duration::from_millis(50);

/// A topic that is fit for changes.
#[derive(Debug)]
pub struct Topic {
    pub partitions: usize,
    /// The longest record that it takes, in bytes.
    pub message_len_max: usize,
}

/// What metadata tells of a topic.
struct Layout {
    partitions: usize,
    /// The fewest copies that a partition has.
    copies: usize,
    /// How many brokers there are.
    brokers: usize,
}

/// Who asks. A producer asks first: of its two clients it is the one that tells the context of a login that is refused.
struct Asker<'a> {
    producer: FutureProducer<Context>,
    admin: AdminClient<Context>,
    context: &'a Context,
    topic: &'a str,
}

impl Topic {
    /// The topic, made if it is not there, and looked at.
    ///
    /// # Errors
    /// [`KafkaRefused`].
    pub async fn ready(to: &ToKafka, context: &Context) -> Result<Self, KafkaRefused> {
        let asker = Asker::new(&to.address, context, &to.topic)?;
        let mut layout = asker.layout().await?;
        if layout.partitions == 0 {
            asker.make(to, layout.brokers).await?;
            layout = tokio::time::timeout(ANSWER_WITHIN, asker.layout_of_new()).await.map_err(|_| KafkaRefused::Ended)??;
        }
        let settings = asker.settings().await?;
        let faults = topic_faults(&settings, layout.copies);
        if !faults.is_empty() {
            return Err(KafkaRefused::Unfit { topic: to.topic.clone(), faults });
        }
        let message_len_max = settings.get("max.message.bytes").and_then(|len| len.parse().ok());
        Ok(Self { partitions: layout.partitions, message_len_max: message_len_max.unwrap_or(1 << 20) })
    }
}

/// How many partitions a topic has; none where it is not there.
pub fn counted<C: ClientContext>(client: &Client<C>, topic: &str) -> KafkaResult<usize> {
    Ok(Layout::of(&client.fetch_metadata(Some(topic), ANSWER_WITHIN)?).partitions)
}

impl Layout {
    fn of(metadata: &Metadata) -> Self {
        let partitions = || metadata.topics().iter().flat_map(|topic| topic.partitions());
        let copies = partitions().map(|partition| partition.replicas().len()).min();
        Self { partitions: partitions().count(), copies: copies.unwrap_or_default(), brokers: metadata.brokers().len() }
    }
}

impl<'a> Asker<'a> {
    fn new(address: &KafkaAddress, context: &'a Context, topic: &'a str) -> Result<Self, KafkaRefused> {
        let config = client_config(address);
        let producer = config.create_with_context(context.clone()).map_err(KafkaRefused::Settings)?;
        let admin = config.create_with_context(context.clone()).map_err(KafkaRefused::Settings)?;
        Ok(Self { producer, admin, context, topic })
    }

    async fn layout(&self) -> Result<Layout, KafkaRefused> {
        let (producer, topic) = (self.producer.clone(), self.topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || producer.client().fetch_metadata(Some(&topic), ANSWER_WITHIN));
        let metadata =
            asked.await.map_err(|_| KafkaRefused::Ended)?.map_err(self.context.doing("asking for the topic's partitions"))?;
        Ok(Layout::of(&metadata))
    }

    /// Waits until a topic that was made is known to the broker that is asked.
    async fn layout_of_new(&self) -> Result<Layout, KafkaRefused> {
        loop {
            tokio::time::sleep(MADE_PAUSE).await;
            match self.layout().await? {
                Layout { partitions: 0, .. } => {}
                layout => return Ok(layout),
            }
        }
    }

    async fn make(&self, to: &ToKafka, brokers: usize) -> Result<(), KafkaRefused> {
        let copies = brokers.clamp(1, COPIES);
        // One copy may be away, and what two have is not lost with one of them.
        let (copies, in_sync) = (i32::try_from(copies).unwrap_or(1), copies.saturating_sub(1).max(1).to_string());
        info!(copies, "making the topic {}", self.topic);
        let retention = to.retention.as_millis().to_string();
        let topic = NewTopic::new(self.topic, to.partitions, TopicReplication::Fixed(copies))
            .set("cleanup.policy", "delete")
            .set("retention.ms", &retention)
            .set("retention.bytes", "-1")
            .set("min.insync.replicas", &in_sync)
            .set("unclean.leader.election.enable", "false");
        let made = self.admin.create_topics([&topic], &patience()).await.map_err(self.context.doing("making the topic"))?;
        match made.into_iter().next() {
            Some(Err((_, source))) if source != RDKafkaErrorCode::TopicAlreadyExists => {
                Err(KafkaRefused::Make { topic: self.topic.to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    async fn settings(&self) -> Result<HashMap<String, String>, KafkaRefused> {
        let doing = "asking for the topic's settings";
        let asked = [ResourceSpecifier::Topic(self.topic)];
        let told = self.admin.describe_configs(&asked, &patience()).await.map_err(self.context.doing(doing))?;
        let told = told.into_iter().next().ok_or(KafkaRefused::Ended)?;
        let told = told.map_err(|code| KafkaRefused::Kafka { doing, source: rdkafka::error::KafkaError::AdminOp(code) })?;
        Ok(told.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
    }
}

fn patience() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_WITHIN)).operation_timeout(Some(ANSWER_WITHIN))
}
