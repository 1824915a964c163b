//! The topic: made with settings that keep changes until they are read, and refused where it would lose them unseen.

use std::{collections::HashMap, sync::Arc, time::Duration};

use freshline::broker::kafka::KafkaAddress;
use rdkafka::{
    ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::Client,
    error::{KafkaResult, RDKafkaErrorCode},
    metadata::Metadata,
};
use tracing::info;

use super::{ANSWER_WITHIN, Context, KafkaRefused, ToKafka, client_config};

/// A topic that keeps messages for less is refused, in ms: what the invalidator has not read by then is lost.
pub const RETENTION_MIN_MS: u64 = 600_000;

/// So is one that keeps fewer bytes, where they are limited.
const RETENTION_MIN_BYTES: i64 = 64 << 20;

/// The least that a record may be long, in bytes: a row keeps its key and its short values.
const MESSAGE_MIN_LEN: i64 = 64 << 10;

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

/// One client asks all questions.
struct Asker<'a> {
    admin: Arc<AdminClient<Context>>,
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
        let faults = faults(&settings, layout.copies);
        if !faults.is_empty() {
            return Err(KafkaRefused::Unfit { topic: to.topic.clone(), faults });
        }
        let message_len_max = number(&settings, "max.message.bytes").and_then(|len| usize::try_from(len).ok());
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
        let admin = client_config(address).create_with_context(context.clone()).map_err(KafkaRefused::Settings)?;
        Ok(Self { admin: Arc::new(admin), context, topic })
    }

    async fn layout(&self) -> Result<Layout, KafkaRefused> {
        let (admin, topic) = (self.admin.clone(), self.topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(Some(&topic), ANSWER_WITHIN));
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

fn number(settings: &HashMap<String, String>, name: &str) -> Option<i64> {
    settings.get(name)?.parse().ok()
}

/// What would lose changes that nobody has read, or refuse them.
fn faults(settings: &HashMap<String, String>, copies: usize) -> Vec<String> {
    let is = |name: &str, part: &str| settings.get(name).is_some_and(|value| value.contains(part));
    let is_below = |name: &str, least: i64| number(settings, name).is_some_and(|value| (0..least).contains(&value));
    let in_sync = number(settings, "min.insync.replicas").and_then(|count| usize::try_from(count).ok()).unwrap_or(1);
    let retention_min = i64::try_from(RETENTION_MIN_MS).unwrap_or(i64::MAX);
    let checks = [
        (
            is("cleanup.policy", "compact"),
            "its cleanup.policy has to be delete: compaction drops older changes of a row, and no gap shows it".to_owned(),
        ),
        (
            is_below("retention.ms", retention_min),
            format!("its retention.ms has to be {retention_min} at least: what the invalidator has not read by then is lost"),
        ),
        (
            is_below("retention.bytes", RETENTION_MIN_BYTES),
            format!(
                "its retention.bytes has to be {RETENTION_MIN_BYTES} at least, or -1: one large transaction would push out the rest"
            ),
        ),
        (
            is_below("max.message.bytes", MESSAGE_MIN_LEN),
            format!("its max.message.bytes has to be {MESSAGE_MIN_LEN} at least: rows have to fit"),
        ),
        (
            is("unclean.leader.election.enable", "true"),
            "its unclean.leader.election.enable has to be false: a broker that lacks stored changes would take over".to_owned(),
        ),
        (in_sync > copies, format!("its min.insync.replicas is {in_sync}, and of a partition there are only {copies}")),
    ];
    checks.into_iter().filter_map(|(is_wrong, fault)| is_wrong.then_some(fault)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: [(&str, &str); 6] = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "86400000"),
        ("retention.bytes", "-1"),
        ("max.message.bytes", "1048588"),
        ("unclean.leader.election.enable", "false"),
        ("min.insync.replicas", "2"),
    ];

    fn told(changed: &[(&str, &str)], copies: usize) -> Vec<String> {
        let settings = FIT.iter().chain(changed).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        faults(&settings.collect(), copies)
    }

    #[test]
    fn a_topic_that_keeps_what_was_not_read_is_taken() {
        assert_eq!(told(&[], 3), [""; 0]);
        assert_eq!(told(&[("retention.ms", "-1"), ("retention.bytes", "1073741824")], 2), [""; 0]);
    }

    #[test]
    fn one_that_would_lose_changes_is_told_what_it_has_to_be() {
        let wrong = [
            ("cleanup.policy", "compact"),
            ("cleanup.policy", "delete,compact"),
            ("retention.ms", "60000"),
            ("retention.bytes", "1000000"),
            ("max.message.bytes", "1000"),
            ("unclean.leader.election.enable", "true"),
        ];
        for setting in wrong {
            let told = told(&[setting], 2);
            assert!(matches!(&told[..], [one] if one.contains(setting.0)), "{setting:?}: {told:?}");
        }
        assert!(told(&[], 1)[0].contains("min.insync.replicas is 2"));
    }
}
