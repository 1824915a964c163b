//! What requests are answered with: one for the whole process, behind every route.

use std::time::{Duration, Instant};

use freshline::{
    cache::Cache,
    catalog::{Reads, Writes},
    coherence::{Links, Stripes},
};

use crate::{caching::Caching, config::Body, health::Postgres, tally::Tally};

/// What a request is answered with.
pub struct Services {
    /// Reads go through it.
    pub cache: Cache,
    /// What it does not hold is read here.
    pub reads: Reads,
    /// Writes go here.
    pub writes: Writes,
    /// What a body may be.
    pub body: Body,
    /// What caches of others may keep.
    pub caching: Caching,
    /// Hears how Postgres answers.
    pub postgres: Postgres,
    /// Counts how readers are served.
    pub tally: Tally,
    /// The way to Redis, for those who ask how it is.
    pub links: Links,
    /// How names are laid out there.
    pub stripes: Stripes,
    /// The oldest that a value served from the cache may be.
    pub max_staleness: Duration,
    /// This process's name in the registry.
    pub process: String,
    /// When it began.
    pub began: Instant,
}
