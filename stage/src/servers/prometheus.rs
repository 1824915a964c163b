//! A private Prometheus: its own process, directory and port, scraping what its configuration says.
//!
//! `<home>/prometheus.yml` is its configuration, `<home>/data` what it has scraped.

use std::ops::Deref;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon::{Daemon, Look, Recipe};
use super::{Home, Missing, find};

/// How long it may take to be ready.
const START_MAX: Duration = Duration::from_secs(60);

/// How long it may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The name of its configuration.
const CONFIGURATION: &str = "prometheus.yml";

/// A running private Prometheus. Dropped, it is killed. What can be done to it beside what is here: see [`Daemon`].
pub struct Prometheus {
    daemon: Daemon,
}

impl Deref for Prometheus {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl Prometheus {
    /// Starts a server with this configuration and waits until it serves.
    ///
    /// # Errors
    /// If it is not installed: with what to install; if it does not start: with the end of its log.
    pub async fn start(home: Home, configuration: &str) -> Result<Self> {
        let program = find::program("prometheus").context(Missing::Prometheus)?;
        home.write(CONFIGURATION, configuration)?;
        let prepare = move |home: &Home, ports: &[u16]| {
            let (path, mut command) = (home.path().display(), home.user().command(&program));
            command.arg(format!("--config.file={path}/{CONFIGURATION}")).arg(format!("--storage.tsdb.path={path}/data"));
            command.arg(format!("--web.listen-address=127.0.0.1:{}", ports[0]));
            Ok(command)
        };
        let recipe = Recipe {
            name: "prometheus",
            ports: 1,
            start_max: START_MAX,
            stop_max: STOP_MAX,
            prepare: Box::new(prepare),
            look: Box::new(|log| if log.contains("Server is ready") { Look::Ready } else { Look::NotYet }),
        };
        Ok(Self { daemon: Daemon::start(home, None, recipe).await? })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }
}

/// Runs promtool with these arguments: `check rules FILE`.
///
/// # Errors
/// If it is not installed, or finds fault: with what it said.
pub fn check_with_promtool(arguments: &[&str]) -> Result<()> {
    let program = find::program("promtool").context(Missing::Prometheus)?;
    let told = Command::new(program).args(arguments).stdin(Stdio::null()).output().context("running promtool")?;
    if told.status.success() {
        return Ok(());
    }
    let said = [told.stdout, told.stderr].concat();
    bail!("promtool {}: {}", arguments.join(" "), String::from_utf8_lossy(&said).trim())
}
