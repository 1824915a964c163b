//! The direct source: Postgres's logical replication, with no broker between.

use std::sync::Arc;

use freshline::{
    change::{Beginning, Event, Place},
    coherence::{self, Lsn},
    replication::{self, BatchLimits, ChangeStream, ReplicationError, Started, StreamSettings},
};

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
        let Started { stream, start, made } = replication::start(&self.settings).await?;
        let begins_after = made.map(|snapshot| Beginning::Snapshot(Arc::new(snapshot))).into_iter().collect();
        Ok(Connected { stream, place: start.to_string(), start: Some(start), begins_after })
    }
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
