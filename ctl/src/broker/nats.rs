//! NATS JetStream: the relay's stream, and the consumer that remembers how far it was applied.

use async_nats::jetstream::{
    self, ErrorCode, consumer,
    context::{ConsumerInfoErrorKind, GetStreamErrorKind},
    stream,
};
use freshline::broker::nats::NatsSettings;
use serde::Serialize;

use super::{Untold, connected};

/// A NATS server.
#[derive(Debug)]
pub struct Server {
    /// Its version.
    pub version: String,
    /// Whether it is one that the client's calls are made for: 2.10 or newer.
    pub is_new_enough: bool,
    /// Whether this user has JetStream there.
    pub has_jetstream: bool,
    /// The relay's stream, if it is there.
    pub stream: Option<Stream>,
}

/// The relay's stream.
#[derive(Debug, Serialize)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// The first message that it still has.
    pub first: u64,
    /// Its last message.
    pub last: u64,
    /// How many it has.
    pub messages: u64,
    /// Their size.
    pub bytes: u64,
    /// The consumer; none where it is not there.
    pub consumer: Option<Consumer>,
    #[serde(skip)]
    pub config: stream::Config,
    /// Messages deleted out of its middle.
    #[serde(skip)]
    pub deleted: u64,
}

/// The durable consumer.
#[derive(Debug, Serialize)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// Up to this message all is applied, visible, and acknowledged.
    pub acknowledged: u64,
    /// Whether that message is still there. It is not where messages were purged or grew too old, which moves consumers along.
    pub is_there: bool,
    /// How long the oldest message after it has been in the stream; none where there is none.
    pub oldest_us: Option<u64>,
    #[serde(skip)]
    pub config: consumer::Config,
}

impl Stream {
    /// Messages that are not acknowledged.
    pub fn unacknowledged(&self) -> Option<u64> {
        self.consumer.as_ref().map(|consumer| self.last.saturating_sub(consumer.acknowledged))
    }
}

/// Looks at the server, the stream and this consumer.
///
/// # Errors
/// [`Untold`].
pub async fn look(settings: &NatsSettings, consumer: &str) -> Result<Server, Untold> {
    let client = connected(settings).await?;
    let version = client.server_info().version;
    let is_new_enough = client.is_server_compatible(2, 10, 0);
    let server = Server { version, is_new_enough, has_jetstream: client.server_info().jetstream, stream: None };
    if !server.has_jetstream {
        return Ok(server);
    }
    let found = jetstream::new(client).get_stream(&settings.stream).await;
    let stream = match found {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(said) if said.error_code() == ErrorCode::STREAM_NOT_FOUND => return Ok(server),
            GetStreamErrorKind::JetStream(said) if said.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                return Ok(Server { has_jetstream: false, ..server });
            }
            _ => return Err(Untold::asking("NATS", "looking for the stream")(error)),
        },
    };
    Ok(Server { stream: Some(look_at_stream(&stream, consumer).await?), ..server })
}

async fn look_at_stream(stream: &stream::Stream, consumer: &str) -> Result<Stream, Untold> {
    let (config, state) = (stream.cached_info().config.clone(), &stream.cached_info().state);
    Ok(Stream {
        name: config.name.clone(),
        first: state.first_sequence,
        last: state.last_sequence,
        messages: state.messages,
        bytes: state.bytes,
        consumer: look_at_consumer(stream, consumer).await?,
        config,
        deleted: state.deleted_count.unwrap_or(0),
    })
}

async fn look_at_consumer(stream: &stream::Stream, name: &str) -> Result<Option<Consumer>, Untold> {
    let asking = || Untold::asking("NATS", "looking for the consumer");
    let info = match stream.consumer_info(name).await {
        Ok(info) => info,
        Err(error) if matches!(error.kind(), ConsumerInfoErrorKind::NotFound) => return Ok(None),
        Err(error) => return Err(asking()(error)),
    };
    let acknowledged = info.ack_floor.stream_sequence;
    let is_there = acknowledged == 0 || age_of(stream, acknowledged).await?.is_some();
    let oldest_us = oldest_after(stream, acknowledged).await?;
    Ok(Some(Consumer { name: name.to_owned(), acknowledged, is_there, oldest_us, config: info.config }))
}

/// How long the message after this one, or the first that is left, has been there, in µs by our own clock.
async fn oldest_after(stream: &stream::Stream, acknowledged: u64) -> Result<Option<u64>, Untold> {
    let state = &stream.cached_info().state;
    if state.messages == 0 || acknowledged >= state.last_sequence {
        return Ok(None);
    }
    age_of(stream, (acknowledged + 1).max(state.first_sequence)).await
}

async fn age_of(stream: &stream::Stream, sequence: u64) -> Result<Option<u64>, Untold> {
    let message = match stream.get_raw_message(sequence).await {
        Ok(message) => message,
        Err(error) if matches!(error.kind(), stream::LastRawMessageErrorKind::NoMessageFound) => return Ok(None),
        Err(error) => return Err(Untold::asking("NATS", "reading a message")(error)),
    };
    let age = async_nats::datetime::now() - message.time;
    Ok(Some(u64::try_from(age.whole_microseconds()).unwrap_or(0)))
}
