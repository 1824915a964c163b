//! The streaming client: what the server sends becomes events, and only what the caller acknowledges is acknowledged.
//!
//! The client crate parses Begin, Commit and logical messages itself and keeps of them all that is needed here (xid, end of the
//! commit record, transactional flag); rows come as raw bytes. Its status updates carry one position, the last one acknowledged, or
//! none: a session starts at 0/0, which Postgres takes for "no news".
//!
//! Three queues lie between the socket and the caller, all bounded: the kernel's, the client crate's (by messages: a few), and ours
//! (by bytes). When they are full the walsender waits, and Postgres keeps the log.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pgwire_replication::PgWireError;
use tokio::{sync::watch, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    ReplicationError, StreamSettings,
    client::Client,
    error::{Phase, classify},
    pump::{Order, Pump},
    queue::{Producer, Queue},
};
use crate::{change::Event, coherence::Lsn};

/// How long [`ChangeStream::close`] takes at most.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How much [`ChangeStream::next_batch`] takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// At most so many events, and never less than one.
    pub events_max: usize,
    /// No more once the events taken hold so many bytes of memory; the last may pass it.
    pub bytes_max: usize,
}

/// The changes of one slot, from the first that has not been acknowledged.
///
/// A task reads ahead of the caller, within bounds. Dropping the stream ends the task and closes the connection at once;
/// [`close`](Self::close) lets a last acknowledgement through first.
pub struct ChangeStream {
    queue: Arc<Queue>,
    orders: watch::Sender<Order>,
    settings: Arc<StreamSettings>,
    position: Lsn,
    messages_dropped: Arc<AtomicU64>,
    task: AbortOnDropHandle<Result<(), PgWireError>>,
}

impl fmt::Debug for ChangeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeStream").field("slot", &self.settings.slot).field("position", &self.position).finish_non_exhaustive()
    }
}

impl ChangeStream {
    pub(super) fn new(client: Client, settings: Arc<StreamSettings>) -> Self {
        let queue = Arc::new(Queue::default());
        let messages_dropped = Arc::new(AtomicU64::new(0));
        let (orders, ordered) = watch::channel(Order::default());
        let producer = Producer(Arc::clone(&queue));
        let pump = Pump::new(client, Arc::clone(&settings), ordered, producer, Arc::clone(&messages_dropped));
        let task = AbortOnDropHandle::new(tokio::spawn(pump.run()));
        Self { queue, orders, settings, position: Lsn::ZERO, messages_dropped, task }
    }

    /// Waits for an event, then appends it and all that have come by then, within the limits.
    ///
    /// Cancel safe: events are appended without waiting in between, so a dropped future has taken nothing. After an error, which
    /// comes when all that preceded it has been taken, the stream is over and every further call repeats it.
    pub async fn next_batch(&mut self, events: &mut Vec<Event>, limits: BatchLimits) -> Result<(), ReplicationError> {
        let first = events.len();
        self.queue.take(events, limits).await?;
        for event in events[first..].iter().rev() {
            if let Event::Commit { end: position, .. } | Event::Reached { position, .. } = event {
                self.position = *position;
                break;
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
        self.messages_dropped.load(Ordering::Relaxed)
    }

    /// Lets the slot forget everything up to `position`: the end of a commit, or a position reached outside a transaction, such
    /// that it and all before it need never come again. Anything else makes the slot skip a commit that has not been applied.
    ///
    /// Never goes back. Told to the server within a quarter of a second, also while the caller takes no events.
    pub fn acknowledge(&self, position: Lsn) {
        self.orders.send_if_modified(|order| {
            let later = position > order.acknowledged;
            order.acknowledged = order.acknowledged.max(position);
            later
        });
    }

    /// Tells the server what has been acknowledged and ends the session, within two seconds. Events not yet taken are lost to this
    /// session, and come again in the next.
    pub async fn close(self) -> Result<(), ReplicationError> {
        self.orders.send_modify(|order| order.close = true);
        match timeout(CLOSE_DEADLINE, self.task).await {
            Ok(Ok(closed)) => closed.map_err(|error| classify(error, Phase::Streaming, &self.settings)),
            Ok(Err(panicked)) => Err(ReplicationError::Unexpected { doing: "closing the stream", message: panicked.to_string() }),
            Err(_) => Err(ReplicationError::Late { doing: "closing the stream", deadline: CLOSE_DEADLINE }),
        }
    }
}
