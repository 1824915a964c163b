//! The direct source: Postgres's logical replication, with no broker between.

use std::sync::Arc;

use freshline::{
    change::{Beginning, Event, Place},
    coherence::{self, Lsn},
    replication::{BatchLimits, ChangeStream, ReplicationError, Session, SlotState, StreamSettings},
};
use tracing::{info, warn};

use super::{Connected, Source, Stream};

/// What one batch may hold. Small enough that a poll is never kept waiting for more than some milliseconds.
const LIMITS: BatchLimits = BatchLimits { events_max: 1_024, bytes_max: 1 << 20 };

/// A slot of a Postgres primary. The slot itself sees to it that only one process streams.
#[derive(Debug)]
pub struct Postgres {
    settings: StreamSettings,
}

impl Postgres {
    /// The source of this publication and slot.
    pub fn new(settings: StreamSettings) -> Self {
        Self { settings }
    }
}

impl Source for Postgres {
    type Stream = ChangeStream;
    type Error = ReplicationError;

    async fn connect(&mut self, _history: coherence::Source) -> Result<Connected<ChangeStream>, ReplicationError> {
        let mut session = Session::open(self.settings.clone()).await?;
        let slot = &self.settings.slot;
        match session.slot().await? {
            SlotState::Ready { confirmed, .. } => {
                return Ok(connected(session.start().await?, confirmed, Vec::new()));
            }
            SlotState::Missing => info!("making the replication slot {slot}"),
            SlotState::Lost { reason } => {
                warn!("the replication slot {slot} has lost changes ({reason}): making it anew, and the cache with it");
                session.drop_slot().await?;
            }
        }
        let made = session.create_slot().await?;
        let begins_after = vec![Beginning::Snapshot(Arc::new(made.snapshot))];
        Ok(connected(session.start().await?, made.consistent_point, begins_after))
    }
}

fn connected(stream: ChangeStream, start: Lsn, begins_after: Vec<Beginning>) -> Connected<ChangeStream> {
    Connected { stream, place: start.to_string(), start: Some(start), begins_after }
}

impl Stream for ChangeStream {
    type Error = ReplicationError;

    async fn next_batch(&mut self, events: &mut Vec<Event>) -> Result<(), ReplicationError> {
        ChangeStream::next_batch(self, events, LIMITS).await
    }

    fn acknowledge(&mut self, place: Place) {
        // Its places are positions of the log, and this one is one of them.
        if let Some(position) = Lsn::new(place.0) {
            ChangeStream::acknowledge(self, position);
        }
    }
}
