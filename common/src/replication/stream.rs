//! The streaming client: what the server sends becomes events, and only what the caller acknowledges is acknowledged.
//!
//! The client crate parses Begin, Commit and logical messages itself and keeps of them all that is needed here (xid, end of the
//! commit record, transactional flag); rows come as raw bytes. Its status updates carry one position, the last one acknowledged, or
//! none: a session starts at 0/0, which Postgres takes for "no news".

use std::{fmt, sync::Arc, time::Duration};

use pgwire_replication::ReplicationEvent;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    ReplicationError, StreamSettings,
    client::Client,
    error::{Phase, classify},
    pgoutput::Decoder,
};
use crate::{change::Event, coherence::Lsn};

/// How long [`ChangeStream::close`] takes at most.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How much [`ChangeStream::next_batch`] takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most so many events.
    pub events_max: usize,
    /// No more once the messages taken reach so many bytes; one message may pass it.
    pub bytes_max: usize,
}

/// The changes of one slot, from the first that has not been acknowledged.
///
/// Dropping it closes the connection at once; [`close`](Self::close) lets a last acknowledgement through first.
pub struct ChangeStream {
    client: Client,
    settings: Arc<StreamSettings>,
    decoder: Decoder,
    position: Lsn,
    acknowledged: Lsn,
    heard: Instant,
    failed: Option<ReplicationError>,
}

impl fmt::Debug for ChangeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeStream")
            .field("slot", &self.settings.slot)
            .field("position", &self.position)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl ChangeStream {
    pub(super) fn new(client: Client, settings: Arc<StreamSettings>) -> Self {
        Self {
            client,
            settings,
            decoder: Decoder::new(),
            position: Lsn::ZERO,
            acknowledged: Lsn::ZERO,
            heard: Instant::now(),
            failed: None,
        }
    }

    /// Waits for an event, then appends it and all that have come by then, within the limits.
    ///
    /// Cancel safe: events are appended without waiting in between, so a dropped future has taken nothing. After an error, which
    /// comes when all that preceded it has been taken, the stream is over and every further call repeats it.
    pub async fn next_batch(&mut self, events: &mut Vec<Event>, limits: BatchLimits) -> Result<(), ReplicationError> {
        let mut batch = Batch { first: events.len(), events, bytes: 0 };
        while batch.is_empty() {
            let message = self.next_message().await?;
            self.take(message, &mut batch)?;
        }
        while !batch.is_full(limits) {
            let Some(message) = self.client.ready() else { break };
            if self.take(message, &mut batch).is_err() {
                break; // told by the next call
            }
        }
        Ok(())
    }

    /// Everything below this has been delivered: the end of the last commit, or the walsender's position after it.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// How many logical messages were dropped because they were not transactional.
    pub fn messages_dropped(&self) -> u64 {
        self.decoder.messages_dropped()
    }

    /// Lets the slot forget everything up to `position`: the end of a commit, or a position reached outside a transaction, such
    /// that it and all before it need never come again. Anything else makes the slot skip a commit that has not been applied.
    /// Never goes back; told to the server within a quarter of a second.
    pub fn acknowledge(&mut self, position: Lsn) {
        self.acknowledged = self.acknowledged.max(position);
        self.client.acknowledge(position);
    }

    /// Tells the server what has been acknowledged and ends the session, within two seconds.
    pub async fn close(mut self) -> Result<(), ReplicationError> {
        let closed = timeout(CLOSE_DEADLINE, self.client.close(self.acknowledged)).await;
        match closed {
            Ok(closed) => closed.map_err(|error| classify(error, Phase::Streaming, &self.settings)),
            Err(_) => Err(ReplicationError::Late { doing: "closing the stream", deadline: CLOSE_DEADLINE }),
        }
    }

    async fn next_message(&mut self) -> Result<ReplicationEvent, ReplicationError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let silence_max = self.settings.silence_max();
        let failed = match timeout_at(self.heard + silence_max, self.client.next()).await {
            Ok(Ok(message)) => return Ok(message),
            Ok(Err(error)) => classify(error, Phase::Streaming, &self.settings),
            Err(_) => ReplicationError::Silent { silent_for: silence_max },
        };
        Err(self.failed.insert(failed).clone())
    }

    fn take(&mut self, message: ReplicationEvent, batch: &mut Batch<'_>) -> Result<(), ReplicationError> {
        self.heard = Instant::now();
        batch.bytes += message_len(&message);
        match self.event(message) {
            Ok(Some(event)) => batch.push(event),
            Ok(None) => {}
            Err(failed) => return Err(self.failed.insert(failed).clone()),
        }
        Ok(())
    }

    fn event(&mut self, message: ReplicationEvent) -> Result<Option<Event>, ReplicationError> {
        Ok(match message {
            ReplicationEvent::XLogData { data, .. } => self.decoder.decode(&data)?,
            ReplicationEvent::Begin { xid, .. } => Some(self.decoder.begin(xid)?),
            ReplicationEvent::Commit { end_lsn, .. } => {
                let event = self.decoder.commit(end_lsn.as_u64())?;
                self.position = self.position.max(position(end_lsn)?);
                Some(event)
            }
            ReplicationEvent::Message { transactional, prefix, content, .. } => {
                self.decoder.message(transactional, prefix.into(), content)?
            }
            ReplicationEvent::KeepAlive { wal_end, .. } => self.reached(position(wal_end)?),
            ReplicationEvent::StoppedAt { .. } => None, // only where a place to stop was asked for
        })
    }

    // Inside a transaction walEnd is still that of the record before it. After a commit a keepalive may lag behind its end.
    fn reached(&mut self, position: Lsn) -> Option<Event> {
        if self.decoder.in_transaction() || position <= self.position {
            return None;
        }
        self.position = position;
        Some(Event::Reached { position })
    }
}

fn position(sent: pgwire_replication::Lsn) -> Result<Lsn, ReplicationError> {
    let position = sent.as_u64();
    Ok(Lsn::new(position).ok_or(super::pgoutput::DecodeError::Position { position })?)
}

fn message_len(message: &ReplicationEvent) -> usize {
    match message {
        ReplicationEvent::XLogData { data, .. } => data.len(),
        ReplicationEvent::Message { prefix, content, .. } => prefix.len() + content.len(),
        _ => 0,
    }
}

/// What one call has taken, at the end of the caller's events.
struct Batch<'a> {
    events: &'a mut Vec<Event>,
    first: usize,
    bytes: usize,
}

impl Batch<'_> {
    fn is_empty(&self) -> bool {
        self.events.len() == self.first
    }

    fn is_full(&self, limits: BatchLimits) -> bool {
        self.events.len() - self.first >= limits.events_max || self.bytes >= limits.bytes_max
    }

    // Of positions reached one after the other, the last says it all.
    fn push(&mut self, event: Event) {
        match (self.events[self.first..].last_mut(), event) {
            (Some(last @ Event::Reached { .. }), later @ Event::Reached { .. }) => *last = later,
            (_, event) => self.events.push(event),
        }
    }
}
