//! The data directory: made once, mended when it was left half made or in use, configured before each start.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::PostgresOptions;
use crate::database::Login;
use crate::running::{Orphaned, Running};
use crate::servers::password::Passwords;
use crate::servers::{Home, Missing, PostgresBinaries, find};
use crate::until::within;

/// The name of the data directory in its home.
pub(super) const DATA: &str = "data";

/// The name of a data directory that is being made. It gets its real one only when it is complete.
const DATA_NEW: &str = "data.new";

/// The name of the log of `initdb`.
const INITDB_LOG: &str = "initdb.log";

/// How long `initdb` may take. It needs half a second on an idle machine.
const INITDB_MAX: Duration = Duration::from_secs(120);

/// How long a server that was left over on our data may take to stop.
const LEFT_OVER_MAX: Duration = Duration::from_secs(30);

/// Who may come in: everybody over TCP on this machine, with a password. There is no Unix socket.
const HBA: &str = "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n";

/// What all our servers have in common. Slots, senders and connections for dozens of tests at once; prepared transactions
/// because their commits are decoded too; no JIT, which costs more than our queries.
const SETTINGS: [(&str, &str); 14] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("wal_level", "logical"),
    ("max_connections", "300"),
    ("max_wal_senders", "64"),
    ("max_replication_slots", "128"),
    ("max_prepared_transactions", "32"),
    ("max_worker_processes", "8"),
    ("shared_buffers", "64MB"),
    ("max_wal_size", "2GB"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];

/// Sees to a complete data directory that nobody uses, and answers with the programs of its version.
pub(super) async fn prepare(home: &Home, passwords: &Passwords, durable: bool) -> Result<PostgresBinaries> {
    let data = home.path().join(DATA);
    let version = data.join("PG_VERSION");
    if version.exists() {
        let major = fs::read_to_string(&version).with_context(|| format!("reading {}", version.display()))?;
        stop_left_over(&data).await?;
        return major.trim().parse().ok().and_then(find::postgres_of).with_context(|| {
            let (major, data) = (major.trim(), data.display());
            format!(
                "the data in {data} was made by Postgres {major}, which is not here: install postgresql-{major}, or start afresh"
            )
        });
    }
    if data.exists() {
        set_aside(&data)?;
    }
    let binaries = find::postgres().with_context(|| Missing::Postgres.to_string())?;
    make(home, passwords, &binaries, durable).await?;
    Ok(binaries)
}

/// Writes the whole configuration. What `alter system` was told stays above it.
pub(super) fn configure(home: &Home, port: u16, options: &PostgresOptions) -> Result<()> {
    let mut lines = String::from("# Written before each start. Use `alter system` for what is to stay.\n");
    let durable = if options.durable { "on" } else { "off" };
    let port = port.to_string();
    let own = [("port", port.as_str()), ("fsync", durable), ("full_page_writes", durable)];
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in SETTINGS.into_iter().chain(own).chain(given) {
        lines.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    }
    home.write(&format!("{DATA}/postgresql.conf"), &lines)?;
    home.write(&format!("{DATA}/pg_hba.conf"), HBA)?;
    Ok(())
}

/// The port that [`configure`] wrote last.
pub(super) fn last_port(home: &Home) -> Option<u16> {
    let lines = fs::read_to_string(home.path().join(DATA).join("postgresql.conf")).ok()?;
    lines.lines().find_map(|line| line.strip_prefix("port = '")?.strip_suffix('\'')?.parse().ok())
}

/// Whether the postmaster `pid` has written into its lock file that it accepts connections; `pg_ctl -w` looks there too.
pub(super) fn says_ready(data: &Path, pid: u32) -> bool {
    let file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = file.lines();
    lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|status| status.trim() == "ready")
}

/// Makes a cluster under another name and renames it when it is complete, so that a killed `initdb` is never taken for one.
async fn make(home: &Home, passwords: &Passwords, binaries: &PostgresBinaries, durable: bool) -> Result<()> {
    let new = home.path().join(DATA_NEW);
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("removing {}, which was left half made", new.display()))?;
    }
    let superuser = Login::Superuser.postgres_name();
    let password_file = home.write("initdb.password", passwords.of(superuser))?;
    let output = home.create(INITDB_LOG)?;
    let mut command = home.user().command(binaries.bin.join("initdb"));
    command.args(["--username", superuser, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]);
    command.args(if durable { &[][..] } else { &["--no-sync"] }).arg("--pwfile").arg(&password_file).arg("-D").arg(&new);
    command.stdout(Stdio::null()).stderr(output);
    let mut running = Running::spawn(&mut command, Orphaned { signal: Signal::SIGKILL, scratch: home.scratch_path() })?;
    let status = running.wait(INITDB_MAX).await?;
    fs::remove_file(&password_file).context("removing initdb's password file")?;
    if !status.success() {
        bail!("initdb ended with {status}:\n{}", fs::read_to_string(home.path().join(INITDB_LOG)).unwrap_or_default());
    }
    fs::rename(&new, home.path().join(DATA)).context("giving the new data directory its name")
}

/// Moves something without `PG_VERSION` out of the way. It isn't removed: it may be somebody's.
fn set_aside(data: &Path) -> Result<()> {
    let aside = (1..).map(|number| data.with_extension(format!("broken-{number}"))).find(|path| !path.exists());
    let aside = aside.context("no name left to set a data directory aside")?;
    eprintln!("{} is half made (it has no PG_VERSION): moved to {}, and made anew", data.display(), aside.display());
    fs::rename(data, &aside).with_context(|| format!("moving {} out of the way", data.display()))
}

/// Stops a postmaster that still works on `data`, or removes the lock file of one that does not.
///
/// The data is ours alone, so whoever still serves it was started by us and left over when we were killed.
async fn stop_left_over(data: &Path) -> Result<()> {
    let lock = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else { return Ok(()) };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).filter(|pid| *pid > 1).map(Pid::from_raw);
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let Some(pid) = pid.filter(|pid| works_in(*pid, data)) else { break };
        eprintln!("a Postgres that was left over (pid {pid}) is being stopped");
        signal::kill(pid, signal).with_context(|| format!("stopping Postgres {pid}, left over on {}", data.display()))?;
        if within(LEFT_OVER_MAX, async || if works_in(pid, data) { Err("it works") } else { Ok(()) }).await.is_ok() {
            break;
        }
    }
    if pid.is_some_and(|pid| works_in(pid, data)) {
        bail!("another Postgres ({pid:?}) uses {} and does not stop: stop it by hand", data.display());
    }
    // Postgres itself would refuse to start if the pid in here is by now another program's.
    if lock.exists() {
        fs::remove_file(&lock).with_context(|| format!("removing {}", lock.display()))?;
    }
    Ok(())
}

/// Whether process `pid` is there and works in `data`, as every process of a server does.
fn works_in(pid: Pid, data: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
}
