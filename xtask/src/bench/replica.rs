//! A server on the measured core, and what a request to it costs. Server, Redis and caller share the core, so that CPU is all that counts.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use stage::{Launch, Login, Process};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::cpu;
use super::house::{House, pinned};
use super::http::{Asked, Caller};

/// Requests under way at a time.
const CONCURRENCY: usize = 16;

/// µs of CPU for one request.
pub struct Cost {
    pub server: f64,
    pub redis: f64,
}

/// A server that runs on the measured core.
pub struct Replica {
    process: Process,
    address: SocketAddr,
}

impl Replica {
    /// Waits until this server says where it listens.
    pub async fn started(launch: Launch) -> Result<Self> {
        let mut process = Process::start(launch)?;
        let line = process.line("listening on ").await;
        let address = line.rsplit("listening on ").next().unwrap_or_default();
        let address = address.trim().parse().with_context(|| format!("no address in {line:?}"))?;
        Ok(Self { process, address })
    }

    /// A replica of the API with these settings besides.
    pub async fn api(house: &House, settings: impl IntoIterator<Item = (&'static str, String)>) -> Result<Self> {
        Self::started(of_api(house, house.pinned("freshline-api")?).variables(settings)).await
    }

    /// A replica of the API as another program has it, such as one that was built before, with these settings besides.
    pub async fn api_of(house: &House, program: &Path, settings: impl IntoIterator<Item = (&'static str, String)>) -> Result<Self> {
        Self::started(of_api(house, pinned("another freshline-api", program)).variables(settings)).await
    }

    /// So many listeners to its live feed, who want all there is and take it. They leave when this is dropped.
    pub async fn listeners(&self, count: usize) -> Result<JoinSet<()>> {
        let mut listeners = JoinSet::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(b"GET /events?processes=true HTTP/1.1\r\nhost: bench\r\n\r\n").await?;
            let mut status = [0; 12];
            stream.read_exact(&mut status).await?;
            ensure!(status == *b"HTTP/1.1 200", "a listener was answered {}", String::from_utf8_lossy(&status));
            listeners.spawn(async move {
                let heard = copy(&mut stream, &mut sink()).await;
                heard.map_or_else(|error| eprintln!("a listener was cut: {error}"), |_| eprintln!("a listener was sent away"));
            });
        }
        Ok(listeners)
    }

    /// Asks so many times, after asking so many times that all is allocated and in the CPU's caches, and tells what a request cost.
    pub fn cost(&self, asked: &Asked, (before, count): (usize, usize), redis: u32) -> Result<Cost> {
        ensure!(count.is_multiple_of(CONCURRENCY), "requests that are counted and not sent");
        let server = self.process.pid();
        let asking = || -> Result<Cost> {
            cpu::pin_thread()?;
            let mut caller = Caller::connect(self.address, CONCURRENCY)?;
            caller.ask(asked, before)?;
            let used = (cpu::used(server)?, cpu::used(redis)?);
            caller.ask(asked, count)?;
            let micros = |used| cpu::micros_each(used, count);
            Ok(Cost { server: micros(cpu::used(server)? - used.0), redis: micros(cpu::used(redis)? - used.1) })
        };
        let asked = std::thread::scope(|scope| tokio::task::block_in_place(|| scope.spawn(asking).join()));
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn of_api(house: &House, launch: Launch) -> Launch {
    launch.variables([
        ("FRESHLINE_DATABASE_URL", house.stage.database_url(Login::Api)),
        ("FRESHLINE_REDIS_URL", house.stage.redis_url(Login::Api)),
        ("FRESHLINE_NAMESPACE", house.stage.name().to_owned()),
        ("FRESHLINE_API_ADDRESS", "127.0.0.1:0".to_owned()),
    ])
}

/// One part of each cost.
pub fn of(costs: &[Cost], part: fn(&Cost) -> f64) -> Vec<f64> {
    costs.iter().map(part).collect()
}
