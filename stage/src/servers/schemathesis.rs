//! Schemathesis, which makes requests from an OpenAPI document and looks whether the answers are as it says: fetched by pip.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Missing, fetched, install};
use crate::Launch;

/// The wheel, and what reads all the codings that it may ask for, by chance, in an `Accept-Encoding`. What they need is chosen by pip.
const WHEELS: [&str; 2] = ["schemathesis==4.32.5", "urllib3[brotli,zstd]"];

/// The name of the directory of all that.
const NAME: &str = "schemathesis-4.32.5-codings";

/// Sees to it that Schemathesis is here.
///
/// # Errors
/// If pip is missing and may not be installed, or can't fetch it.
pub fn ensure_schemathesis() -> Result<()> {
    schemathesis().map(drop)
}

/// How it is run: arguments are to be added.
///
/// # Errors
/// As [`ensure_schemathesis`].
pub fn schemathesis() -> Result<Launch> {
    let directory = fetched::once(NAME, fetch)?;
    let program = directory.join("bin/schemathesis").into_os_string().into_string();
    let program = program.ok().context("the cache lies at a path that is not UTF-8")?;
    // Its packages lie in a directory of their own, as those of a virtual environment would, which could not be moved there when done.
    let launch = Launch::new("schemathesis", "python3").argument("-W").argument("ignore").argument(program);
    // What it keeps for the next run is no part of the checkout that it runs in.
    let kept = std::env::temp_dir().join("freshline-hypothesis");
    let launch = launch.variable("HYPOTHESIS_STORAGE_DIRECTORY", kept.display().to_string());
    Ok(launch.variable("PYTHONPATH", directory.display().to_string()).variable("PYTHONDONTWRITEBYTECODE", "1"))
}

fn fetch(directory: &Path) -> Result<()> {
    install::ensure_all(&[Missing::Pip])?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target"]).arg(directory).args(WHEELS);
    fetched::run(&mut pip)
        .context("pip can't fetch Schemathesis, which tries the API by its own document: it needs Python 3.10 or newer")
}
