//! Ports that people type: where they are expected if they are free, else the next one up, and said so.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use anyhow::{Context, Result};

use super::console::say;

/// How far from where it is expected a port may be.
const TRIES: u16 = 100;

/// Gives out ports of 127.0.0.1, each once, to every `up` of this machine together: between our look at a port and its use by the
/// process that gets it, or while that is being started again, another `up` would take it. They are ours until this is dropped.
#[derive(Debug, Default)]
pub struct Ports {
    given: Vec<Claim>,
}

/// A port that is ours: an abstract socket of its number (unix(7)), of which there is one, and which goes with this process.
#[derive(Debug)]
struct Claim {
    port: u16,
    _socket: UnixListener,
}

/// Claims a port, unless another `up` has it.
fn claim(port: u16) -> Option<Claim> {
    let address = UnixAddr::from_abstract_name(format!("freshline-port-{port}")).ok()?;
    UnixListener::bind_addr(&address).ok().map(|socket| Claim { port, _socket: socket })
}

impl Ports {
    /// The first free port from `expected` upwards, for the process `name`.
    ///
    /// # Errors
    /// If none of the next hundred is free.
    pub fn take(&mut self, name: &str, expected: u16) -> Result<SocketAddr> {
        self.take_free(name, expected, stage::servers::port::is_free)
    }

    fn take_free(&mut self, name: &str, expected: u16, is_free: impl Fn(u16) -> bool) -> Result<SocketAddr> {
        let is_ours = |port: &u16| self.given.iter().any(|claim| claim.port == *port);
        let mut candidates = (expected..=expected.saturating_add(TRIES)).filter(|port| !is_ours(port));
        let first = candidates.clone().next();
        let claimed = candidates.find_map(|port| claim(port).filter(|_| is_free(port)));
        let claimed = claimed.with_context(|| {
            format!("ports {expected} to {} are all taken: end what listens there", expected.saturating_add(TRIES))
        })?;
        let port = claimed.port;
        if first.is_some_and(|first| first != port) {
            say("up", &format!("another program listens on port {}: {name} gets {port}", first.unwrap_or(expected)));
        }
        self.given.push(claimed);
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_none_is_given_twice() {
        let mut ports = Ports::default();
        let mut take = |expected| ports.take_free("api-1", expected, |port| port != 12_000).expect("a free port").port();
        assert_eq!(take(12_000), 12_001);
        assert_eq!(take(12_001), 12_002);
        assert_eq!(take(12_200), 12_200);
    }

    #[test]
    fn two_that_choose_at_the_same_time_get_different_ports() {
        let (mut one, mut other) = (Ports::default(), Ports::default());
        let take = |ports: &mut Ports| ports.take_free("api-1", 12_400, |_| true).expect("a free port").port();
        assert_eq!((take(&mut one), take(&mut other)), (12_400, 12_401));
        drop(one);
        assert_eq!(take(&mut Ports::default()), 12_400, "whoever ends lets go");
    }

    #[test]
    fn having_no_port_is_an_error_that_says_what_to_do() {
        let error = Ports::default().take_free("api-1", 8080, |_| false).expect_err("no port is free");
        assert!(error.to_string().contains("8080 to 8180 are all taken"), "{error}");
    }
}
