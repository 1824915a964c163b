//! A second look at what was read last. A topic that was made anew, and has grown past the reader before that asks again, is read on as if
//! nothing had happened: the offset is there, and is another record's.

use std::{collections::HashMap, sync::Arc, time::Duration};

use freshline::broker::kafka::KafkaAddress;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

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

    /// Whether a record that was read, by partition, is another by now, or will be. One that is gone is not: it may have grown too old.
    ///
    /// # Errors
    /// [`KafkaFailed`]: it is not known.
    pub fn sees_another(&self, read: Vec<(Partition, Next)>) -> impl Future<Output = Result<bool, KafkaFailed>> + Send + use<> {
        let consumer = self.0.clone();
        blocking(move || {
            let looking = || KafkaFailed::doing("looking again at what was read");
            let (mut assigned, mut expected) = (TopicPartitionList::new(), HashMap::new());
            for (Partition { topic, number }, next) in read {
                let (low, high) = consumer.fetch_watermarks(&topic, number, ANSWER_WITHIN).map_err(looking())?;
                if high < next.offset {
                    return Ok(true); // it ends before where it was read to
                }
                if low < next.offset {
                    assigned.add_partition_offset(&topic, number, Offset::Offset(next.offset - 1)).map_err(looking())?;
                    expected.insert((topic, number), next);
                }
            }
            consumer.assign(&assigned).map_err(looking())?;
            let is_another = compare(&consumer, expected);
            consumer.unassign().map_err(looking())?;
            is_another.map_err(looking())
        })
    }
}

/// Compares the first record of each partition with what was read there.
fn compare(consumer: &BaseConsumer, mut expected: HashMap<(String, i32), Next>) -> Result<bool, KafkaError> {
    while !expected.is_empty() {
        let message = consumer.poll(ANSWER_WITHIN).ok_or(KafkaError::NoMessageReceived)??;
        let next = expected.remove(&(message.topic().to_owned(), message.partition()));
        // A record that was compacted away is none to compare with.
        if next.is_some_and(|next| message.offset() + 1 == next.offset && !next.is_after(&message)) {
            return Ok(true);
        }
    }
    Ok(false)
}
