//! Ports for servers: free, and below those that the kernel gives away.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// Below 32768, where Linux begins to hand out ephemeral ports: an outgoing connection of anybody could take one of those
/// between our look and the server's bind, or while a server is being restarted.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// How many random ports are tried before giving up.
const TRIES: usize = 200;

/// Whether nothing listens on this port of 127.0.0.1 at the moment.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A random port that is free at the moment. It may be taken by the time it is used: whoever uses it tries another one then.
///
/// # Errors
/// If none of 200 random ports was free.
pub fn pick() -> Result<u16> {
    (0..TRIES).map(|_| random()).find(|port| is_free(*port)).with_context(|| format!("no free port found in {PORTS:?}"))
}

fn random() -> u16 {
    let (_, low) = uuid::Uuid::new_v4().as_u64_pair();
    let width = u64::from(PORTS.end - PORTS.start);
    PORTS.start + u16::try_from(low % width).expect("a remainder of a width below 2^16")
}
