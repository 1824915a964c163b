//! `seed`: products for the catalogue.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::builder::RangedU64ValueParser;
use freshline::catalog;
use indicatif::{ProgressBar, ProgressStyle};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::{Connection, PgConnection};

use crate::checkout::Where;
use crate::state::State;

/// How many products there are if nobody says otherwise: those that look real. More are generated beside them.
pub const ROWS_DEFAULT: u64 = 15;

/// What the generated products are made from: the same number, the same products.
const SEED: u64 = 1;

/// How often progress is told where there is no terminal to draw it on: every so many hundredths.
const TOLD_EVERY_PERCENT: u64 = 10;

/// Fill an empty catalogue with products, the same ones each time; with more rows than before, add the missing ones
#[derive(Debug, Clone, clap::Args)]
pub struct Seed {
    /// How many products
    #[arg(long, value_name = "N", default_value_t = ROWS_DEFAULT, value_parser = rows())]
    rows: u64,
    /// The database to fill, migrated already. [default: that of the running `up`]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// A file that holds the password which that URL lacks, but for an end of line
    #[arg(long, value_name = "FILE", requires = "database_url")]
    password_file: Option<PathBuf>,
    /// Apply the migrations that are missing there first, as its owner who may create roles
    #[arg(long, requires = "database_url")]
    migrate: bool,
    #[command(flatten)]
    place: Where,
}

impl Seed {
    /// Seeds and says how many there are.
    pub async fn run(self) -> Result<ExitCode> {
        let url = match (self.database_url, self.password_file) {
            (Some(url), Some(file)) => with_password(&url, &file)?,
            (Some(url), None) => url,
            (None, _) => running(&self.place)?,
        };
        if self.migrate {
            migrate(&url).await?;
        }
        println!("{}", fill(&url, self.rows, |line| println!("{line}")).await?);
        Ok(ExitCode::SUCCESS)
    }
}

/// The URL of somebody without a password, with the one in this file.
fn with_password(url: &str, file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("reading --password-file {}", file.display()))?;
    let (scheme, rest) = url.split_once("://").context("--database-url is no URL: write postgres://user@host:port/database")?;
    match rest.split_once('@') {
        Some((user, place)) if !user.contains([':', '/']) => {
            let password = utf8_percent_encode(text.trim_end_matches(['\r', '\n']), NON_ALPHANUMERIC);
            Ok(format!("{scheme}://{user}:{password}@{place}"))
        }
        Some(_) => bail!("--database-url has a password already: leave one out"),
        None => bail!("--database-url names nobody whose password it could be: write postgres://user@host:port/database"),
    }
}

async fn migrate(url: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url).await.context("connecting to migrate the database")?;
    stage::migrate(&mut connection).await?;
    connection.close().await.context("closing a connection to Postgres")
}

/// Parses a number of products.
pub fn rows() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(ROWS_DEFAULT..=catalog::GENERATED_ROWS_MAX)
}

/// Plants the fifteen in an empty catalogue, generates what is missing of `rows`, and answers with what was done.
///
/// A catalogue that has products keeps those it has, and does not get back what was deleted from it. An interrupted run goes on
/// where it was. `say` hears how far it is where there is no terminal to draw a bar on.
pub async fn fill(url: &str, rows: u64, say: impl Fn(&str)) -> Result<String> {
    let mut connection = PgConnection::connect(url).await.context("connecting to seed the catalogue")?;
    let exists = sqlx::query_scalar("select exists (select from products)").fetch_one(&mut connection).await;
    let planted = if exists.context("looking for products")? { 0 } else { catalog::plant(&mut connection).await?.added };
    let progress = Progress::new(rows - ROWS_DEFAULT, say);
    let generated = catalog::generate(&mut connection, rows - ROWS_DEFAULT, SEED, |done| progress.at(done)).await?.added;
    progress.bar.finish_and_clear();
    connection.close().await?;
    Ok(match planted + generated {
        0 => "the catalogue has its products already (--fresh starts over)".to_owned(),
        added => format!("{added} products added to the catalogue"),
    })
}

/// A bar on a terminal, lines elsewhere.
struct Progress<S> {
    bar: ProgressBar,
    say: S,
}

impl<S: Fn(&str)> Progress<S> {
    fn new(rows: u64, say: S) -> Self {
        let drawn = rows > 0 && std::io::stderr().is_terminal();
        let bar = if drawn { ProgressBar::new(rows) } else { ProgressBar::hidden() };
        bar.set_length(rows);
        let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} products, {per_sec}, {eta} left");
        bar.set_style(style.expect("a template of indicatif's own words"));
        if drawn {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, say }
    }

    fn at(&self, done: u64) {
        let rows = self.bar.length().unwrap_or(done).max(1);
        let told = |done: u64| done * 100 / rows / TOLD_EVERY_PERCENT;
        if self.bar.is_hidden() && told(done) > told(self.bar.position()) {
            (self.say)(&format!("{done} of {rows} products generated"));
        }
        self.bar.set_position(done);
    }
}

fn running(place: &Where) -> Result<String> {
    match State::read(&place.place()?)?.and_then(|state| state.postgres) {
        Some(urls) => Ok(urls.superuser),
        None => bail!("nothing is up: run `cargo xtask up` first, or name a database by --database-url"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_a_file_goes_into_the_url_whatever_it_is() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "a/b@c:d\n").expect("written");
        let with = |url| with_password(url, file.path()).map_err(|error| error.to_string());
        assert_eq!(with("postgres://me@host:1/db"), Ok("postgres://me:a%2Fb%40c%3Ad@host:1/db".to_owned()));
        assert!(with("postgres://me:x@host/db").expect_err("two").contains("has a password already"));
        assert!(with("postgres://host/db").expect_err("nobody").contains("names nobody"));
        let told = with_password("postgres://me@host/db", Path::new("/nowhere")).expect_err("no file").to_string();
        assert_eq!(told, "reading --password-file /nowhere");
    }
}
