//! What the figures were taken on.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use stage::servers;

/// The machine and the versions, as a sentence or two of Markdown.
pub fn described(rounds: u32, changes: u32) -> Result<String> {
    let cores = std::thread::available_parallelism().context("counting cores")?;
    let info = fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map_or("unknown", |(_, model)| model.trim());
    let load = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let postgres = servers::postgres().context("Postgres is gone")?.bin.join("postgres");
    let redis = servers::redis_binary().context("Redis is gone")?.program;
    let versions = [version(&postgres)?, version(&redis)?, version(Path::new("rustc"))?];
    Ok(format!(
        "Last run: {rounds} rounds, {changes} changes; {cores} cores ({model}), load average {} at its end (that of the bench included); \
         {}.\nAll servers on this one machine; Postgres without fsync, 64 MB of shared buffers.",
        load.join(", "),
        versions.join("; ")
    ))
}

/// The first line that a program says of itself.
fn version(program: &Path) -> Result<String> {
    let told = Command::new(program).arg("--version").output().with_context(|| format!("running {}", program.display()))?;
    let told = String::from_utf8_lossy(&told.stdout);
    Ok(told.lines().next().unwrap_or_default().split(" sha=").next().unwrap_or_default().to_owned())
}
