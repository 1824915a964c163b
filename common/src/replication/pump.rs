//! The task that reads a stream ahead of its consumer: messages become events, and what is acknowledged goes out, even while the
//! consumer is busy.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use pgwire_replication::{PgWireError, ReplicationEvent};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    ReplicationError, StreamSettings,
    client::Client,
    error::{Phase, classify},
    pgoutput::{DecodeError, Decoder},
    queue::{Producer, Weighed},
};
use crate::{
    change::{Event, Place},
    coherence::Lsn,
};

/// How many bytes of messages are decoded before they are handed over.
const CHUNK_LEN: usize = 128 << 10;

/// What the consumer wants. The last one counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Order {
    /// What the server is to be told.
    pub(super) acknowledged: Lsn,
    /// Whether the stream is to end.
    pub(super) close: bool,
}

/// Reads one stream.
pub(super) struct Pump {
    client: Client,
    settings: Arc<StreamSettings>,
    orders: watch::Receiver<Order>,
    producer: Producer,
    decoder: Decoder,
    dropped: Arc<AtomicU64>,
    position: Lsn,
    heard: Instant,
}

/// Why the pump stops.
enum Stop {
    /// Nothing more comes.
    Failed(ReplicationError),
    /// The consumer wants an end in order.
    Asked,
    /// There is no consumer any more.
    Gone,
}

impl Pump {
    pub(super) fn new(
        client: Client,
        settings: Arc<StreamSettings>,
        orders: watch::Receiver<Order>,
        producer: Producer,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        let (decoder, position, heard) = (Decoder::new(), Lsn::ZERO, Instant::now());
        Self { client, settings, orders, producer, decoder, dropped, position, heard }
    }

    /// Runs until the stream ends or is to be closed. Ends with how the closing went, where it was asked for.
    pub(super) async fn run(mut self) -> Result<(), PgWireError> {
        match self.pump().await {
            Stop::Failed(reason) => {
                self.producer.0.end(reason);
                Ok(())
            }
            Stop::Gone => Ok(()),
            Stop::Asked => {
                let acknowledged = self.orders.borrow().acknowledged;
                self.client.acknowledge(acknowledged);
                self.client.close(acknowledged).await
            }
        }
    }

    async fn pump(&mut self) -> Stop {
        let mut decoded = Vec::new();
        loop {
            let read = self.read(&mut decoded).await;
            // What came before an error is delivered before it.
            let room = decoded.is_empty() || self.producer.0.push(&mut decoded);
            let waited = match read {
                Ok(()) if room => Ok(()),
                Ok(()) => self.wait_for_room().await,
                Err(stop) => Err(stop),
            };
            if let Err(stop) = waited {
                return stop;
            }
        }
    }

    /// Decodes what is there; where nothing is, waits for a message or an order.
    async fn read(&mut self, decoded: &mut Vec<Weighed>) -> Result<(), Stop> {
        let mut bytes = 0;
        while bytes < CHUNK_LEN
            && let Some(message) = self.client.ready()
        {
            bytes += self.decode(message, decoded)?;
        }
        if bytes > 0 || !decoded.is_empty() {
            return if self.orders.has_changed().unwrap_or(true) { self.obey() } else { Ok(()) };
        }
        let silence_max = self.settings.silence_max();
        let message = tokio::select! {
            biased;
            _ = self.orders.changed() => return self.obey(),
            message = timeout_at(self.heard + silence_max, self.client.next()) => message,
        };
        match message {
            Ok(Ok(message)) => self.decode(message, decoded).map(|_| ()),
            Ok(Err(error)) => Err(Stop::Failed(classify(error, Phase::Streaming, &self.settings))),
            Err(_) => Err(Stop::Failed(ReplicationError::Silent { silent_for: silence_max })),
        }
    }

    /// The consumer is behind: until it has caught up, the server is not read, but told.
    async fn wait_for_room(&mut self) -> Result<(), Stop> {
        loop {
            tokio::select! {
                biased;
                _ = self.orders.changed() => self.obey()?,
                () = self.producer.0.room() => break,
            }
        }
        // Nobody has listened meanwhile.
        self.heard = Instant::now();
        Ok(())
    }

    fn obey(&mut self) -> Result<(), Stop> {
        if self.orders.has_changed().is_err() {
            return Err(Stop::Gone);
        }
        let order = *self.orders.borrow_and_update();
        self.client.acknowledge(order.acknowledged);
        if order.close { Err(Stop::Asked) } else { Ok(()) }
    }

    /// Adds the event that a message means, if any; answers with the message's length.
    fn decode(&mut self, message: ReplicationEvent, decoded: &mut Vec<Weighed>) -> Result<usize, Stop> {
        self.heard = Instant::now();
        let len = message_len(&message);
        let event = self.event(message).map_err(|error| Stop::Failed(error.into()))?;
        decoded.extend(event.map(|event| Weighed::new(event, len)));
        Ok(len)
    }

    fn event(&mut self, message: ReplicationEvent) -> Result<Option<Event>, DecodeError> {
        Ok(match message {
            ReplicationEvent::XLogData { data, .. } => self.decoder.decode(&data)?,
            ReplicationEvent::Begin { xid, final_lsn, commit_time_micros } => {
                Some(self.decoder.begin(xid, final_lsn.as_u64(), commit_time_micros)?)
            }
            ReplicationEvent::Commit { end_lsn, .. } => {
                let event = self.decoder.commit(end_lsn.as_u64())?;
                self.position = self.position.max(position(end_lsn)?);
                Some(event)
            }
            ReplicationEvent::Message { transactional, prefix, content, .. } => {
                let event = self.decoder.message(transactional, prefix.into(), content)?;
                self.dropped.store(self.decoder.messages_dropped(), Ordering::Relaxed);
                event
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
        Some(Event::Reached { position, place: Place::at(position) })
    }
}

fn position(sent: pgwire_replication::Lsn) -> Result<Lsn, DecodeError> {
    let position = sent.as_u64();
    Lsn::new(position).ok_or(DecodeError::Position { position })
}

fn message_len(message: &ReplicationEvent) -> usize {
    match message {
        ReplicationEvent::XLogData { data, .. } => data.len(),
        ReplicationEvent::Message { prefix, content, .. } => prefix.len() + content.len(),
        _ => 0,
    }
}
