//! Kafka: one topic, records keyed by the primary key.
//!
//! The records of a partition are numbered, so that whoever reads them knows that none is missing. What is stored of a partition has to be a beginning of what was sent to it. The idempotent producer keeps the order, and stops at the
//! first batch that it cannot bring; no record times out in its queue, for the next would be stored without it. It is the session
//! that gives up, and begins again with what the slot still has. With several partitions the slot is told to forget only what a
//! heartbeat in each of them proves to be stored, so that the last record of each tells at the next start whether something is gone.

mod error;
mod tail;
mod topic;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use freshline::{
    broker::kafka::{ID_HEADER, KafkaAddress, NUMBER_HEADER, is_refusal},
    coherence::Lsn,
};
use futures::{FutureExt, future::try_join_all};
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer},
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::debug;

pub use self::error::KafkaRefused;
use self::{tail::Tail, topic::Topic};
use super::{Last, Stored};
use crate::transaction::Letter;

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a record may wait to be stored. A partition whose leader is gone has another within seconds, where it has copies.
const STORED_WITHIN: Duration = Duration::from_secs(30);

/// The client's own queue. The session bounds what is in flight by number; large rows are bounded here, in KiB.
const QUEUED_MAX: &str = "20000";
const QUEUED_MAX_KIB: &str = "65536";

/// How soon it is looked again whether that queue has room.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// How long the client collects records for a batch, in ms: it adds to what a change needs to be seen.
const LINGER_MS: &str = "1";

/// Kept of the longest record for its key, its header and the batch around it.
const AROUND_LEN_MAX: usize = 16_384;

/// How often the topic's partitions are counted.
const COUNTED_EVERY: Duration = Duration::from_secs(5);

/// Which topic, and what it is to be like if it has to be made.
#[derive(Debug, Clone)]
pub struct ToKafka {
    pub address: KafkaAddress,
    pub topic: String,
    pub partitions: i32,
    pub retention: Duration,
}

/// A topic that is published to.
pub struct Kafka {
    producer: FutureProducer<Context>,
    name: String,
    topic: Topic,
    ends: Arc<Ends>,
    /// The number of each partition's next record.
    numbers: Vec<u64>,
    lost: CancellationToken,
    _counting: AbortOnDropHandle<()>,
}

/// What every client of this sink does beside: it keeps the first refusal, which else shows as silence.
#[derive(Debug, Clone, Default)]
struct Context(Arc<OnceLock<KafkaError>>);

impl ClientContext for Context {
    // What it warns of it mends, or it comes back as an error.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(level = ?level, facility, "the Kafka client says: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Told at this level: the client goes on by itself.
        debug!(error = &error as &dyn std::error::Error, reason, "the Kafka client met an error");
        if is_refusal(&error) {
            self.0.get_or_init(|| error);
        }
    }
}

impl Context {
    /// A failure while doing this, or what it comes from.
    fn doing(&self, doing: &'static str) -> impl FnOnce(KafkaError) -> KafkaRefused {
        let refusal = self.0.clone();
        move |error| KafkaRefused::Kafka { doing, source: refusal.get().cloned().unwrap_or(error) }
    }
}

/// The last offset of each partition.
#[derive(Debug)]
struct Ends(Vec<AtomicI64>);

impl Ends {
    /// Takes where a record was stored. Behind what is there already it cannot be, unless that is gone.
    fn advance(&self, partition: i32, offset: i64) -> Result<(), KafkaRefused> {
        let slot = usize::try_from(partition).ok().and_then(|slot| self.0.get(slot));
        let before = slot.ok_or(KafkaRefused::Partitions)?.fetch_max(offset, Ordering::Relaxed);
        if offset > before { Ok(()) } else { Err(KafkaRefused::WentBack { partition, offset, before }) }
    }
}

impl Kafka {
    /// Connects, makes the topic if it is not there, and reads the end of each partition.
    ///
    /// # Errors
    /// [`KafkaRefused`].
    pub async fn connect(to: &ToKafka) -> Result<(Self, Option<Last>), KafkaRefused> {
        to.address.greet().await?;
        let context = Context::default();
        let topic = Topic::ready(to, &context).await?;
        let Tail { ends, numbers, last } = Tail::read(to, topic.partitions, &context).await?;
        let config = producer_config(&to.address, &topic);
        let producer: FutureProducer<Context> = config.create_with_context(context).map_err(KafkaRefused::Settings)?;
        let lost = CancellationToken::new();
        let counting = watch(producer.clone(), to.topic.clone(), topic.partitions, lost.clone());
        let ends = Arc::new(Ends(ends.into_iter().map(AtomicI64::new).collect()));
        let counting = AbortOnDropHandle::new(tokio::spawn(counting));
        Ok((Self { producer, name: to.topic.clone(), topic, ends, numbers, lost, _counting: counting }, last))
    }

    /// The longest value that the topic takes.
    pub fn value_len_max(&self) -> usize {
        self.topic.message_len_max.saturating_sub(AROUND_LEN_MAX)
    }

    /// Cancelled when the topic has other partitions than it had, or is gone.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// What the slot need not have any more. With several partitions, only what has gone to each proves it of each.
    pub fn confirms(&self, letter: &Letter) -> Option<Lsn> {
        letter.confirms.filter(|_| self.topic.partitions == 1 || letter.is_for_all())
    }

    /// Sends a message: to the partition of its row's key, to the first where it has none, or to all.
    ///
    /// # Errors
    /// [`KafkaRefused`].
    pub async fn publish(&mut self, letter: Letter) -> Result<Stored, KafkaRefused> {
        let deadline = Instant::now() + STORED_WITHIN;
        if !letter.is_for_all() {
            let partition = letter.posting.key.as_ref().map_or(0, |key| self.partition_of(key));
            let stored = self.send(&letter, partition, deadline).await?;
            return Ok(stored.map(|stored| stored.map_err(Into::into)).boxed());
        }
        let mut stored = Vec::with_capacity(self.topic.partitions);
        for partition in 0..self.numbers.len() {
            stored.push(self.send(&letter, partition, deadline).await?);
        }
        Ok(try_join_all(stored).map(|stored| stored.map(drop).map_err(Into::into)).boxed())
    }

    /// The partition of a row's key: always the same, so that its changes stay in order.
    fn partition_of(&self, key: &[u8]) -> usize {
        let count = self.numbers.len().max(1) as u64;
        usize::try_from(xxhash_rust::xxh3::xxh3_64(key) % count).unwrap_or(0)
    }

    async fn send(
        &mut self,
        letter: &Letter,
        partition: usize,
        deadline: Instant,
    ) -> Result<impl Future<Output = Result<(), KafkaRefused>> + Send + use<>, KafkaRefused> {
        let (id, number) = (letter.id.to_string(), self.numbers[partition].to_string());
        let headers = OwnedHeaders::new_with_capacity(2)
            .insert(Header { key: ID_HEADER, value: Some(&id) })
            .insert(Header { key: NUMBER_HEADER, value: Some(&number) });
        let mut record = FutureRecord::to(&self.name).payload(&letter.posting.value).headers(headers);
        record.key = letter.posting.key.as_ref();
        record.partition = Some(i32::try_from(partition).map_err(|_| KafkaRefused::Partitions)?);
        let delivery = loop {
            match self.producer.send_result(record) {
                Ok(delivery) => break delivery,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if Instant::now() < deadline => {
                    record = back
                }
                Err((error, _)) => return Err(KafkaRefused::NotStored(error)),
            }
            tokio::time::sleep(ROOM_PAUSE).await;
        };
        self.numbers[partition] += 1;
        Ok(stored(delivery, deadline, self.ends.clone()))
    }
}

async fn stored(delivery: DeliveryFuture, deadline: Instant, ends: Arc<Ends>) -> Result<(), KafkaRefused> {
    let delivered = tokio::time::timeout_at(deadline, delivery).await.map_err(|_| KafkaRefused::Late { waited: STORED_WITHIN })?;
    let delivered = delivered.map_err(|_| KafkaRefused::NotStored(KafkaError::Canceled))?;
    let delivery = delivered.map_err(|(error, _)| KafkaRefused::NotStored(error))?;
    ends.advance(delivery.partition, delivery.offset)
}

/// What every client of the relay begins with: the topic is made with our settings, and not by a question for it.
fn client_config(address: &KafkaAddress) -> ClientConfig {
    let mut config = address.client();
    config.set("allow.auto.create.topics", "false");
    config
}

fn producer_config(address: &KafkaAddress, topic: &Topic) -> ClientConfig {
    let mut config = client_config(address);
    config
        .set("enable.idempotence", "true") // and with it no more than five requests in flight, and any number of tries
        .set("enable.gapless.guarantee", "true") // a batch that is refused ends it: what follows would be stored without
        .set("acks", "all")
        .set("message.timeout.ms", "0") // as would what follows a record that has timed out
        .set("compression.type", "lz4")
        .set("linger.ms", LINGER_MS)
        .set("message.max.bytes", topic.message_len_max.to_string())
        .set("queue.buffering.max.messages", QUEUED_MAX)
        .set("queue.buffering.max.kbytes", QUEUED_MAX_KIB);
    config
}

/// Counts the partitions now and then, until they are others: no heartbeat goes to a new one.
async fn watch(producer: FutureProducer<Context>, topic: String, before: usize, lost: CancellationToken) {
    loop {
        tokio::time::sleep(COUNTED_EVERY).await;
        let (producer, topic) = (producer.clone(), topic.clone());
        let asked = tokio::task::spawn_blocking(move || topic::counted(producer.client(), &topic));
        match asked.await {
            Ok(Ok(now)) if now != before => return lost.cancel(),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(error = &error as &dyn std::error::Error, "the partitions could not be counted"),
            Err(_) => return lost.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_stored_behind_others_is_noticed() {
        let ends = Ends([9, -1].map(AtomicI64::new).into());
        assert!(ends.advance(0, 10).is_ok() && ends.advance(1, 0).is_ok() && ends.advance(0, 12).is_ok());
        assert!(matches!(ends.advance(0, 3), Err(KafkaRefused::WentBack { partition: 0, offset: 3, before: 12 })));
        assert!(matches!(ends.advance(2, 0), Err(KafkaRefused::Partitions)));
    }
}
