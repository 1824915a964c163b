//! The HTTP server: bounded in connections and in the time that one may take to ask.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// How long to wait before accepting again when the process is out of file descriptors or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a server takes from those who ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; further ones wait in the listener's backlog.
    pub connections: usize,
    /// How long a connection may take to send a request's head, idle time before it included.
    pub header_read: Duration,
}

impl Limits {
    /// For a worker's own port: a handful of scrapers and probes.
    pub const ADMIN: Self = Self { connections: 32, header_read: Duration::from_secs(30) };
}

/// Serves until `stop`; then accepts nothing more and waits for the requests under way. The caller bounds that wait: dropping the
/// future closes every connection.
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, stop: CancellationToken) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_read);

    while let Some(accepted) = stop.run_until_cancelled(accept(&listener, &permits)).await {
        let (permit, stream) = accepted?;
        let service = TowerToHyperService::new(app.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            // A peer that goes away or takes too long is its own affair.
            if let Err(cause) = connection.await {
                debug!("a connection ended: {cause}");
            }
            drop(permit);
        });
        while let Some(ended) = connections.try_join_next() {
            tell_panic(ended);
        }
    }
    drop(listener);
    graceful.shutdown().await;
    while let Some(ended) = connections.join_next().await {
        tell_panic(ended);
    }
    Ok(())
}

/// A handler that panicked takes its connection down and no other.
fn tell_panic(ended: Result<(), JoinError>) {
    if let Err(panic) = ended {
        error!("a request ended in a panic: {panic}");
    }
}

/// A connection, once there is room for one.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<(OwnedSemaphorePermit, TcpStream)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        let accepted = listener.accept().await.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream));
        match accepted {
            Ok(stream) => return Ok((permit, stream)),
            // Of one connection, not of the listener: see accept(2).
            Err(cause) if is_of_the_peer(&cause) => debug!("a connection was gone before it was accepted: {cause}"),
            Err(cause) => {
                warn!("no connection can be accepted for now: {cause}");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn is_of_the_peer(cause: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    // A socket that was reset before its options were set answers EINVAL on some systems.
    matches!(cause.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput)
}

#[cfg(test)]
mod tests;
