//! CPU time of processes, and keeping them on one core: of all figures, the one that survives a busy machine.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The core that everything which is compared by its CPU time runs on. The first: every machine has it.
pub const CORE: &str = "0";

/// The CPU time that the living threads of a process have used, in user and kernel together, to the nanosecond.
pub fn used(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("there is no process {pid}"))? {
        nanos += of_task(&task?.path())?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// CPU time in µs for each of `count`.
pub fn micros_each(used: Duration, count: usize) -> f64 {
    used.as_secs_f64() * 1e6 / count as f64
}

/// Its first number is the time on a core (the kernel's documentation of scheduler statistics).
fn of_task(task: &Path) -> Result<u64> {
    let path = task.join("schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let first = text.split_whitespace().next().with_context(|| format!("{} is empty", path.display()))?;
    first.parse().with_context(|| format!("{} begins with {first:?}", path.display()))
}

/// Keeps all threads of a process on [`CORE`].
pub fn pin_process(pid: u32) -> Result<()> {
    taskset(&["-a", "-c", "-p", CORE, &pid.to_string()])
}

/// Keeps the calling thread on [`CORE`].
pub fn pin_thread() -> Result<()> {
    taskset(&["-c", "-p", CORE, &nix::unistd::gettid().to_string()])
}

fn taskset(arguments: &[&str]) -> Result<()> {
    let told = Command::new("taskset").args(arguments).output().context("running taskset (of util-linux)")?;
    if !told.status.success() {
        bail!("taskset {}: {}", arguments.join(" "), String::from_utf8_lossy(&told.stderr).trim());
    }
    Ok(())
}
