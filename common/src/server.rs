//! The HTTP server under every process: connections are accepted up to a bound, served over HTTP/1.1, with or without TLS, closed where
//! their other end does not keep pace, and ended so that no request fails.
//!
//! Ending takes three steps, because a caller that has just sent a request on an idle connection cannot know that it is being
//! closed. First, for as long as the lame duck lives, everything is answered with `Connection: close`: callers leave by themselves.
//! Then whatever waits to be accepted is accepted, and nothing after it. Then idle connections are closed, but not one so new that its
//! first request is still on its way; and what is under way may end within the grace.

mod paced;
mod tls;

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::paced::{Paced, Turns};
pub use self::tls::{Tls, TlsFault};

/// How long to wait where a connection cannot be accepted: no file descriptors are left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most bytes that a head may have, and that are kept of an answer whose caller does not take it. A batch's is below 4 kB.
const BUFFER_MAX: usize = 64 * 1024;

/// Kept of the grace for ending everything else of the process.
const MARGIN: Duration = Duration::from_millis(500);

/// What answers requests. Cheap to clone.
pub trait Answers: Clone + Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// Answers one request. What goes wrong is an answer too; a panic ends the connection.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Told once, when the server has been asked to end: from now on each answer should ask its caller to leave.
    fn drain(&self);
}

/// What a server takes from those who ask it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections open at once; further ones wait in the listener's backlog.
    pub connections: usize,
    /// How long one may take until the head of its next request is there.
    pub idle: Duration,
    /// How long a head may take once its first byte has come, and a handshake of TLS.
    pub head: Duration,
    /// How long an answer may find no taker.
    pub stall: Duration,
    /// How long requests are still accepted once the server has been asked to end.
    pub lame_duck: Duration,
    /// How long after it was accepted a connection is kept for its first request, when others are closed: its caller had no answer
    /// yet that could ask it to leave.
    pub first_word: Duration,
    /// How long ending may take, all of that included.
    pub grace: Duration,
}

/// Serves until `stop`, and then until the last request has been answered; over TLS where there is a certificate.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, answers: impl Answers, limits: Limits, stop: CancellationToken) {
    let mut server = Server {
        answers,
        tls,
        limits,
        slots: Arc::new(Semaphore::new(limits.connections)),
        closing: CancellationToken::new(),
        open: JoinSet::new(),
    };
    server.accept_until(&listener, stop.cancelled()).await;
    let deadline = Instant::now() + limits.grace.saturating_sub(MARGIN);
    server.answers.drain();
    server.accept_until(&listener, sleep(limits.lame_duck)).await;
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        server.open(stream, None);
    }
    drop(listener);
    server.end(deadline).await;
}

struct Server<A> {
    answers: A,
    tls: Option<Tls>,
    limits: Limits,
    /// A place for each connection that may be open.
    slots: Arc<Semaphore>,
    /// Cancelled when idle connections are to be closed.
    closing: CancellationToken,
    open: JoinSet<()>,
}

impl<A: Answers> Server<A> {
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
        let (answers, tls, limits, closing) = (self.answers.clone(), self.tls.clone(), self.limits, self.closing.clone());
        self.open.spawn(async move {
            accepted(stream, tls, answers, limits, closing).await;
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

async fn accepted(stream: TcpStream, tls: Option<Tls>, answers: impl Answers, limits: Limits, closing: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!("a connection was gone before it was served: {error}");
        return;
    }
    let Some(Tls { acceptor }) = tls else { return connection(stream, answers, limits, closing).await };
    match timeout(limits.head, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, answers, limits, closing).await,
        Ok(Err(error)) => debug!("a connection did not come to speak TLS: {error}"),
        Err(_) => debug!("a connection took too long to speak TLS"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answers: impl Answers,
    limits: Limits,
    closing: CancellationToken,
) {
    let (accepted, asked, turns) = (Instant::now(), Notify::new(), Turns::default());
    let stream = Paced::new(stream, turns.clone(), limits.head, limits.stall);
    let service = service_fn(|request: Request<Incoming>| {
        asked.notify_one();
        turns.pass();
        answers.answer(request).map(|answer| {
            turns.pass();
            Ok::<_, std::convert::Infallible>(answer)
        })
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(BUFFER_MAX);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        () = may_close(&closing, accepted + limits.first_word, &asked) => {
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

/// A handler that panicked takes its connection down and no other.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        warn!("a connection broke: {error}");
    }
}

#[cfg(test)]
mod tests;
