//! What a process tells those who run it, over HTTP: `/metrics`, `/livez`, `/readyz`.

mod readiness;
mod router;

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, response::Response};
use http::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::Service;

pub use readiness::{Readiness, Reason, Status};
pub use router::router;

use crate::{
    fault::{Classified, Kind},
    server::{Answers, Limits, serve},
    telemetry::Metrics,
};

/// For a handful of scrapers and probes. They may be cut at the end: nothing is lost with them.
const LIMITS: Limits = Limits {
    connections: 32,
    idle: Duration::from_secs(30),
    head: Duration::from_secs(10),
    stall: Duration::from_secs(10),
    lame_duck: Duration::ZERO,
    first_word: Duration::ZERO,
    grace: Duration::from_secs(2),
};

/// A worker's own port, bound.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    pages: Router,
}

/// A port that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be listened on")]
pub struct NotBound {
    address: SocketAddr,
    #[source]
    cause: io::Error,
}

impl Classified for NotBound {
    fn kind(&self) -> Kind {
        Kind::Permanent
    }

    fn remedy(&self) -> Option<String> {
        Some("Stop what listens there, or choose another address.".to_owned())
    }
}

/// Listens on an address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, NotBound> {
    TcpListener::bind(address).await.map_err(|cause| NotBound { address, cause })
}

impl Admin {
    /// Binds the port, before the work starts: a taken port is an error then and not later.
    pub async fn bind(address: SocketAddr, readiness: Readiness, metrics: Metrics) -> Result<Self, NotBound> {
        Ok(Self { listener: bind(address).await?, pages: router(metrics, readiness) })
    }

    /// The address that it was bound to: the port that was chosen, where the setting said 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves the pages until `stop`.
    pub async fn serve(self, stop: CancellationToken) {
        serve(self.listener, None, Pages(self.pages), LIMITS, stop).await;
    }
}

#[derive(Clone)]
struct Pages(Router);

impl Answers for Pages {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>) -> Response {
        let Ok(response) = self.0.clone().call(request).await;
        response
    }

    fn drain(&self) {}
}
