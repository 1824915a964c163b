//! `seed`: products for the catalogue.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::builder::RangedU64ValueParser;
use freshline::catalog;
use indicatif::{ProgressBar, ProgressStyle};
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
    /// Apply the migrations that are missing there first, as its owner who may create roles
    #[arg(long, requires = "database_url")]
    migrate: bool,
    #[command(flatten)]
    place: Where,
}

impl Seed {
    /// Seeds and says how many there are.
    pub async fn run(self) -> Result<ExitCode> {
        let url = match self.database_url {
            Some(url) => url,
            None => running(&self.place)?,
        };
        if self.migrate {
            migrate(&url).await?;
        }
        println!("{}", fill(&url, self.rows, |line| println!("{line}")).await?);
        Ok(ExitCode::SUCCESS)
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
