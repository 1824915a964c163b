//! A collector that takes every span and keeps none: what is measured is the process that sends them.

use anyhow::{Context, Result};
use axum::{Router, body::Bytes, routing::post};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Serves until it is dropped.
pub struct Collector {
    url: String,
    _serving: AbortOnDropHandle<()>,
}

impl Collector {
    /// On a port of its own.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the collector")?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/v1/traces", post(async |_: Bytes| ()));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("bench: the collector ended: {error}");
            }
        });
        Ok(Self { url, _serving: AbortOnDropHandle::new(serving) })
    }

    /// What tells a process to trace this part of all requests.
    pub fn settings(&self, ratio: &str) -> [(&'static str, String); 2] {
        [("FRESHLINE_TRACES_URL", self.url.clone()), ("FRESHLINE_TRACES_RATIO", ratio.to_owned())]
    }
}
