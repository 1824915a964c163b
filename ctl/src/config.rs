//! The settings of this command: those of the processes that it looks at, from the same variables.

use std::{path::PathBuf, time::Duration};

use freshline::{
    coherence::Stripes,
    config::{
        DATABASE_URL, Description, Faults, MAX_STALENESS, NAMESPACE, PUBLICATION, PostgresUrl, REDIS_URL, RULES, Reader, RedisUrl,
        SLOT, STRIPES, Vars,
    },
};

/// What this command is told from outside.
#[derive(Debug)]
pub struct Config {
    pub database_url: PostgresUrl,
    pub redis_url: RedisUrl,
    pub stripes: Stripes,
    pub slot: String,
    pub publication: String,
    pub rules: Option<PathBuf>,
    pub max_staleness: Duration,
}

/// Every setting, for `settings`.
pub fn settings() -> Vec<Description> {
    vec![
        DATABASE_URL.describe(),
        REDIS_URL.describe(),
        NAMESPACE.describe(),
        STRIPES.describe(),
        SLOT.describe(),
        PUBLICATION.describe(),
        RULES.describe(),
        MAX_STALENESS.describe(),
    ]
}

/// Reads all of them.
///
/// # Errors
/// Every fault, and not only the first.
pub fn load(vars: &dyn Vars) -> Result<Config, Faults> {
    let mut read = Reader::new(vars);
    let (database_url, redis_url) = (read.get(&DATABASE_URL), read.get(&REDIS_URL));
    let (namespace, stripes) = (read.get(&NAMESPACE), read.get(&STRIPES));
    let (slot, publication, rules) = (read.get(&SLOT), read.get(&PUBLICATION), read.optional(&RULES));
    let max_staleness = read.get(&MAX_STALENESS);
    read.finish(|| {
        Some(Config {
            database_url: database_url?,
            redis_url: redis_url?,
            stripes: Stripes::new(&namespace?, stripes?)?,
            slot: slot?,
            publication: publication?,
            rules: rules?,
            max_staleness: max_staleness?,
        })
    })
}
