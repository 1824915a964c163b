//! JetStream: one stream, a subject for each table.

use std::{future::IntoFuture, time::Duration};

use async_nats::{
    Client, HeaderMap,
    header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_MESSAGE_ID},
    jetstream::{
        self, Context,
        context::{CreateStreamError, GetStreamErrorKind, PublishError},
        message::StreamMessage,
        stream::{Config, DiscardPolicy, RawMessageError, RetentionPolicy, StorageType, Stream},
    },
};
use freshline::{
    broker::nats::{Connection, KEY_HEADER, NatsRefusal, NatsSettings},
    fault::{Classified, Kind},
};
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Last, Stored};
use crate::{session::IN_FLIGHT_MAX, transaction::Letter};

/// How long the server recognizes a message that it has. What it has is not sent again, unless its answer was lost.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// How long it may take to answer a publish.
const ACK_WITHIN: Duration = Duration::from_secs(10);

/// Kept of the largest payload for headers.
const HEADERS_LEN_MAX: usize = 4_096;

/// Which stream, and how long it keeps a message if it has to be made.
#[derive(Debug, Clone)]
pub struct ToNats {
    pub settings: NatsSettings,
    pub max_age: Duration,
}

/// A stream that is published to.
pub struct Nats {
    context: Context,
    settings: NatsSettings,
    client: Client,
    lost: CancellationToken,
    /// The stream's last message, as far as we have asked for.
    last_id: Option<String>,
    /// What the stream's last hole has in its id; all that follows it has the same. What is sent after a hole may have been stored
    /// before: taken for a duplicate it would not be the stream's last message, and the next one be refused.
    nonce: Option<String>,
}

/// Why messages cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// There is no connection.
    #[error("NATS cannot be used")]
    Connect(#[source] NatsRefusal),
    /// The stream could not be looked at.
    #[error("the stream cannot be looked at")]
    Look(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The stream could not be made.
    #[error("the stream cannot be made")]
    Make(#[source] CreateStreamError),
    /// The stream is not one that changes can be kept in.
    #[error("the stream {stream} is not fit for changes: {}", faults.join("; "))]
    Unfit {
        /// Its name.
        stream: String,
        /// What is wrong with it, each with what it has to be.
        faults: Vec<String>,
    },
    /// A message was not stored.
    #[error("a message was not stored")]
    Publish(#[source] PublishError),
}

impl Classified for NatsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Connect(error) => error.kind(),
            Self::Unfit { .. } => Kind::Permanent,
            Self::Look(_) | Self::Make(_) | Self::Publish(_) => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.remedy(),
            Self::Unfit { stream, .. } => Some(format!(
                "mend it with `nats stream edit {stream}`, or name another stream in FRESHLINE_NATS_STREAM: the relay makes it"
            )),
            Self::Make(_) => Some("check that the server has JetStream, and that this user may make streams".to_owned()),
            Self::Look(_) | Self::Publish(_) => None,
        }
    }
}

impl Nats {
    /// Connects, and makes the stream if it is not there.
    ///
    /// # Errors
    /// [`NatsError`].
    pub async fn connect(to: &ToNats) -> Result<(Self, Option<Last>), NatsError> {
        let ToNats { settings, max_age } = to;
        let Connection { client, lost } = settings.connect("freshline-relay").await.map_err(NatsError::Connect)?;
        // The session bounds what is in flight; the client's own bound waits for answers that the session takes, and must not come first.
        let context = jetstream::ContextBuilder::new().timeout(ACK_WITHIN).max_ack_inflight(2 * IN_FLIGHT_MAX);
        let context = context.build(client.clone());
        let stream = stream(&context, settings, *max_age).await?;
        let last = last_message(&stream).await?;
        let last_id = last.as_ref().and_then(|message| header(&message.headers, NATS_MESSAGE_ID.as_ref()));
        let last = last.map(|message| Last::of(last_id.as_deref(), Some(&message.payload)));
        let nonce = last_id.as_deref().and_then(|id| id.splitn(4, ':').nth(3)).map(str::to_owned);
        Ok((Self { context, settings: settings.clone(), client, lost, last_id, nonce }, last))
    }

    /// The longest value that the server takes.
    pub fn value_len_max(&self) -> usize {
        self.client.server_info().max_payload.saturating_sub(HEADERS_LEN_MAX)
    }

    /// Cancelled when the connection is lost: what was sent on it and not answered may be stored or not.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Sends a message; the answer says when it is stored, right after the one sent before it.
    ///
    /// # Errors
    /// [`NatsError::Publish`].
    pub async fn publish(&mut self, letter: Letter) -> Result<Stored, NatsError> {
        let mut headers = HeaderMap::new();
        self.nonce = letter.nonce.map(|nonce| nonce.to_string()).or(self.nonce.take());
        let id = match &self.nonce {
            Some(nonce) => format!("{}:{nonce}", letter.id),
            None => letter.id.to_string(),
        };
        headers.insert(NATS_MESSAGE_ID, id.as_str());
        if let Some(key) = letter.posting.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) {
            headers.insert(KEY_HEADER, key);
        }
        if let Some(last) = self.last_id.replace(id) {
            headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, last.as_str());
        }
        let subject = self.settings.subject(&letter.subject);
        let sent = self.context.publish_with_headers(subject, headers, letter.posting.value.into()).await;
        let stored = sent.map_err(NatsError::Publish)?.into_future();
        Ok(stored.map(|stored| stored.map(drop).map_err(|error| NatsError::Publish(error).into())).boxed())
    }
}

/// The stream, made if it is not there, and looked at if it is.
async fn stream(context: &Context, settings: &NatsSettings, max_age: Duration) -> Result<Stream, NatsError> {
    match context.get_stream(&settings.stream).await {
        Ok(stream) => {
            let faults = settings.faults(&stream.cached_info().config);
            if faults.is_empty() { Ok(stream) } else { Err(NatsError::Unfit { stream: settings.stream.clone(), faults }) }
        }
        Err(error) if is_missing(&error) => {
            info!("making the stream {}", settings.stream);
            let made = context.create_stream(wanted(settings, max_age)).await.map_err(NatsError::Make)?;
            let name = made.cached_info().config.name.clone();
            context.get_stream(name).await.map_err(|error| NatsError::Look(Box::new(error)))
        }
        Err(error) => Err(NatsError::Look(Box::new(error))),
    }
}

fn is_missing(error: &jetstream::context::GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

fn wanted(settings: &NatsSettings, max_age: Duration) -> Config {
    Config {
        name: settings.stream.clone(),
        description: Some("Changes of Postgres, by freshline-relay, which alone may write here".to_owned()),
        subjects: vec![settings.subject(">")],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_age,
        duplicate_window: DUPLICATE_WINDOW.min(max_age),
        deny_delete: true,
        ..Config::default()
    }
}

/// The last message of the stream, if that has ever had one and has it still.
async fn last_message(stream: &Stream) -> Result<Option<StreamMessage>, NatsError> {
    let state = &stream.cached_info().state;
    if state.last_sequence == 0 {
        return Ok(None);
    }
    match stream.get_raw_message(state.last_sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if is_gone(&error) => {
            warn!("the last message of the stream is gone: it was purged, or has grown too old");
            Ok(None)
        }
        Err(error) => Err(NatsError::Look(Box::new(error))),
    }
}

fn is_gone(error: &RawMessageError) -> bool {
    matches!(error.kind(), jetstream::stream::LastRawMessageErrorKind::NoMessageFound)
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.as_str().to_owned())
}
