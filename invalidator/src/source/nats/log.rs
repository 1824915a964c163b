//! The stream and its durable consumer: where to read on, and what is missing there.

use std::{collections::HashMap, collections::VecDeque, fmt, time::Duration};

use async_nats::{
    Client, Subject,
    jetstream::{
        self, ErrorCode,
        consumer::{AckPolicy, DeliverPolicy, Info, PullConsumer, pull},
        context::GetStreamErrorKind,
        stream::{LastRawMessageErrorKind, Stream},
    },
};
use freshline::{
    broker::nats::{Connection, KEY_HEADER, NatsSettings},
    change::Place,
};
use futures::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tokio_util::sync::CancellationToken;

use super::error::NatsFailed;
use crate::source::prepared::Raw;

/// Messages asked for at a time.
const PULL_MAX: usize = 2_000;

/// Messages in one batch: small enough that a poll is never kept waiting for long.
const BATCH_LEN_MAX: usize = 1_024;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// How often the server shows that it lives while nothing comes; missed twice, the stream is silent.
const HEARTBEAT: Duration = Duration::from_secs(2);
const PULL_EXPIRES: Duration = Duration::from_secs(10);

/// How long the server waits for an acknowledgement before it sends a message again. What it sends again is known by its number and
/// passed over, and a successor does not wait for it; so it may be long, and nothing needs to be said meanwhile.
const ACK_WAIT: Duration = Duration::from_secs(3600);

/// Where an acknowledgement of each message goes that are remembered one by one; beyond, every second is forgotten.
const REPLIES_MAX: usize = 65_536;

/// In the consumer's metadata: that what it skipped has not been seen to be over.
const HOLE: &str = "freshline-hole";

/// Where to read on.
#[derive(Debug)]
pub struct Start {
    /// The first message that is read.
    pub sequence: u64,
    /// Why what comes before may never have been read.
    pub hole: Option<Hole>,
}

/// Why something may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hole {
    /// Nobody has read the stream under this name, or none of those who did got as far as to open the cache.
    NothingAcknowledged,
    /// The last message that was acknowledged is gone, and perhaps others after it: where messages are purged or grow too old, the
    /// server moves what consumers have acknowledged along, whether they have or not.
    Gone { acknowledged: u64 },
    /// The stream ends before what was acknowledged: it was restored from an old copy.
    GoneBack { acknowledged: u64, last: u64 },
}

/// A message as the stream has it.
pub struct Delivered {
    /// Its number.
    pub sequence: u64,
    /// The message.
    pub message: jetstream::Message,
}

impl Delivered {
    /// Its key and value.
    pub fn raw(&self) -> Raw<'_> {
        let key = self.message.headers.as_ref().and_then(|headers| headers.get(KEY_HEADER));
        (key.map(|key| key.as_str().as_bytes()), Some(&*self.message.payload))
    }
}

/// The stream, as one consumer reads it.
pub struct Log {
    client: Client,
    lost: CancellationToken,
    messages: pull::Stream,
    replies: VecDeque<(u64, Subject)>,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingAcknowledged => f.write_str("nothing of the stream was ever acknowledged"),
            Self::Gone { acknowledged } => {
                write!(
                    f,
                    "message {acknowledged} of the stream is gone, the last that was acknowledged, and perhaps others after it"
                )
            }
            Self::GoneBack { acknowledged, last } => {
                write!(f, "the stream ends at message {last}, and {acknowledged} were acknowledged: it is an old copy")
            }
        }
    }
}

impl Log {
    /// Connects, and makes the consumer right after what was acknowledged.
    pub async fn open(settings: &NatsSettings, consumer: &str) -> Result<(Self, Start), NatsFailed> {
        let Connection { client, lost } = settings.connect("freshline-invalidator").await.map_err(NatsFailed::Connect)?;
        let stream = match jetstream::new(client.clone()).get_stream(&settings.stream).await {
            Ok(stream) => stream,
            Err(error) if is_missing(&error) => return Err(NatsFailed::NoStream { stream: settings.stream.clone() }),
            Err(error) => return Err(NatsFailed::asking("looking for the stream")(error)),
        };
        let before = consumer_info(&stream, consumer).await?;
        let state = stream.get_info().await.map_err(NatsFailed::asking("looking at the stream"))?.state;
        let kept = match &before {
            Some(info) => Some(Kept { is_there: is_there(&stream, info.ack_floor.stream_sequence).await?, ..Kept::of(info) }),
            None => None,
        };
        let start = begin(kept, state.last_sequence);
        if before.is_some() {
            stream.delete_consumer(consumer).await.map_err(NatsFailed::asking("removing the consumer that was there"))?;
        }
        let made: PullConsumer =
            stream.create_consumer(wanted(consumer, &start)).await.map_err(NatsFailed::asking("making the consumer"))?;
        let pulling = made.stream().max_messages_per_batch(PULL_MAX).heartbeat(HEARTBEAT).expires(PULL_EXPIRES);
        let messages = pulling.messages().await.map_err(NatsFailed::asking("reading the stream"))?;
        Ok((Self { client, lost, messages, replies: VecDeque::new() }, start))
    }

    /// Waits for a message, and takes all that have come by then, within bounds.
    pub async fn batch(&mut self) -> Result<Vec<Delivered>, NatsFailed> {
        let mut batch = Vec::new();
        let first = tokio::select! {
            biased;
            () = self.lost.cancelled() => return Err(NatsFailed::Lost),
            first = self.messages.next() => first.ok_or(NatsFailed::Lost)?,
        };
        let mut bytes = self.add(first, &mut batch)?;
        while batch.len() < BATCH_LEN_MAX && bytes < BATCH_BYTES_MAX {
            // The runtime has a task wait after some hundred takings, whether or not there is more; a batch is bounded by itself.
            let Some(next) = unconstrained(self.messages.next()).now_or_never() else { break };
            bytes += self.add(next.ok_or(NatsFailed::Lost)?, &mut batch)?;
        }
        Ok(batch)
    }

    fn add(
        &mut self,
        message: Result<jetstream::Message, pull::MessagesError>,
        batch: &mut Vec<Delivered>,
    ) -> Result<usize, NatsFailed> {
        let message = message.map_err(|error| NatsFailed::Silent(Box::new(error)))?;
        let sequence =
            message.info().map_err(|error| NatsFailed::Asking { doing: "numbering a message", cause: error })?.stream_sequence;
        if let Some(reply) = message.reply.clone() {
            self.remember(sequence, reply);
        }
        let size = message.payload.len();
        batch.push(Delivered { sequence, message });
        Ok(size)
    }

    /// An acknowledgement stands for all before it, so a later one does as well, and only comes later.
    fn remember(&mut self, sequence: u64, reply: Subject) {
        if self.replies.len() >= REPLIES_MAX {
            let mut is_kept = true;
            self.replies.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
        self.replies.push_back((sequence, reply));
    }

    /// Says that nothing up to this message is needed any more.
    pub async fn acknowledge(&mut self, place: Place) -> Result<(), NatsFailed> {
        let mut last = None;
        while let Some((_, reply)) = self.replies.pop_front_if(|(sequence, _)| *sequence <= place.0) {
            last = Some(reply);
        }
        let Some(reply) = last else { return Ok(()) };
        // Lost with its connection, it is told again with the next.
        self.client.publish(reply, "+ACK".into()).await.map_err(NatsFailed::asking("acknowledging"))
    }
}

/// What a consumer knows.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// All up to here were acknowledged.
    acknowledged: u64,
    /// Whether the last of them is still in the stream.
    is_there: bool,
    /// Whether it began in a hole, of which nobody has come out.
    is_in_hole: bool,
}

impl Kept {
    fn of(info: &Info) -> Self {
        let began_in_hole = info.config.metadata.get(HOLE).is_some_and(|word| word == "open");
        // Nothing is acknowledged before the cache has been opened.
        let is_in_hole = began_in_hole && info.ack_floor.consumer_sequence == 0;
        Self { acknowledged: info.ack_floor.stream_sequence, is_there: false, is_in_hole }
    }
}

/// Where to read on in a stream that has these messages. Behind a hole all that is there is older than the snapshot that the cache is
/// opened with, and is passed over.
fn begin(kept: Option<Kept>, last: u64) -> Start {
    let hole = match kept {
        None => Some(Hole::NothingAcknowledged),
        Some(Kept { acknowledged, .. }) if acknowledged > last => Some(Hole::GoneBack { acknowledged, last }),
        Some(Kept { is_in_hole: true, .. }) => Some(Hole::NothingAcknowledged),
        Some(Kept { acknowledged, is_there: false, .. }) => Some(Hole::Gone { acknowledged }),
        Some(Kept { acknowledged, .. }) => return Start { sequence: acknowledged + 1, hole: None },
    };
    Start { sequence: last + 1, hole }
}

fn wanted(name: &str, start: &Start) -> pull::Config {
    let metadata = HashMap::from([(HOLE.to_owned(), if start.hole.is_some() { "open" } else { "none" }.to_owned())]);
    pull::Config {
        durable_name: Some(name.to_owned()),
        description: Some("An invalidator of Freshline".to_owned()),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start.sequence },
        // What is acknowledged is always all up to a place.
        ack_policy: AckPolicy::All,
        ack_wait: ACK_WAIT,
        // Either limit would drop changes, or stall them.
        max_deliver: -1,
        max_ack_pending: -1,
        metadata,
        ..pull::Config::default()
    }
}

async fn is_there(stream: &Stream, sequence: u64) -> Result<bool, NatsFailed> {
    if sequence == 0 {
        return Ok(false);
    }
    match stream.get_raw_message(sequence).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(false),
        Err(error) => Err(NatsFailed::asking("looking for the last message that was acknowledged")(error)),
    }
}

async fn consumer_info(stream: &Stream, name: &str) -> Result<Option<Info>, NatsFailed> {
    use jetstream::context::ConsumerInfoErrorKind;
    match stream.consumer_info(name).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if matches!(error.kind(), ConsumerInfoErrorKind::NotFound) => Ok(None),
        Err(error) => Err(NatsFailed::asking("looking for the consumer")(error)),
    }
}

fn is_missing(error: &jetstream::context::GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(acknowledged: u64) -> Option<Kept> {
        Some(Kept { acknowledged, is_there: true, is_in_hole: false })
    }

    #[test]
    fn reading_goes_on_after_what_was_acknowledged() {
        for acknowledged in [4, 9] {
            let start = begin(kept(acknowledged), 9);
            assert_eq!((start.sequence, start.hole), (acknowledged + 1, None));
        }
    }

    #[test]
    fn what_is_missing_is_a_hole_and_reading_goes_on_at_the_end() {
        let holes = [
            (None, Hole::NothingAcknowledged),
            (Some(Kept { acknowledged: 3, is_there: true, is_in_hole: true }), Hole::NothingAcknowledged),
            (Some(Kept { acknowledged: 9, is_there: false, is_in_hole: false }), Hole::Gone { acknowledged: 9 }),
            (kept(12), Hole::GoneBack { acknowledged: 12, last: 9 }),
        ];
        for (kept, hole) in holes {
            let start = begin(kept, 9);
            assert_eq!((start.sequence, start.hole), (10, Some(hole)));
        }
    }
}
