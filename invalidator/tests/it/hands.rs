//! What the tests do to each source at its server, and see there: logs that lose what they had, and readers that go back.

use std::time::Duration;

use async_nats::jetstream::{self, consumer::AckPolicy, consumer::DeliverPolicy, consumer::pull};
use freshline::coherence::Lsn;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{FutureProducer, FutureRecord},
};
use sqlx::AssertSqlSafe;

use crate::house::House;

/// A client's own patience with a broker that is coming back.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Debezium brings some hundred transactions a second where everything runs at once on two cores.
const STORED_WITHIN: Duration = Duration::from_secs(120);

/// The relay's stream, and the invalidator's consumer of it.
const STREAM: &str = "FRESHLINE";
const CONSUMER: &str = "freshline";

/// How far a source was acknowledged at some moment.
pub enum Bookmark {
    /// A copy of the slot.
    Slot(String),
    /// The message after which the stream goes on.
    Message(u64),
    /// The offsets, with what is noted beside them.
    Offsets(TopicPartitionList),
}

/// Waits until all that was written so far can be read by the invalidator: it is in the broker, and whoever put it there says so to the
/// slot only then. Where there is no broker it is in the log.
pub async fn stored(house: &House) {
    let position = house.stage.sql("select 1").await;
    if house.feed.nats().is_some() || house.feed.kafka().is_some() {
        let is_stored = async || confirmed(house).await >= position;
        stage::until_within(STORED_WITHIN, "all is in the broker", is_stored).await;
    }
}

/// The position up to which nobody asks the slot any more.
pub async fn confirmed(house: &House) -> u64 {
    let sql = format!(
        "select coalesce(max(confirmed_flush_lsn)::text, '0/0') from pg_replication_slots where slot_name = '{}'",
        house.feed.slot()
    );
    house.stage.value::<String>(&sql).await.parse::<Lsn>().expect("a position").get()
}

/// Notes how far the source was acknowledged.
pub async fn bookmark(house: &House) -> Bookmark {
    if house.feed.nats().is_some() {
        let info = stream(house).await.consumer_info(CONSUMER).await.expect("the invalidator's consumer");
        return Bookmark::Message(info.ack_floor.stream_sequence);
    }
    if house.feed.kafka().is_some() {
        return Bookmark::Offsets(kept_offsets(house));
    }
    let copy = format!("{}_copy", house.feed.slot());
    copy_slot(house, house.feed.slot(), &copy).await;
    Bookmark::Slot(copy)
}

/// Lets the source go on from there, once no invalidator reads it any more.
pub async fn go_back(house: &House, bookmark: Bookmark) {
    match bookmark {
        Bookmark::Slot(copy) => {
            drop_slot(house).await;
            copy_slot(house, &copy, house.feed.slot()).await;
            house.stage.sql(&format!("select pg_drop_replication_slot('{copy}')")).await;
        }
        Bookmark::Message(last) => {
            let stream = stream(house).await;
            stream.delete_consumer(CONSUMER).await.expect("it goes");
            let again = pull::Config {
                durable_name: Some(CONSUMER.to_owned()),
                deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: last + 1 },
                ack_policy: AckPolicy::All,
                ..pull::Config::default()
            };
            stream.create_consumer(again).await.expect("it is made again");
        }
        Bookmark::Offsets(offsets) => {
            let consumer: BaseConsumer = client(house).create().expect("a consumer");
            consumer.commit(&offsets, CommitMode::Sync).expect("the offsets are kept");
        }
    }
}

async fn copy_slot(house: &House, from: &str, to: &str) {
    house.stage.sql(&format!("select pg_copy_logical_replication_slot('{from}', '{to}')")).await;
}

/// Drops the slot as soon as nobody reads it.
pub async fn drop_slot(house: &House) {
    let drop = format!(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{}' and not active",
        house.feed.slot()
    );
    let dropped =
        async || sqlx::query(AssertSqlSafe(drop.as_str())).fetch_optional(house.stage.pool()).await.map(|row| row.is_some());
    house.stage.until("the slot is dropped", dropped).await;
}

/// Moves the slot past all that was written, as soon as nobody reads it.
pub async fn move_slot_on(house: &House) {
    let advance = format!("select pg_replication_slot_advance('{}', pg_current_wal_lsn())", house.feed.slot());
    let moved = async || sqlx::raw_sql(AssertSqlSafe(advance.as_str())).execute(house.stage.pool()).await.map(drop);
    house.stage.until("the slot is moved on", moved).await;
}

/// Where the last change of a product, which has been applied, lies in the source.
pub async fn last_change(house: &House) -> u64 {
    if house.feed.nats().is_some() {
        let last = stream(house).await.get_last_raw_message_by_subject("freshline.public.products").await;
        return last.expect("a change of a product").sequence;
    }
    if house.feed.kafka().is_some() {
        return last_update(house).expect("a change of a product");
    }
    house.stage.sql("select 1").await
}

/// Whether nothing up to this change is needed any more.
pub async fn is_acknowledged(house: &House, change: u64) -> bool {
    if house.feed.nats().is_some() {
        let info = stream(house).await.consumer_info(CONSUMER).await.expect("the invalidator's consumer");
        return info.ack_floor.stream_sequence >= change;
    }
    if house.feed.kafka().is_some() {
        let kept = kept_offsets(house).elements()[0].offset().to_raw(); // negative where there is none
        return kept.is_some_and(|next| u64::try_from(next).is_ok_and(|next| next > change));
    }
    confirmed(house).await >= change
}

/// Removes every message from the broker, and nothing else.
pub async fn empty_log(house: &House) {
    if house.feed.nats().is_some() {
        stream(house).await.purge().await.expect("purged");
        return;
    }
    let consumer: BaseConsumer = client(house).create().expect("a consumer");
    let mut ends = partitions(house);
    for partition in partitions(house).elements() {
        let (_, end) = consumer.fetch_watermarks(partition.topic(), partition.partition(), ANSWER_WITHIN).expect("the ends");
        ends.set_partition_offset(partition.topic(), partition.partition(), Offset::Offset(end)).expect("an offset");
    }
    admin(house).delete_records(&ends, &AdminOptions::new()).await.expect("the records are removed");
}

/// Removes the stream or the topic itself, and has it made again.
pub async fn remake_log(house: &House) {
    let Some((_, topic)) = house.feed.kafka() else {
        // The relay makes it again.
        return jetstream(house).await.delete_stream(STREAM).await.map(drop).expect("deleted");
    };
    let count = i32::try_from(partitions(house).count()).expect("few partitions");
    let patience = AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN));
    admin(house).delete_topics(&[&topic], &patience).await.expect("the topic is removed");
    let new = NewTopic::new(&topic, count, TopicReplication::Fixed(1));
    let made = async || {
        // Debezium may be the first.
        let made = admin(house).create_topics([&new], &patience).await.expect("an answer").remove(0);
        matches!(made, Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists)))
    };
    house.stage.until("the topic is made again", made).await;
}

/// The stream's interface.
pub async fn jetstream(house: &House) -> jetstream::Context {
    let nats = house.feed.nats().expect("a house with NATS");
    jetstream::new(async_nats::connect(nats.url()).await.expect("NATS answers"))
}

/// The relay's stream.
pub async fn stream(house: &House) -> jetstream::stream::Stream {
    jetstream(house).await.get_stream(STREAM).await.expect("the relay's stream")
}

/// A client of this house's Kafka, in the invalidator's group.
pub fn client(house: &House) -> ClientConfig {
    let (kafka, _) = house.feed.kafka().expect("a house with Kafka");
    let mut config = ClientConfig::new();
    // What is read here is not to count as read by the invalidator.
    config.set("bootstrap.servers", kafka.brokers()).set("group.id", house.stage.name()).set("enable.auto.commit", "false");
    config
}

/// The offsets that are kept for the invalidator.
pub fn kept_offsets(house: &House) -> TopicPartitionList {
    let consumer: BaseConsumer = client(house).create().expect("a consumer");
    consumer.committed_offsets(partitions(house), ANSWER_WITHIN).expect("the offsets")
}

/// An administrator of this house's Kafka.
pub fn admin(house: &House) -> AdminClient<DefaultClientContext> {
    client(house).create().expect("an administrator")
}

/// All partitions of the topic.
fn partitions(house: &House) -> TopicPartitionList {
    let (_, topic) = house.feed.kafka().expect("a house with Kafka");
    let consumer: BaseConsumer = client(house).create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(&topic), ANSWER_WITHIN).expect("the topic's partitions");
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        all.add_partition(&topic, partition.id());
    }
    all
}

/// The offset of the last update in the topic's first partition.
fn last_update(house: &House) -> Option<u64> {
    let (_, topic) = house.feed.kafka().expect("a house with Kafka");
    let consumer: BaseConsumer = client(house).create().expect("a consumer");
    let (_, end) = consumer.fetch_watermarks(&topic, 0, ANSWER_WITHIN).expect("the ends");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(&topic, 0, Offset::Beginning).expect("an offset");
    consumer.assign(&from).expect("assigned");
    let mut last = None;
    loop {
        let message = consumer.poll(ANSWER_WITHIN).expect("a message").expect("no error");
        let value: Option<serde_json::Value> = message.payload().and_then(|payload| serde_json::from_slice(payload).ok());
        if value.is_some_and(|value| value["op"] == "u") {
            last = u64::try_from(message.offset()).ok();
        }
        if message.offset() + 1 >= end {
            return last;
        }
    }
}

/// Puts a message into the broker that is not from who writes there.
pub async fn publish(house: &House, key: &[u8], value: &[u8]) {
    if house.feed.nats().is_some() {
        let jetstream = jetstream(house).await;
        let sent = jetstream.publish("freshline.public.products", value.to_vec().into()).await;
        return sent.expect("sent").await.map(drop).expect("stored");
    }
    let (_, topic) = house.feed.kafka().expect("a house with a broker");
    let producer: FutureProducer = client(house).create().expect("a producer");
    let record = FutureRecord::to(&topic).key(key).payload(value);
    producer.send(record, ANSWER_WITHIN).await.expect("it is acknowledged");
}
