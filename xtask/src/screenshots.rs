//! `screenshots`: the pictures of the page in `docs/images`, taken by the browser tests as they run on the real system.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;
use crate::checkout::root;

/// Where the pictures lie in the repository.
const PICTURES: &str = "docs/images";

/// The variable by which the browser tests are told to take them.
const VARIABLE: &str = "PAGE_PICTURES";

/// The most that a picture may take, in bytes: README is read over slow lines, too.
const LEN_MAX: u64 = 200_000;

/// What is run, in this order.
const STEPS: [&str; 2] = [
    "build --workspace --locked --quiet",
    "test --package freshline-api --test browser --locked --quiet -- --nocapture shows_what_is_true",
];

/// Take the pictures of the page anew, from a run of the browser tests
#[derive(Debug, Clone, clap::Args)]
pub struct Screenshots {}

impl Screenshots {
    /// Runs the tests with the pictures; ends with 1 if one fails, or a picture is too large.
    pub fn run(self) -> Result<ExitCode> {
        let pictures = root().join(PICTURES);
        fs::create_dir_all(&pictures).with_context(|| format!("making {}", pictures.display()))?;
        for step in STEPS {
            if !cargo().args(step.split(' ')).env(VARIABLE, &pictures).status().context("running cargo")?.success() {
                return Ok(ExitCode::FAILURE);
            }
        }
        for entry in fs::read_dir(&pictures)? {
            let (path, len) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?.len())))?;
            if len > LEN_MAX {
                bail!("{} has {len} bytes, and may have {LEN_MAX}: show less of the page", path.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
