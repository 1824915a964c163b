//! What is told of a comparison, a line each, as it happens.

use std::time::Duration;

use serde::Serialize;

use crate::clock::ms;

/// One line.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The change has come a step further.
    Phase {
        /// When that was seen, in µs since 1970 by the clock of this process.
        at_us: u64,
        /// Which change, from 1.
        round: u32,
        /// How far.
        phase: Phase,
        /// What it makes the price.
        price: String,
    },
    /// The row was read in one of the two ways.
    Read {
        /// When the read began.
        at_us: u64,
        /// In which round.
        round: u32,
        /// How.
        way: Way,
        /// The price that came of it.
        value: String,
        /// Where that was.
        source: Source,
        /// Whether Postgres had ceased to show that value before the read began.
        is_stale: bool,
        /// How long before, at least; null where it was not.
        stale_ms: Option<f64>,
    },
    /// It is over, and cleaned up after.
    End {
        /// What became of the usual way's reads.
        usual: Tally,
        /// And of Freshline's.
        freshline: Tally,
    },
    /// It could not be brought to its end; cleaned up after.
    Failed {
        /// When.
        at_us: u64,
        /// Why.
        detail: String,
    },
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its transaction has begun.
    Began,
    /// Its commit was sent to Postgres.
    Committing,
    /// The usual way's consumer has received it.
    Streamed,
    /// The usual way's key is deleted.
    Deleted,
    /// A new reader of Postgres sees it.
    Visible,
    /// Both ways have served it, or the usual way's values have run out.
    RoundOver,
}

/// How a row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Redis, and on a miss Postgres and SET.
    Usual,
    /// A replica of the API.
    Freshline,
}

/// Where a value was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// In a cache.
    Cache,
    /// In Postgres.
    Postgres,
}

/// What became of the reads of one way.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Tally {
    reads: u64,
    stale: u64,
    longest_stale_ms: f64,
}

impl Tally {
    /// Counts a read.
    pub fn count(&mut self, stale: Option<Duration>) {
        self.reads += 1;
        self.stale += u64::from(stale.is_some());
        self.longest_stale_ms = self.longest_stale_ms.max(stale.map_or(0.0, ms));
    }
}
