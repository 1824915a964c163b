//! Building our programs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::console::say;
use crate::cargo::cargo;

/// Builds the workspace and answers with the directory of its programs.
///
/// The whole workspace, as `cargo xtask test` does, so that both share what was built: cargo builds a library once for each set of
/// features, and the sets depend on which packages are asked for.
pub async fn workspace() -> Result<PathBuf> {
    stage::servers::ensure_build_tools()?;
    say("up", "cargo build --workspace");
    let mut command = Command::from(cargo());
    command.args(["build", "--workspace", "--quiet"]).kill_on_drop(true);
    let status = command.status().await.context("running cargo")?;
    if !status.success() {
        bail!("the build failed: mend what cargo says above");
    }
    let own = std::env::current_exe().context("finding our own program")?;
    Ok(own.parent().context("a program without a directory")?.to_owned())
}
