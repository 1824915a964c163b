//! A copy of the sources with the layers as switches, and the API built of it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::cuts::cut;
use crate::bench::run;
use crate::cargo::cargo;
use crate::checkout::root;

/// The program that the copy makes.
const PROGRAM: &str = "freshline-api-without";

/// Copies, changes and builds, in the profile of this program; answers with the program. Dependencies are those of the product, for it
/// is chosen from the whole workspace, and so with the same features.
pub async fn built() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding our own program")?;
    let profile = own.parent().context("a program in no directory")?;
    let target = profile.parent().context("a program outside of a target directory")?;
    let copy = target.join("layers");
    copy_changed(&copy).await?;
    println!("bench: building {PROGRAM}, whose layers can be left out");
    let mut build = Command::from(cargo());
    build.args(["build", "--workspace", "--bin", PROGRAM, "--offline", "--quiet"]);
    build.args(profile.ends_with("release").then_some("--release"));
    build.arg("--target-dir").arg(target).arg("--manifest-path").arg(copy.join("Cargo.toml"));
    run(&mut build).await.context("building the API with its layers as switches")?;
    Ok(profile.join(PROGRAM))
}

/// Copies each file that git knows or would, changed where it has to be. One that is as it was keeps its time, so that cargo builds
/// only what is new.
async fn copy_changed(copy: &Path) -> Result<()> {
    let files = sources().await?;
    for path in files.iter().filter(|path| root().join(path).is_file()) {
        let bytes = fs::read(root().join(path)).with_context(|| format!("reading {path}"))?;
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => cut(path, text)?.into_bytes(),
            Err(error) => error.into_bytes(),
        };
        let to = copy.join(path);
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file in no directory")?)?;
        fs::write(&to, bytes).with_context(|| format!("writing {}", to.display()))?;
    }
    Ok(())
}

async fn sources() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"].map(OsString::from)).current_dir(root());
    let told = git.output().await.context("running git")?;
    ensure!(told.status.success(), "git ls-files: {}", String::from_utf8_lossy(&told.stderr).trim());
    let names = String::from_utf8(told.stdout).context("a file whose name is not UTF-8")?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}
