//! What a hit is compared with: a bare axum handler with one raw Redis GET, served and built as the API is.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use redis::aio::MultiplexedConnection;
use tokio::net::{TcpListener, TcpStream};

/// What the keys begin with that it gets.
pub const PREFIX: &str = "raw:";

/// The variable that says where Redis is: as an argument, its password would be seen by everybody.
pub const REDIS_URL: &str = "BENCH_REDIS_URL";

/// As the API's.
const IDLE: Duration = Duration::from_secs(60);
const BUFFER_MAX: usize = 64 * 1024;

/// Answers `GET /products/{id}` by one Redis GET: the reference of `bench hit`
#[derive(Debug, Clone, clap::Args)]
pub struct BenchReference {}

impl BenchReference {
    /// Serves until it is killed, on a runtime like the API's.
    pub fn run(self) -> Result<ExitCode> {
        let url = std::env::var(REDIS_URL).with_context(|| format!("{REDIS_URL} is not set"))?;
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(&url))
    }
}

async fn serve(url: &str) -> Result<ExitCode> {
    let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await.context("connecting to Redis")?;
    let router = Router::new().route("/products/{id}", get(product)).with_state(connection);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("listening on {}", listener.local_addr()?);
    let mut open = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        open.spawn(connected(stream, router.clone()));
    }
}

async fn connected(stream: TcpStream, router: Router) {
    let served = async {
        stream.set_nodelay(true)?;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(BUFFER_MAX);
        http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await.map_err(anyhow::Error::from)
    };
    if let Err(error) = served.await {
        println!("a connection ended early: {error}");
    }
}

async fn product(State(mut redis): State<MultiplexedConnection>, Path(id): Path<String>) -> Response {
    match redis::cmd("GET").arg(format!("{PREFIX}{id}")).query_async::<Option<Vec<u8>>>(&mut redis).await {
        Ok(Some(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
