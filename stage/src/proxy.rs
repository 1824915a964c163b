//! A TCP proxy that misbehaves as told, before a Redis or a Postgres.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::servers::port;

/// How much is passed on at a time, in bytes.
const CHUNK_LEN: usize = 16 * 1024;

/// How long the proxy's own port may stay taken after a refusal ends.
const BIND_MAX: Duration = Duration::from_secs(10);

/// How the proxy behaves, on connections it has and on new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not at all faulty.
    None,
    /// Connections are cut, and new ones refused: the server is down.
    Refuse,
    /// Connections stay and new ones are accepted, but nothing passes in either direction: the network or the server hangs.
    BlackHole,
    /// Requests pass, replies are held back: what was asked for is done, and nobody hears of it. They come when the fault ends.
    HoldReplies,
    /// Each chunk waits this long, in both directions.
    Slow(Duration),
}

/// A proxy on a port of its own. Dropped, all its connections are cut.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

struct Shared {
    target: SocketAddr,
    fault: watch::Sender<Fault>,
    /// Counts the cuts: a connection that sees it change ends.
    cuts: watch::Sender<u64>,
    drop_reply: AtomicBool,
}

impl Proxy {
    /// A proxy before `target`, without a fault.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port::pick()?)).await.context("opening a port for a proxy")?;
        let address = listener.local_addr().context("asking for a proxy's address")?;
        let shared = Shared {
            target,
            fault: watch::Sender::new(Fault::None),
            cuts: watch::Sender::new(0),
            drop_reply: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, address, Arc::clone(&shared)));
        Ok(Self { address, shared, _accepting: accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with this proxy in the server's place.
    ///
    /// # Panics
    /// If `url` does not name the server that this proxy stands before.
    pub fn before(&self, url: &str) -> String {
        let (server, proxy) = (format!("@{}", self.shared.target), format!("@{}", self.address));
        assert!(url.contains(&server), "a URL of {} was expected", self.shared.target);
        url.replacen(&server, &proxy, 1)
    }

    /// From now on it behaves like this.
    pub fn set(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// Cuts all connections it has; new ones are treated as the fault says.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// The next reply, of whichever connection, is lost with its connection: what was asked for has been done, and the one who asked can't know.
    pub fn drop_next_reply(&self) {
        self.shared.drop_reply.store(true, Ordering::SeqCst);
    }

    /// Whether the reply that [`Self::drop_next_reply`] asked for has been dropped.
    pub fn dropped_reply(&self) -> bool {
        !self.shared.drop_reply.load(Ordering::SeqCst)
    }
}

/// Accepts until it is dropped with its [`Proxy`]; its connections are dropped with it.
async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let mut fault = shared.fault.subscribe();
    loop {
        if *fault.borrow_and_update() == Fault::Refuse {
            listener = None; // a closed port refuses; an open one would accept before we could decline
            connections.abort_all();
        } else if listener.is_none() {
            listener = Some(bind_again(address).await);
        }
        tokio::select! {
            changed = fault.changed() => if changed.is_err() { return },
            Some(Ok((client, _))) = accepted(listener.as_ref()) => { connections.spawn(serve(client, Arc::clone(&shared))); }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Opens the proxy's port again. It lies below those that the kernel gives away, so nobody should have taken it.
async fn bind_again(address: SocketAddr) -> TcpListener {
    let deadline = tokio::time::Instant::now() + BIND_MAX;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if tokio::time::Instant::now() > deadline => {
                panic!("the port of a proxy ({address}) was taken while it refused connections: {error}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// The next connection; pends while the port is closed.
async fn accepted(listener: Option<&TcpListener>) -> Option<std::io::Result<(TcpStream, SocketAddr)>> {
    match listener {
        Some(listener) => Some(listener.accept().await),
        None => std::future::pending().await,
    }
}

/// Serves one connection until either side, or the proxy, ends it. An error here is an end like any other.
async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let mut fault = shared.fault.subscribe();
    let exchange = async {
        passing(&mut fault, false).await?; // a black hole does not connect either
        let server = TcpStream::connect(shared.target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::select! {
            ended = pass(from_client, to_server, &shared, false) => ended,
            ended = pass(from_server, to_client, &shared, true) => ended,
        }
    };
    tokio::select! {
        _ = exchange => {}
        _ = cuts.changed() => {}
    }
}

/// Passes on what comes from one side to the other, as the fault of the moment says.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, replies: bool) -> std::io::Result<()> {
    let mut fault = shared.fault.subscribe();
    let mut chunk = vec![0; CHUNK_LEN];
    loop {
        let len = from.read(&mut chunk).await?;
        if len == 0 || (replies && shared.drop_reply.swap(false, Ordering::SeqCst)) {
            return Ok(());
        }
        passing(&mut fault, replies).await?;
        to.write_all(&chunk[..len]).await?;
    }
}

/// Returns when the fault of the moment lets something pass.
async fn passing(fault: &mut watch::Receiver<Fault>, replies: bool) -> std::io::Result<()> {
    let closed = |_| std::io::Error::other("the proxy is gone");
    let held = |fault: &Fault| matches!(fault, Fault::BlackHole | Fault::Refuse) || (replies && *fault == Fault::HoldReplies);
    let now = *fault.wait_for(|fault| !held(fault)).await.map_err(closed)?;
    if let Fault::Slow(delay) = now {
        tokio::time::sleep(delay).await;
    }
    Ok(())
}
