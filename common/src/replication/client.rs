//! The client crate's connection, owned: its task ends with it, and what is ready can be told from what is still to come.

use std::sync::Arc;

use futures::FutureExt;
use pgwire_replication::{
    FeedbackObserver, IdentifySystem, PgWireError, QueryRow, ReplicationClient, ReplicationEvent, ReplicationMetrics,
};
use tokio::{sync::watch, task::unconstrained};

use super::{
    ReplicationError, StreamSettings,
    error::{Phase, classify},
};
use crate::coherence::Lsn;

/// A connection for replication.
pub(super) struct Client {
    inner: ReplicationClient,
    counters: Arc<ReplicationMetrics>,
    /// How many messages have been taken, of those that the counters say are forwarded.
    taken: u64,
    /// Changes when the server has been told of a later position.
    told: watch::Receiver<()>,
}

impl Client {
    /// Begins to connect. The first question waits for the connection, and reports why there is none.
    pub(super) async fn connect(settings: &StreamSettings) -> Result<Self, ReplicationError> {
        let (tell, told) = watch::channel(());
        let observer = FeedbackObserver::new(move |_| tell.send_modify(|()| {}));
        let config = settings.wire_config()?.with_feedback_observer(observer);
        let connected = ReplicationClient::connect_gated(config).await;
        let inner = connected.map_err(|error| classify(error, Phase::Connecting, settings))?;
        let counters = inner.metrics();
        Ok(Self { inner, counters, taken: 0, told })
    }

    pub(super) async fn identify_system(&mut self) -> Result<IdentifySystem, PgWireError> {
        self.inner.identify_system().await
    }

    pub(super) async fn simple_query(&mut self, sql: &str) -> Result<Vec<QueryRow>, PgWireError> {
        self.inner.simple_query(sql).await
    }

    /// Starts to stream, at the slot's place.
    pub(super) async fn start(&mut self) -> Result<(), PgWireError> {
        self.inner.start().await?;
        self.inner.wait_started().await
    }

    /// The next message, in order; the error that ended the connection after the last. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<ReplicationEvent, PgWireError> {
        match self.inner.recv().await {
            Ok(Some(message)) => {
                self.taken += 1;
                Ok(message)
            }
            Ok(None) => Err(PgWireError::Task("the connection ended unasked".to_owned())),
            // The crate gives the reason once. A future dropped in that very moment has taken it along.
            Err(PgWireError::Internal(said)) => {
                Err(PgWireError::Task(format!("the connection ended, its reason was lost: {said}")))
            }
            Err(error) => Err(error),
        }
    }

    /// The next message, if it is there already.
    pub(super) fn ready(&mut self) -> Option<ReplicationEvent> {
        // Asked only when a message is known to be there: the crate has no way to look without waiting, and a future of its that
        // is dropped at the connection's end takes the reason along. Unconstrained: Tokio's budget would end the batch early.
        if self.taken == self.counters.events_forwarded() {
            return None;
        }
        let message = unconstrained(self.inner.recv()).now_or_never()?.ok()??;
        self.taken += 1;
        Some(message)
    }

    pub(super) fn acknowledge(&self, position: Lsn) {
        self.inner.update_applied_lsn(pgwire_replication::Lsn(position.get()));
    }

    /// Waits until the server has been told what is acknowledged, and ends the stream in order.
    pub(super) async fn close(&mut self, acknowledged: Lsn) -> Result<(), PgWireError> {
        while self.counters.last_applied_lsn().as_u64() < acknowledged.get() {
            // The other side of it ends with the connection's task.
            if self.told.changed().await.is_err() {
                break;
            }
        }
        self.inner.shutdown().await
    }
}

impl Drop for Client {
    // The crate would leave its task to end by itself, which takes minutes where it is still connecting.
    fn drop(&mut self) {
        self.inner.abort();
    }
}
