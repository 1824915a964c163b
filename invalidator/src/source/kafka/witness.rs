//! A second look at what was read last. A topic that was made anew, and has grown past the reader before that asks again, is read on as if
//! nothing had happened: the offset is there, and is another record's.

use std::{collections::HashMap, sync::Arc, time::Duration};

use freshline::broker::kafka::KafkaAddress;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use tracing::debug;

use super::{
    error::KafkaFailed,
    kept::Next,
    log::{Partition, blocking},
};

/// How long the records may take to come again.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Reads beside the log's own consumer, which is not disturbed.
pub struct Witness(Arc<BaseConsumer>);

impl Witness {
    /// One that connects when it is first asked.
    ///
    /// # Errors
    /// [`KafkaFailed::Settings`].
    pub fn new(address: &KafkaAddress, group: &str) -> Result<Self, KafkaFailed> {
        let mut config = address.client();
        // One record of each partition is all that is wanted.
        config.set("queued.min.messages", "1").set("fetch.message.max.bytes", "1024").set("auto.offset.reset", "error");
        // Without a group nothing can be assigned; none of its offsets is kept from here.
        config.set("group.id", group).set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        Ok(Self(Arc::new(config.create().map_err(KafkaFailed::Settings)?)))
    }

    /// Whether a record that was read, by partition, is another by now. One that is gone is not: it may have grown too old.
    pub fn sees_another(&self, read: Vec<(Partition, Next)>) -> impl Future<Output = Result<bool, KafkaFailed>> + Send + use<> {
        let consumer = self.0.clone();
        blocking(move || {
            let assigning = || KafkaFailed::doing("looking again at what was read");
            let mut assigned = TopicPartitionList::new();
            for (partition, next) in &read {
                let last = Offset::Offset(next.offset - 1);
                assigned.add_partition_offset(&partition.topic, partition.number, last).map_err(assigning())?;
            }
            consumer.assign(&assigned).map_err(assigning())?;
            let is_another = compare(&consumer, read);
            consumer.unassign().map_err(assigning())?;
            Ok(is_another)
        })
    }
}

/// Compares the first record of each partition with what was read there.
fn compare(consumer: &BaseConsumer, read: Vec<(Partition, Next)>) -> bool {
    let mut read: HashMap<_, _> = read.into_iter().map(|(at, next)| ((at.topic, at.number), next)).collect();
    while !read.is_empty() {
        match consumer.poll(ANSWER_WITHIN) {
            Some(Ok(message)) => {
                let next = read.remove(&(message.topic().to_owned(), message.partition()));
                if next.is_some_and(|next| message.offset() + 1 == next.offset && !next.is_after(&message)) {
                    return true;
                }
            }
            Some(Err(error)) => {
                debug!(error = &error as &dyn std::error::Error, "what was read could not be looked at again");
                return false;
            }
            None => return false,
        }
    }
    false
}
