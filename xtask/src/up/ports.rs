//! Ports that people type: where they are expected if they are free, else the next one up, and said so.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use super::console::say;

/// How far from where it is expected a port may be.
const TRIES: u16 = 100;

/// Gives out ports of 127.0.0.1, each once.
#[derive(Debug, Default)]
pub struct Ports {
    given: Vec<u16>,
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
        let mut candidates = (expected..=expected.saturating_add(TRIES)).filter(|port| !self.given.contains(port));
        let first = candidates.clone().next();
        let port = candidates.find(|port| is_free(*port));
        let port = port.with_context(|| {
            format!("ports {expected} to {} are all taken: end what listens there", expected.saturating_add(TRIES))
        })?;
        if first.is_some_and(|first| first != port) {
            say("up", &format!("another program listens on port {}: {name} gets {port}", first.unwrap_or(expected)));
        }
        self.given.push(port);
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_none_is_given_twice() {
        let mut ports = Ports::default();
        let mut take = |expected| ports.take_free("api-1", expected, |port| port != 8080).expect("a free port").port();
        assert_eq!(take(8080), 8081);
        assert_eq!(take(8081), 8082);
        assert_eq!(take(9102), 9102);
    }

    #[test]
    fn having_no_port_is_an_error_that_says_what_to_do() {
        let error = Ports::default().take_free("api-1", 8080, |_| false).expect_err("no port is free");
        assert!(error.to_string().contains("8080 to 8180 are all taken"), "{error}");
    }
}
