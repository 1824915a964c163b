//! `prepare`: what the checked queries are compiled against where no server is at hand.

use std::fs::{self, File};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use stage::servers::{self, Home, Postgres, PostgresOptions};
use stage::{Login, migrate};

use crate::{cargo::cargo, checkout::root};

/// The crates with checked queries, by a file whose time makes cargo compile them again.
const CHECKED: [&str; 3] = ["common/src/lib.rs", "warmer/src/main.rs", "api/src/main.rs"];

/// Write .sqlx from the checked queries and the migrations, on a Postgres of its own
#[derive(Debug, Clone, clap::Args)]
pub struct Prepare {}

impl Prepare {
    /// Migrates an empty database and compiles against it.
    pub async fn run(self) -> Result<ExitCode> {
        servers::ensure()?;
        let postgres = Postgres::start(Home::scratch()?, PostgresOptions::default()).await?;
        let mut connection = postgres.connect("postgres").await?;
        migrate(&mut connection).await?;
        let kept = root().join(".sqlx");
        empty(&kept)?;
        for path in CHECKED {
            let file = File::options().append(true).open(root().join(path)).with_context(|| format!("opening {path}"))?;
            file.set_modified(SystemTime::now()).with_context(|| format!("touching {path}"))?;
        }
        let mut check = cargo();
        check.args(["check", "--workspace", "--all-targets", "--quiet"]);
        check.env("DATABASE_URL", postgres.url(Login::Superuser, "postgres")).env("SQLX_OFFLINE_DIR", &kept);
        if !check.status().context("running cargo check")?.success() {
            bail!("the queries do not compile against the migrations; `git checkout .sqlx` brings the old answers back");
        }
        println!("{} queries in {}", fs::read_dir(&kept)?.count(), kept.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes a directory, or removes the files in it.
fn empty(directory: &std::path::Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    for entry in fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))? {
        let path = entry?.path();
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}
