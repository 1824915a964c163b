//! What this process is told from outside: options say what to warm and how hard, variables say where the servers are.

use std::{net::SocketAddr, num::NonZeroU64, path::PathBuf, time::Duration};

use clap::{Args, Parser, builder::RangedI64ValueParser};
use freshline::{
    cache,
    config::{ABSENT_TTL, Description, Faults, LEASE_TTL, Optional, Reader, Setting, Shared, VALUE_TTL, Vars},
};

/// How long Redis may take for one call. Well above a chunk's fill, and below any lease's life.
pub const REDIS_DEADLINE: Duration = Duration::from_millis(900);

/// Several runs may be under way on one machine, so none listens unless it is told where.
const ADDRESS: Optional<SocketAddr> =
    Setting::address("WARMER_ADDRESS", "Where a run answers `/metrics`, `/livez` and `/readyz` while it lasts. Left out: nowhere.")
        .optional();

const AFTER_HELP: &str = "\
Where Postgres and Redis are is said by variables: see --settings.

A run that is told to end (SIGTERM, Ctrl-C) ends after the chunks under way. The last thing on standard output is the summary.

Exit codes:
  0  every id is in the cache: filled now, or there already
  1  some are not: refused, failed, or the run was ended before
  2  nothing was tried: an option, a variable, the file or the query cannot be used, or no id in it is one
  3  Postgres or the cache was away for --wait seconds: not reachable, or not opened by the invalidator";

/// Fills the cache with products: leases keys, reads their rows from Postgres, and fills what nothing newer has come in between of.
#[derive(Debug, Parser)]
#[command(name = "freshline-warmer", version, after_help = AFTER_HELP)]
pub struct Options {
    #[command(flatten)]
    which: Selection,

    /// How many ids are leased, read and filled together
    #[arg(long, value_name = "IDS", default_value_t = 100, value_parser = ranged::<u16>(1, 1000))]
    pub chunk: u16,

    /// How many chunks are under way at a time
    #[arg(long, value_name = "CHUNKS", default_value_t = 4, value_parser = ranged::<u16>(1, 64))]
    pub concurrency: u16,

    /// How many ids are offered to the cache per second at most
    #[arg(long, value_name = "IDS", value_parser = ranged::<u32>(1, 10_000_000))]
    pub rate: Option<u32>,

    /// How long to wait for Postgres, Redis, or the invalidator to open the cache, where one of them is away
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = ranged::<u32>(1, 86_400))]
    pub wait: u32,
}

/// What to do: to warm something, or to tell the settings.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Selection {
    /// Every product
    #[arg(long)]
    all: bool,

    /// The products that were made last
    #[arg(long, value_name = "N")]
    newest: Option<NonZeroU64>,

    /// The ids in a file, one a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    ids_file: Option<PathBuf>,

    /// The ids that a query yields in its one column, of type uuid. It runs read-only, and its snapshot is held until it ends
    #[arg(long, value_name = "QUERY")]
    sql: Option<String>,

    /// Nothing: print the variables that are read, as a table or as lines of an .env file, and end
    #[arg(long, value_name = "FORM", num_args = 0..=1, default_missing_value = "table", value_parser = ["table", "env"])]
    settings: Option<String>,
}

/// Which products to warm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Every one.
    All,
    /// So many, the newest first.
    Newest(NonZeroU64),
    /// Those whose ids are the lines of a file; `-` is standard input.
    File(PathBuf),
    /// Those whose ids a query yields.
    Query(String),
}

impl Options {
    /// The form in which the settings are to be told, if they are; nothing is warmed then.
    pub fn settings_form(&self) -> Option<&str> {
        self.which.settings.as_deref()
    }

    /// Which products to warm.
    pub fn which(&self) -> Which {
        let Selection { all: _, settings: _, newest, ids_file, sql } = &self.which;
        // The parser has seen to it that there is one of them.
        match (newest, ids_file, sql) {
            (Some(newest), ..) => Which::Newest(*newest),
            (None, Some(file), _) => Which::File(file.clone()),
            (None, None, Some(sql)) => Which::Query(sql.clone()),
            (None, None, None) => Which::All,
        }
    }
}

fn ranged<T: TryFrom<i64> + Clone + Send + Sync>(min: i64, max: i64) -> RangedI64ValueParser<T>
where
    <T as TryFrom<i64>>::Error: std::error::Error + Send + Sync,
{
    RangedI64ValueParser::new().range(min..=max)
}

/// What the variables say.
#[derive(Debug)]
pub struct Config {
    /// What every process needs.
    pub shared: Shared,
    /// Where to tell of the run, if anywhere.
    pub address: Option<SocketAddr>,
    /// How long values and leases live.
    pub cache: cache::Settings,
}

/// Every variable that is read, for `--settings`.
pub fn settings() -> Vec<Description> {
    let own = [ADDRESS.describe(), VALUE_TTL.describe(), ABSENT_TTL.describe(), LEASE_TTL.describe()];
    Shared::SETTINGS.into_iter().chain(own).collect()
}

/// Reads all of them. `concurrency` is the option of that name: no load may wait for its place while its leases run out.
///
/// # Errors
/// Every fault, and not only the first.
pub fn load(vars: &dyn Vars, concurrency: u16) -> Result<Config, Faults> {
    let mut read = Reader::new(vars);
    let (shared, address) = (Shared::read(&mut read), read.optional(&ADDRESS));
    let (value_ttl, absent_ttl, lease_ttl) = (read.get(&VALUE_TTL), read.get(&ABSENT_TTL), read.get(&LEASE_TTL));
    read.finish(|| {
        let (value_ttl, absent_ttl, lease_ttl) = (value_ttl?, absent_ttl?, lease_ttl?);
        let loads_max = usize::from(concurrency);
        let cache = cache::Settings { value_ttl, absent_ttl, lease_ttl, loads_max, ..cache::Settings::default() };
        Some(Config { shared: shared?, address: address?, cache })
    })
}
