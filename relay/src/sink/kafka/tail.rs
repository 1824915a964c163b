//! The end of each partition: where the next record has to lie, and what the last one says.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use freshline::broker::kafka::{ID_HEADER, NUMBER_HEADER};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
};
use tracing::warn;

use super::{ANSWER_WITHIN, Context, KafkaRefused, ToKafka, client_config};
use crate::sink::Last;

impl ConsumerContext for Context {}

/// The end of a topic.
#[derive(Debug)]
pub struct Tail {
    /// The last offset of each partition; -1 where it never had a record.
    pub ends: Vec<i64>,
    /// The number that the next record of each partition gets: the one that follows, or one that follows none.
    pub numbers: Vec<u64>,
    /// What all of them have; `None` where one has no record, or none of the relay's.
    pub last: Option<Last>,
}

impl Tail {
    /// Reads the last record of each partition.
    ///
    /// # Errors
    /// [`KafkaRefused`].
    pub async fn read(to: &ToKafka, partitions: usize, context: &Context) -> Result<Self, KafkaRefused> {
        let mut config = client_config(&to.address);
        // Without a group the client assigns nothing; no offset is ever kept in this one.
        config.set("group.id", "freshline-relay").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        let consumer = config.create_with_context(context.clone()).map_err(KafkaRefused::Settings)?;
        let (topic, context) = (to.topic.clone(), context.clone());
        let reading = move || read(&consumer, &topic, partitions, &context);
        tokio::task::spawn_blocking(reading).await.map_err(|_| KafkaRefused::Ended)?
    }
}

fn read(consumer: &BaseConsumer<Context>, topic: &str, partitions: usize, context: &Context) -> Result<Tail, KafkaRefused> {
    let mut ends = Vec::with_capacity(partitions);
    let mut assigned = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        let asked = consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN);
        let (low, high) = asked.map_err(context.doing("asking for the ends of a partition"))?;
        ends.push(high - 1);
        if high > low {
            let added = assigned.add_partition_offset(topic, partition, Offset::Offset(high - 1));
            added.map_err(context.doing("looking for the last record"))?;
        } else if high > 0 {
            warn!(partition, "the last record of the topic is gone: it was removed, or has grown too old");
        }
    }
    consumer.assign(&assigned).map_err(context.doing("looking for the last record"))?;
    let mut tails = vec![(None, None); partitions];
    read_lasts(consumer, assigned.count(), &mut tails, context)?;
    let (lasts, numbers): (Vec<Option<Last>>, Vec<Option<u64>>) = tails.into_iter().unzip();
    let numbers = numbers.into_iter().map(|number| number.map_or_else(follows_none, |number| number + 1)).collect();
    Ok(Tail { ends, numbers, last: least(&lasts) })
}

/// Reads until each partition that was assigned has come to its end.
fn read_lasts(
    consumer: &BaseConsumer<Context>,
    assigned: usize,
    tails: &mut [(Option<Last>, Option<u64>)],
    context: &Context,
) -> Result<(), KafkaRefused> {
    let (deadline, mut ended) = (Instant::now() + ANSWER_WITHIN, 0);
    while ended < assigned {
        let left = deadline.saturating_duration_since(Instant::now());
        match consumer.poll(left) {
            Some(Ok(message)) => {
                let slot = usize::try_from(message.partition()).ok().and_then(|slot| tails.get_mut(slot));
                slot.into_iter().for_each(|slot| *slot = (Some(last_of(&message)), number_of(&message)));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(context.doing("reading the last record")(error)),
            // Something else had happened.
            None if !left.is_zero() => {}
            None => return Err(context.doing("reading the last record")(KafkaError::NoMessageReceived)),
        }
    }
    Ok(())
}

fn last_of(message: &BorrowedMessage<'_>) -> Last {
    Last::of(header(message, ID_HEADER), message.payload())
}

fn number_of(message: &BorrowedMessage<'_>) -> Option<u64> {
    header(message, NUMBER_HEADER)?.parse().ok()
}

fn header<'a>(message: &'a BorrowedMessage<'_>, key: &str) -> Option<&'a str> {
    let value = message.headers()?.iter().find(|header| header.key == key)?.value?;
    std::str::from_utf8(value).ok()
}

/// Above all that were counted up from any earlier one, for no relay writes a million records a second.
fn follows_none() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros().try_into().unwrap_or(0))
}

/// The last record of all that every partition has been sent.
fn least(lasts: &[Option<Last>]) -> Option<Last> {
    let ids: Option<Vec<_>> = lasts.iter().map(|last| last.as_ref().and_then(|last| Some((last.id?, *last)))).collect();
    let ids = ids?;
    let history = ids.first()?.0.history;
    // A relay that came to a new history, and no further than to some of them: nothing is known of the rest.
    if ids.iter().any(|(id, _)| id.history != history) {
        return None;
    }
    ids.into_iter().min_by_key(|(id, _)| id.place()).map(|(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(id: &str) -> Option<Last> {
        Some(Last::of(Some(id), None))
    }

    #[test]
    fn what_all_partitions_have_is_what_the_one_that_is_behind_has() {
        let behind = last("7/1/1:0/20:0");
        assert_eq!(least(&[last("7/1/1:0/30:2"), behind, last("7/1/1:0/20:1")]), behind);
        assert_eq!(least(&[last("7/1/1:0/30:2"), None]), None, "nothing is known of an empty partition");
        assert_eq!(least(&[last("7/1/1:0/30:2"), last("another's")]), None);
        assert_eq!(least(&[last("7/1/1:0/30:2"), last("7/1/2:0/20:1")]), None);
        assert_eq!(least(&[]), None);
    }
}
