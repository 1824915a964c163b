//! A private Caddy: its own process, directory and port, with a Caddyfile whose placeholders are variables.

use std::ops::Deref;
use std::time::Duration;

use anyhow::{Context, Result};

use super::daemon::{Daemon, Look, Recipe};
use super::{Home, Missing, find};

/// How long it may take to be ready.
const START_MAX: Duration = Duration::from_secs(60);

/// How long it may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The name of its configuration.
const CONFIGURATION: &str = "Caddyfile";

/// A running private Caddy. Dropped, it is killed. What can be done to it beside what is here: see [`Daemon`].
pub struct Caddy {
    daemon: Daemon,
}

impl Deref for Caddy {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl Caddy {
    /// Starts a server with this Caddyfile and waits until it serves. It finds these variables, and its port as `PORT`.
    ///
    /// # Errors
    /// If it is not installed: with what to install; if it does not start: with the end of its log.
    pub async fn start(home: Home, caddyfile: &str, variables: Vec<(&'static str, String)>) -> Result<Self> {
        let program = find::program("caddy").context(Missing::Caddy)?;
        home.write(CONFIGURATION, caddyfile)?;
        let prepare = move |home: &Home, ports: &[u16]| {
            let mut command = home.user().command(&program);
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(home.path().join(CONFIGURATION));
            // Where it would keep certificates.
            command.env("XDG_DATA_HOME", home.path()).env("XDG_CONFIG_HOME", home.path()).env("PORT", ports[0].to_string());
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            Ok(command)
        };
        let recipe = Recipe {
            name: "caddy",
            ports: 1,
            start_max: START_MAX,
            stop_max: STOP_MAX,
            prepare: Box::new(prepare),
            look: Box::new(|log| if log.contains("serving initial configuration") { Look::Ready } else { Look::NotYet }),
        };
        Ok(Self { daemon: Daemon::start(home, None, recipe).await? })
    }
}
