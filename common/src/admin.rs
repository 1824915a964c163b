//! What a process tells those who run it, over HTTP: `/metrics`, `/livez`, `/readyz`; and the server that serves it.

mod readiness;
mod router;
mod serve;

use std::{io, net::SocketAddr};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use readiness::{Readiness, Reason, Status};
pub use router::router;
pub use serve::{Limits, serve};

use crate::{
    fault::{Classified, Kind},
    telemetry::Metrics,
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

    /// Serves the pages until `stop`. See [`serve`].
    pub async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        serve(self.listener, self.pages, Limits::ADMIN, stop).await
    }
}
