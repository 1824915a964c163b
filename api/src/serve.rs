//! Connections: accepted up to a bound, served over HTTP/1.1, and ended so that no request fails.
//!
//! Ending takes three steps, because a caller that has just sent a request on an idle connection cannot know that it is being
//! closed. First, for as long as the lame duck lives, everything is answered with `Connection: close`: callers leave by themselves.
//! Then whatever waits to be accepted is accepted, and nothing after it. Then idle connections are closed, but not one so new that its
//! first request is still on its way; and what is under way may end within the grace.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::FutureExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{config::Connections, front::Front};

/// How long to wait where a connection cannot be accepted: no file descriptors are left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long after it was accepted a connection is kept for its first request, when others are closed: its caller had no answer yet that
/// could say `Connection: close`. On a busy machine 50 ms were not enough for a caller that connects and asks at once.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// The most bytes that a head may have, and that are kept of an answer whose caller does not take it. A batch's is below 4 kB.
const BUFFER_MAX: usize = 64 * 1024;

/// Kept of the process's grace for ending everything else.
const MARGIN: Duration = Duration::from_millis(500);

/// Serves until `stop`, and then until the last request has been answered.
pub async fn serve(listener: TcpListener, front: Front, limits: Connections, stop: CancellationToken) {
    let mut server = Server {
        front,
        limits,
        slots: Arc::new(Semaphore::new(limits.max)),
        closing: CancellationToken::new(),
        open: JoinSet::new(),
    };
    server.accept_until(&listener, stop.cancelled()).await;
    let deadline = Instant::now() + limits.grace.saturating_sub(MARGIN);
    server.front.drain();
    server.accept_until(&listener, sleep(limits.lame_duck)).await;
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        server.open(stream, None);
    }
    drop(listener);
    server.end(deadline).await;
}

struct Server {
    front: Front,
    limits: Connections,
    /// A place for each connection that may be open.
    slots: Arc<Semaphore>,
    /// Cancelled when idle connections are to be closed.
    closing: CancellationToken,
    open: JoinSet<()>,
}

impl Server {
    async fn accept_until(&mut self, listener: &TcpListener, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                (stream, slot) = next(listener, &self.slots) => self.open(stream, Some(slot)),
                Some(ended) = self.open.join_next() => report(ended),
            }
        }
    }

    fn open(&mut self, stream: TcpStream, slot: Option<OwnedSemaphorePermit>) {
        let (front, idle, closing) = (self.front.clone(), self.limits.idle, self.closing.clone());
        self.open.spawn(async move {
            connection(stream, front, idle, closing).await;
            drop(slot);
        });
    }

    async fn end(mut self, deadline: Instant) {
        self.closing.cancel();
        while let Ok(Some(ended)) = timeout_at(deadline, self.open.join_next()).await {
            report(ended);
        }
        match self.open.len() {
            0 => info!("every connection has ended"),
            late => warn!(connections.late = late, "{late} connections had not ended and were cut"),
        }
    }
}

/// The next connection, and its place among those that may be open. May be dropped at its `.await`.
async fn next(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return futures::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) => {
                warn!("a connection could not be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, front: Front, idle: Duration, closing: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!("a connection was gone before it was served: {error}");
        return;
    }
    let (accepted, asked) = (Instant::now(), Notify::new());
    let service = service_fn(|request: http::Request<Incoming>| {
        asked.notify_one();
        front.answer(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(BUFFER_MAX);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        () = may_close(&closing, accepted + FIRST_WORD, &asked) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        debug!("a connection ended early: {error}");
    }
}

/// Waits until this connection may be closed as soon as it is idle: once all are, and it has asked something or had its time to.
async fn may_close(closing: &CancellationToken, first_word: Instant, asked: &Notify) {
    closing.cancelled().await;
    if timeout_at(first_word, asked.notified()).await.is_err() {
        debug!("a connection has not asked for anything");
    }
}

/// A connection's task never fails; a panic in a handler is caught before it comes here.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        warn!("a connection broke: {error}");
    }
}
