//! Events decoded ahead of their consumer, bounded by the memory that they hold.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pgwire_replication::PgWireError;
use tokio::sync::Notify;

use super::{BatchLimits, ReplicationError, error::Phase};
use crate::change::{Event, Row, Value};

/// How many bytes are held ahead. With them a consumer that comes back from applying one batch finds the next.
const BYTES_MAX: usize = 4 << 20;

/// An event, and how many bytes it holds: those of its message and those that it needs besides.
pub(super) struct Weighed {
    event: Event,
    bytes: usize,
}

impl Weighed {
    /// An event from a message of this length.
    pub(super) fn new(event: Event, message_len: usize) -> Self {
        let len = |row: &Option<Row>| row.as_ref().map_or(0, Row::len);
        let values = if let Event::Row(change) = &event { len(&change.before) + len(&change.after) } else { 0 };
        let bytes = message_len + size_of::<Event>() + values * size_of::<Value>();
        Self { event, bytes }
    }
}

/// The queue between the task that decodes and the consumer. One of each.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    drained: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<Weighed>,
    bytes: usize,
    ended: Option<ReplicationError>,
}

impl State {
    fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX
    }

    // Of positions reached one after the other, the last says it all.
    fn push(&mut self, next: Weighed) {
        if let (Some(last), Event::Reached { .. }) = (self.events.back_mut(), &next.event)
            && matches!(last.event, Event::Reached { .. })
        {
            last.event = next.event;
        } else {
            self.bytes += next.bytes;
            self.events.push_back(next);
        }
    }

    fn pop(&mut self) -> Option<Weighed> {
        let first = self.events.pop_front()?;
        self.bytes -= first.bytes;
        Some(first)
    }
}

impl Queue {
    /// Hands over what has been decoded. Whether there is room for more.
    pub(super) fn push(&self, decoded: &mut Vec<Weighed>) -> bool {
        let mut state = self.state();
        for next in decoded.drain(..) {
            state.push(next);
        }
        let room = !state.is_full();
        drop(state);
        self.filled.notify_one();
        room
    }

    /// Waits until there is room. Cancel safe.
    pub(super) async fn room(&self) {
        while self.state().is_full() {
            self.drained.notified().await;
        }
    }

    /// Says why nothing more will come. The first reason stays.
    pub(super) fn end(&self, reason: ReplicationError) {
        self.state().ended.get_or_insert(reason);
        self.filled.notify_one();
    }

    /// Waits for an event, then appends it and what else is there, within the limits; the reason for the end after the last. Cancel
    /// safe.
    pub(super) async fn take(&self, events: &mut Vec<Event>, limits: BatchLimits) -> Result<(), ReplicationError> {
        loop {
            if self.take_ready(events, limits)? {
                return Ok(());
            }
            self.filled.notified().await;
        }
    }

    fn take_ready(&self, events: &mut Vec<Event>, limits: BatchLimits) -> Result<bool, ReplicationError> {
        let mut state = self.state();
        let (mut count, mut bytes) = (0, 0);
        while count < limits.events_max.max(1)
            && (count == 0 || bytes < limits.bytes_max)
            && let Some(next) = state.pop()
        {
            events.push(next.event);
            (count, bytes) = (count + 1, bytes + next.bytes);
        }
        if count > 0 {
            self.drained.notify_one();
            return Ok(true);
        }
        state.ended.clone().map_or(Ok(false), Err)
    }

    // A panic of the other side cannot leave it half changed in a way that matters: it is a list.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that decodes. When it is gone, whatever became of it, the consumer is told.
pub(super) struct Producer(pub(super) std::sync::Arc<Queue>);

impl Drop for Producer {
    fn drop(&mut self) {
        let source = PgWireError::Task("the task that reads the stream is gone".to_owned());
        self.0.end(ReplicationError::Disconnected { doing: Phase::Streaming.doing(), source });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;
    use crate::{
        change::Place,
        coherence::{Lsn, NarrowXid},
    };

    const LIMITS: BatchLimits = BatchLimits { events_max: usize::MAX, bytes_max: usize::MAX };

    fn begin(message_len: usize) -> Weighed {
        Weighed::new(Event::Begin { xid: NarrowXid(3), commit: Lsn::ZERO, committed_us: None }, message_len)
    }

    fn reached(position: u64) -> Weighed {
        Weighed::new(Event::Reached { position: Lsn::new(position).expect("small"), place: Place(position) }, 0)
    }

    fn taken(queue: &Queue, limits: BatchLimits) -> Vec<Event> {
        let mut events = Vec::new();
        queue.take(&mut events, limits).now_or_never().expect("something is there").expect("no end");
        events
    }

    #[test]
    fn it_is_full_by_what_it_holds_and_has_room_again_once_something_is_taken() {
        for (count, message_len) in [(1, BYTES_MAX), (BYTES_MAX / size_of::<Event>() + 1, 0)] {
            let queue = Queue::default();
            let mut events: Vec<Weighed> = (0..count).map(|_| begin(message_len)).collect();
            assert!(!queue.push(&mut events), "{count} events of {message_len} bytes leave no room");
            assert!(queue.room().now_or_never().is_none());
            assert_eq!(taken(&queue, LIMITS).len(), count);
            assert!(queue.room().now_or_never().is_some());
        }
    }

    #[test]
    fn a_batch_keeps_its_limits_and_always_has_an_event() {
        let queue = Queue::default();
        queue.push(&mut (0..5).map(|_| begin(1000)).collect());
        assert_eq!(taken(&queue, BatchLimits { events_max: 2, bytes_max: 10_000 }).len(), 2);
        assert_eq!(taken(&queue, BatchLimits { events_max: 9, bytes_max: 1500 }).len(), 2);
        assert_eq!(taken(&queue, BatchLimits { events_max: 0, bytes_max: 0 }).len(), 1);
    }

    #[test]
    fn of_positions_reached_in_a_row_the_last_is_kept() {
        let queue = Queue::default();
        queue.push(&mut vec![reached(1), reached(2), begin(0), reached(3)]);
        queue.push(&mut vec![reached(4)]);
        let events = taken(&queue, LIMITS);
        let at = |n: usize| if let Event::Reached { position, .. } = events[n] { position.get() } else { 0 };
        assert_eq!((events.len(), at(0), at(2)), (3, 2, 4));
    }

    #[test]
    fn the_reason_for_the_end_comes_after_the_last_event_and_stays() {
        let queue = Arc::new(Queue::default());
        queue.push(&mut vec![begin(1)]);
        queue.end(ReplicationError::SlotMissing { slot: "s".into() });
        drop(Producer(Arc::clone(&queue)));
        assert_eq!(taken(&queue, LIMITS).len(), 1);
        for _ in 0..2 {
            let ended = queue.take(&mut Vec::new(), LIMITS).now_or_never().expect("the end");
            assert!(matches!(ended, Err(ReplicationError::SlotMissing { .. })), "{ended:?}");
        }
    }

    #[tokio::test]
    async fn a_producer_that_panics_ends_the_stream() {
        let queue = Arc::new(Queue::default());
        let producer = Producer(Arc::clone(&queue));
        let panicked = tokio::spawn(async move {
            let _producer = producer;
            panic!("on purpose");
        });
        assert!(queue.take(&mut Vec::new(), LIMITS).await.is_err());
        assert!(panicked.await.is_err());
    }
}
