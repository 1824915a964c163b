//! A stream that a task of its own reads, ahead of the applier and bounded, so that decoding and applying go on at the same time.

use std::future::Future;

use freshline::{
    change::{Event, Place},
    fault::Classified,
};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::Stream;

/// Batches decoded and not yet taken. Full: nothing is read, and the broker keeps the log.
const BATCHES_IN_FLIGHT_MAX: usize = 4;

/// The task that reads is gone, and has not said why: it panicked, or has told its end before.
#[derive(Debug, thiserror::Error)]
#[error("the task that reads the broker has ended")]
pub struct Ended;

/// What the task reads, in order, and then why it ended. Dropped, it takes the task with it.
#[derive(Debug)]
pub struct Ahead<E> {
    batches: mpsc::Receiver<Result<Vec<Event>, E>>,
    acknowledged: watch::Sender<Place>,
    _task: AbortOnDropHandle<()>,
}

/// The task's end of it.
#[derive(Debug)]
pub struct Reader<E> {
    batches: mpsc::Sender<Result<Vec<Event>, E>>,
    acknowledged: watch::Receiver<Place>,
}

/// Nobody takes what is read any more.
#[derive(Debug)]
pub struct Left;

impl<E: Send + 'static> Ahead<E> {
    /// Starts the task, which reads until it fails or nobody takes what it reads.
    pub fn start<F>(read: impl FnOnce(Reader<E>) -> F) -> Self
    where
        F: Future<Output = Result<Left, E>> + Send + 'static,
    {
        let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT_MAX);
        let (acknowledged, told) = watch::channel(Place::default());
        let reading = read(Reader { batches: sender.clone(), acknowledged: told });
        let task = tokio::spawn(async move {
            if let Err(error) = reading.await
                && sender.send(Err(error)).await.is_err()
            {
                tracing::debug!("the session ended before the task that reads for it");
            }
        });
        Self { batches, acknowledged, _task: AbortOnDropHandle::new(task) }
    }
}

impl<E> Reader<E> {
    /// Hands a batch on, and waits while there are enough of them.
    pub async fn hand_on(&self, events: Vec<Event>) -> Result<(), Left> {
        if events.is_empty() {
            return Ok(());
        }
        self.batches.send(Ok(events)).await.map_err(|_| Left)
    }

    /// The place that was acknowledged last, each once. May be dropped at any time.
    pub async fn acknowledged(&mut self) -> Place {
        match self.acknowledged.changed().await {
            Ok(()) => *self.acknowledged.borrow_and_update(),
            // Nobody is left to acknowledge; handing on tells so.
            Err(_) => std::future::pending().await,
        }
    }
}

impl<E: Classified + From<Ended> + Send + Sync + 'static> Stream for Ahead<E> {
    type Error = E;

    async fn next_batch(&mut self, events: &mut Vec<Event>) -> Result<(), E> {
        events.append(&mut self.batches.recv().await.ok_or(Ended)??);
        Ok(())
    }

    fn acknowledge(&mut self, place: Place) {
        self.acknowledged.send_replace(place);
    }
}
