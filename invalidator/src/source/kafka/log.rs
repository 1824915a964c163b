//! The log: all partitions of the topics, assigned by hand to one consumer, from where it was acknowledged last.

use std::{collections::HashMap, sync::Arc, time::Duration};

use freshline::{
    broker::kafka::{KafkaAddress, Met},
    coherence,
};
use futures::FutureExt;
use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{CommitMode, Consumer, ConsumerContext, StreamConsumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
    types::RDKafkaErrorCode,
};
use tracing::{debug, info, warn};

use super::{
    error::KafkaFailed,
    kept::{Kept, Next},
    witness::Witness,
};
use crate::source::ahead::Ended;

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What the client may hold ready, in KiB.
const QUEUED_MAX_KIB: &str = "16384";

/// How long the client waits before it looks again whether there is room for more, in ms. Its default of a second would bound a backlog to
/// what it may hold in one (17,000 changes a second, measured).
const FETCH_PAUSE_MS: &str = "2";

/// The longest answer, in bytes, and so the longest record: above what a broker takes in one request (`socket.request.max.bytes`, 100 MiB
/// unless it is raised), for the client would ask for a longer one without end.
const ANSWER_LEN_MAX: &str = "1000000000";

/// What one batch may hold. Small enough that a poll is never kept waiting for more than some milliseconds.
const BATCH_LEN_MAX: usize = 1_024;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    pub topic: String,
    pub number: i32,
}

/// All partitions, and the consumer that has them.
pub struct Log {
    consumer: Arc<StreamConsumer<Context>>,
    topics: Vec<String>,
    partitions: Vec<Partition>,
    /// By topic, then by number.
    slots: HashMap<String, Vec<usize>>,
    history: coherence::Source,
    witness: Witness,
}

/// Where a log is read from.
#[derive(Debug)]
pub struct Start {
    /// By partition, the first to be read.
    pub offsets: Vec<i64>,
    /// By partition, where it ended when it was asked.
    pub ends: Vec<i64>,
    /// By partition, what the first has to be: the last that was acknowledged.
    pub expected: Vec<Option<Next>>,
    /// Why something before it is missing; none where all of it was acknowledged in this history.
    pub holes: Vec<String>,
}

/// What the client tells on the side.
#[derive(Default)]
struct Context(Met);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, said: &str) {
        self.0.log(level, facility, said);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            warn!(error = &error as &dyn std::error::Error, "Kafka did not keep the offsets; the next ones will be sent again");
        }
    }
}

impl Log {
    /// Connects, and finds the partitions.
    ///
    /// # Errors
    /// [`KafkaFailed`].
    pub async fn open(
        address: &KafkaAddress,
        group: &str,
        topics: Vec<String>,
        history: coherence::Source,
    ) -> Result<Self, KafkaFailed> {
        address.greet().await?;
        let mut config = address.client();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            .set("auto.offset.reset", "error") // what is missing is never skipped
            .set("queued.max.messages.kbytes", QUEUED_MAX_KIB)
            .set("fetch.queue.backoff.ms", FETCH_PAUSE_MS)
            .set("receive.message.max.bytes", ANSWER_LEN_MAX)
            .set("allow.auto.create.topics", "false");
        let consumer: StreamConsumer<Context> = config.create_with_context(Context::default()).map_err(KafkaFailed::Settings)?;
        let consumer = Arc::new(consumer);
        let partitions = partitions(&consumer, &topics).await?;
        let mut slots: HashMap<String, Vec<usize>> = HashMap::new();
        for (slot, partition) in partitions.iter().enumerate() {
            let numbers = slots.entry(partition.topic.clone()).or_default();
            let number = usize::try_from(partition.number).unwrap_or(0);
            numbers.resize(numbers.len().max(number + 1), usize::MAX);
            numbers[number] = slot;
        }
        Ok(Self { consumer, topics, partitions, slots, history, witness: Witness::new(address, group)? })
    }

    /// The partitions, in the order of their slots.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The slot of a message's partition.
    pub fn slot(&self, message: &BorrowedMessage<'_>) -> Option<usize> {
        let number = usize::try_from(message.partition()).ok()?;
        self.slots.get(message.topic())?.get(number).copied().filter(|slot| *slot != usize::MAX)
    }

    /// Where to begin: at what was acknowledged last, where that is still there and of this history; else at the end.
    ///
    /// # Errors
    /// [`KafkaFailed`].
    pub async fn start(&self) -> Result<Start, KafkaFailed> {
        let (consumer, partitions) = (self.consumer.clone(), self.partitions.clone());
        let history = self.history;
        blocking(move || {
            let mut asked = TopicPartitionList::new();
            for partition in &partitions {
                asked.add_partition(&partition.topic, partition.number);
            }
            let committed =
                consumer.committed_offsets(asked, ANSWER_WITHIN).map_err(KafkaFailed::doing("asking for the committed offsets"))?;
            let mut start = Start { offsets: Vec::new(), ends: Vec::new(), expected: Vec::new(), holes: Vec::new() };
            for partition in &partitions {
                let (low, high) = consumer
                    .fetch_watermarks(&partition.topic, partition.number, ANSWER_WITHIN)
                    .map_err(KafkaFailed::doing("asking for the ends of a partition"))?;
                start.ends.push(high);
                let kept = committed.find_partition(&partition.topic, partition.number);
                let kept =
                    kept.as_ref().and_then(|kept| Some((kept.offset().to_raw().filter(|offset| *offset > 0)?, kept.metadata())));
                let kept = kept.map(|(offset, metadata)| (offset, print_of(metadata, history)));
                match begin(kept, low, high) {
                    Ok(next) => {
                        start.offsets.push(next.offset - 1);
                        start.expected.push(Some(next));
                    }
                    Err(hole) => {
                        start.holes.push(format!("{} {}: {hole}", partition.topic, partition.number));
                        start.offsets.push(high);
                        start.expected.push(None);
                    }
                }
            }
            if !start.holes.is_empty() {
                info!("nothing of Kafka can be gone on from ({}): beginning at its end", start.holes.join(", "));
            }
            Ok(start)
        })
        .await
    }

    /// Begins to read there.
    ///
    /// # Errors
    /// [`KafkaFailed`].
    pub fn assign(&self, offsets: &[i64]) -> Result<(), KafkaFailed> {
        let mut assignment = TopicPartitionList::new();
        let assigning = || KafkaFailed::doing("assigning the partitions");
        for (partition, offset) in self.partitions.iter().zip(offsets) {
            let offset = Offset::Offset(*offset);
            assignment.add_partition_offset(&partition.topic, partition.number, offset).map_err(assigning())?;
        }
        self.consumer.assign(&assignment).map_err(assigning())
    }

    /// Waits for a message, then answers with it and all that have come by then, within the limits. May be dropped at any time.
    ///
    /// # Errors
    /// [`KafkaFailed`].
    pub async fn batch(&self) -> Result<Vec<BorrowedMessage<'_>>, KafkaFailed> {
        let first = loop {
            match self.consumer.recv().await {
                Ok(message) => break message,
                Err(error) if passes(&error) => {
                    debug!(error = &error as &dyn std::error::Error, "Kafka is away; the client looks for it")
                }
                Err(source) => return Err(KafkaFailed::Kafka { doing: "reading", source }),
            }
        };
        let mut bytes = first.payload_len();
        let mut batch = vec![first];
        while batch.len() < BATCH_LEN_MAX && bytes < BATCH_BYTES_MAX {
            match self.consumer.recv().now_or_never() {
                Some(Ok(message)) => {
                    bytes += message.payload_len();
                    batch.push(message);
                }
                Some(Err(error)) if passes(&error) => {}
                Some(Err(source)) => return Err(KafkaFailed::Kafka { doing: "reading", source }),
                None => break,
            }
        }
        Ok(batch)
    }

    /// Has Kafka keep these offsets, by partition, with the history that they are of.
    ///
    /// # Errors
    /// [`KafkaFailed`].
    pub fn commit(&self, next: &[Option<Next>]) -> Result<(), KafkaFailed> {
        let committing = || KafkaFailed::doing("having offsets kept");
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in self.partitions.iter().zip(next) {
            let Some(next) = next else { continue };
            let mut kept = offsets.add_partition(&partition.topic, partition.number);
            kept.set_offset(Offset::Offset(next.offset)).map_err(committing())?;
            kept.set_metadata(Kept { history: self.history, print: next.print }.to_string());
        }
        self.consumer.commit(&offsets, CommitMode::Async).map_err(committing())
    }

    /// Asks whether what was read last, by partition, is another record by now.
    pub fn is_another(&self, read: &[Option<Next>]) -> impl Future<Output = Result<bool, KafkaFailed>> + Send + use<> {
        let read = self.partitions.iter().zip(read).filter_map(|(partition, next)| Some((partition.clone(), (*next)?)));
        self.witness.sees_another(read.collect())
    }

    /// Asks how many partitions there are now.
    pub fn counted(&self) -> impl Future<Output = Result<usize, KafkaFailed>> + Send + use<> {
        let (consumer, topics) = (self.consumer.clone(), self.topics.clone());
        async move { Ok(partitions(&consumer, &topics).await?.len()) }
    }
}

async fn partitions(consumer: &Arc<StreamConsumer<Context>>, topics: &[String]) -> Result<Vec<Partition>, KafkaFailed> {
    let (consumer, topics) = (consumer.clone(), topics.to_vec());
    blocking(move || {
        let mut partitions = Vec::new();
        for name in topics {
            let metadata = consumer
                .fetch_metadata(Some(&name), ANSWER_WITHIN)
                .map_err(KafkaFailed::doing("asking for the partitions of a topic"))?;
            let numbers = metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id());
            let before = partitions.len();
            partitions.extend(numbers.map(|number| Partition { topic: name.clone(), number }));
            if partitions.len() == before {
                return Err(KafkaFailed::NoTopic { topic: name });
            }
        }
        partitions.sort_unstable();
        Ok(partitions)
    })
    .await
}

/// Runs what waits inside the client, each question under its own deadline.
pub async fn blocking<T: Send + 'static>(asks: impl FnOnce() -> Result<T, KafkaFailed> + Send + 'static) -> Result<T, KafkaFailed> {
    tokio::task::spawn_blocking(asks).await.map_err(|_| Ended)?
}

/// Whether the client mends it by itself.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut | Code::RequestTimedOut)
            | Some(Code::LeaderNotAvailable | Code::NotLeaderForPartition | Code::NetworkException | Code::PartitionEOF)
    )
}

/// The print that was kept in this history.
fn print_of(metadata: &str, history: coherence::Source) -> Option<u64> {
    metadata.parse::<Kept>().ok().filter(|kept| kept.history == history).map(|kept| kept.print)
}

/// Where to go on, or why nowhere: what was kept, with a print if it is of this history; and the partition's ends.
fn begin(kept: Option<(i64, Option<u64>)>, low: i64, high: i64) -> Result<Next, String> {
    match kept {
        None => Err("nothing was acknowledged".to_owned()),
        Some((_, None)) => Err("what was acknowledged is of another history".to_owned()),
        // Without the last that was acknowledged nobody knows whether this is still the same topic.
        Some((offset, _)) if offset <= low => Err(format!("offset {} is gone, the first is {low}", offset - 1)),
        Some((offset, _)) if offset > high => Err(format!("offset {offset} is not there, the last is {high}")),
        Some((offset, Some(print))) => Ok(Next { offset, print }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::kept(Some((5, Some(1))), Ok(5))]
    #[case::all_read(Some((9, Some(1))), Ok(9))]
    #[case::never_read(None, Err("nothing was acknowledged"))]
    #[case::out_of_retention(Some((2, Some(1))), Err("is gone"))]
    #[case::the_last_read_is_out_of_retention(Some((3, Some(1))), Err("is gone"))]
    #[case::made_anew(Some((10, Some(1))), Err("is not there"))]
    #[case::another_history(Some((5, None)), Err("another history"))]
    fn what_was_acknowledged_is_gone_on_from_if_nothing_is_missing(
        #[case] kept: Option<(i64, Option<u64>)>,
        #[case] expected: Result<i64, &str>,
    ) {
        match (begin(kept, 3, 9), expected) {
            (Ok(next), Ok(expected)) => assert_eq!(next, Next { offset: expected, print: 1 }),
            (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
            (told, expected) => panic!("{told:?}, and not {expected:?}"),
        }
    }
}
