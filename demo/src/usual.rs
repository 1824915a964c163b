//! The usual way beside Freshline: the same reads of one row at the same instants, while the row is changed.
//!
//! The usual way is DEL when a change is streamed, and SET with a TTL by whoever reads the row on a miss. It is done here as it is done
//! everywhere, under keys of its own; nothing of it runs unless somebody asks. Freshline's reads go to a replica of the API, as anybody's.

mod cached;
mod consumer;
mod event;
mod failure;
mod freshline;
mod order;
mod readers;
mod rounds;
mod run;
mod scene;
mod truth;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use http::header;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{event::Event, order::Order, run::Run};
use crate::{
    form::Form,
    problem::{Problem, Subject},
    routes::Services,
};

/// Events on their way to whoever asked. One who takes none for long is cut off by the server.
const EVENTS_MAX: usize = 256;

/// How long it may take until all is connected: a new slot waits for every transaction that is open.
const PREPARED_MAX: Duration = Duration::from_secs(20);

/// Takes comparisons, one at a time. Cheap to clone.
#[derive(Clone)]
pub struct Comparisons {
    runs: mpsc::Sender<Run>,
    turn: Arc<Semaphore>,
}

/// The task that runs them.
pub struct Comparing {
    runs: mpsc::Receiver<Run>,
}

impl Comparisons {
    /// One place for a comparison, and the task.
    pub fn new() -> (Self, Comparing) {
        let (sender, runs) = mpsc::channel(1);
        (Self { runs: sender, turn: Arc::new(Semaphore::new(1)) }, Comparing { runs })
    }
}

impl Comparing {
    /// Runs each comparison to its end, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(run)) = stop.run_until_cancelled(self.runs.recv()).await {
            run.carry_out(&stop).await;
        }
    }
}

/// `POST /usual`.
pub async fn compare(State(services): State<Arc<Services>>, request: Request) -> Result<Response, Problem> {
    let order = Order::read(Form::read(request).await?)?;
    let turn = Arc::clone(&services.comparisons.turn).try_acquire_owned();
    let turn = turn.map_err(|_| Problem::new(Subject::Busy, "Another comparison runs: wait for its end, or leave it."))?;
    let (events, told) = mpsc::channel(EVENTS_MAX);
    let run = timeout(PREPARED_MAX, Run::prepare(order, services.clone(), events, turn)).await;
    let run = run.unwrap_or_else(|_| Err(Problem::new(Subject::Unavailable, "Postgres or Redis did not answer in time.")))?;
    let begun = services.comparisons.runs.send(run).await;
    begun.map_err(|_| Problem::new(Subject::Unavailable, "The demonstration is ending."))?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")], lines(told)).into_response())
}

/// A line for each event, as it comes.
fn lines(told: mpsc::Receiver<Event>) -> Body {
    Body::from_stream(stream::unfold(told, async |mut told| {
        let event = told.recv().await?;
        // Texts and numbers: none of them can fail to be written.
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(line)), told))
    }))
}
