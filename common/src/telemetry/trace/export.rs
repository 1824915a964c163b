//! Sends ended spans to a collector: batches over HTTP, each with a deadline, from a queue with a bound.
//!
//! Spans are samples, so one that cannot be brought is given up and counted, and nobody waits for it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use metrics::counter;
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{debug, info, warn};

use super::{CollectorUrl, TRACER, Tracer, Tracing, otlp::request, span::Ended};
use crate::{
    registry::instance,
    telemetry::{TelemetryFault, names},
};

/// Ended spans that wait to be sent, a kilobyte each at most.
const WAITING_MAX: usize = 4_096;

/// Spans that are sent together, as in OpenTelemetry's own processors.
const BATCH_LEN_MAX: usize = 512;

/// How long a span waits for others to be sent with.
const GATHER: Duration = Duration::from_secs(1);

/// How long a collector may take for one batch; and for all that is left when the process ends.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The task that sends spans; none where traces are off.
#[derive(Debug)]
#[must_use = "what has not been sent is lost with it"]
pub struct Exporting {
    task: Option<(JoinHandle<()>, CancellationToken)>,
}

/// Traces from now on, as process `service`, where there is somewhere to send spans to. Once in a process, and within its runtime.
///
/// # Errors
/// If it was done before.
pub fn start(tracing: Option<&Tracing>, service: &'static str) -> Result<Exporting, TelemetryFault> {
    let Some(Tracing { collector, ratio }) = tracing.cloned() else { return Ok(Exporting { task: None }) };
    let (ended, waiting) = mpsc::channel(WAITING_MAX);
    TRACER.set(Tracer { ended, ratio }).map_err(|_| TelemetryFault::TracesTwice)?;
    info!("traces go to {collector}");
    let over = CancellationToken::new();
    let exporter = Exporter { waiting, collector, service, instance: instance(), is_known_away: false };
    Ok(Exporting { task: Some((tokio::spawn(exporter.run(over.clone())), over)) })
}

impl Exporting {
    /// Sends what is left, for two seconds at most. After everything else of the process has ended.
    pub async fn end(self) {
        let Some((task, over)) = self.task else { return };
        over.cancel();
        if let Err(broken) = task.await {
            warn!("the export of traces broke: {broken}");
        }
    }
}

struct Exporter {
    waiting: mpsc::Receiver<Ended>,
    collector: CollectorUrl,
    service: &'static str,
    instance: String,
    is_known_away: bool,
}

/// Why a batch could not be brought.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("it cannot be reached")]
    Connect(#[from] std::io::Error),
    #[error("it does not answer as HTTP does")]
    Http(#[from] hyper::Error),
    #[error("it answers {0}")]
    Refused(StatusCode),
    #[error("it has not answered for {} s", ANSWER_WITHIN.as_secs())]
    Late,
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
}

impl Exporter {
    async fn run(mut self, over: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_LEN_MAX);
        while over.run_until_cancelled(self.gather(&mut batch)).await.is_some() {
            // Not raced with the end: it is bounded by itself.
            self.send(&mut batch).await;
        }
        let flushed = timeout(FLUSH_WITHIN, async {
            loop {
                while batch.len() < BATCH_LEN_MAX
                    && let Ok(span) = self.waiting.try_recv()
                {
                    batch.push(span);
                }
                if batch.is_empty() {
                    return;
                }
                self.send(&mut batch).await;
            }
        });
        if flushed.await.is_err() {
            warn!("the last spans were not sent: {} took too long", self.collector);
        }
    }

    /// Waits for a span, and then a while for more. Dropped in between, it keeps them in the batch.
    async fn gather(&mut self, batch: &mut Vec<Ended>) {
        if self.waiting.recv_many(batch, BATCH_LEN_MAX).await == 0 {
            return std::future::pending().await; // the tracer is never dropped
        }
        let more = async {
            while batch.len() < BATCH_LEN_MAX {
                let room = BATCH_LEN_MAX - batch.len();
                self.waiting.recv_many(batch, room).await;
            }
        };
        // Full or not: it goes now.
        timeout(GATHER, more).await.unwrap_or(());
    }

    async fn send(&mut self, batch: &mut Vec<Ended>) {
        let body = request(self.service, &self.instance, batch);
        let sent = timeout(ANSWER_WITHIN, post(&self.collector, body)).await.unwrap_or(Err(ExportError::Late));
        let outcome = if sent.is_ok() { "exported" } else { "failed" };
        counter!(names::SPANS, "outcome" => outcome).increment(batch.len() as u64);
        batch.clear();
        self.tell(sent);
    }

    /// Logs a change, not a state.
    fn tell(&mut self, sent: Result<(), ExportError>) {
        match sent {
            Ok(()) if std::mem::take(&mut self.is_known_away) => info!("{} takes traces again", self.collector),
            Ok(()) => {}
            Err(error) if std::mem::replace(&mut self.is_known_away, true) => {
                debug!(error = &error as &dyn std::error::Error, "spans were given up");
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "spans are given up: {} does not take them", self.collector);
            }
        }
    }
}

/// Sends one request on a connection of its own: it is one a second at most.
async fn post(collector: &CollectorUrl, body: Vec<u8>) -> Result<(), ExportError> {
    let stream = TcpStream::connect(collector.authority()).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // What breaks it breaks the request as well.
    let _driven = AbortOnDropHandle::new(tokio::spawn(connection));
    let uri = collector.uri();
    let request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    // What it says besides is not read: it may be of any length.
    let status = sender.send_request(request).await?.status();
    if status.is_success() { Ok(()) } else { Err(ExportError::Refused(status)) }
}
