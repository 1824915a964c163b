//! What a read asks for, and what it is answered with.

use std::time::Duration;

use super::Explanation;
use crate::{
    coherence::{ETag, Refusal, Token},
    fault::{Classified, Kind},
};

/// What a read asks for beyond the value.
#[derive(Debug, Clone, Default)]
pub struct Want {
    /// A write that the value has to include.
    pub token: Option<Token>,
    /// Whether to tell how the answer came about.
    pub explain: bool,
    /// The oldest that the value may be, where that is less than the setting.
    pub max_staleness: Option<Duration>,
}

impl Want {
    /// Whether the read asks for what is its own alone, so that it can neither wait for another's nor lend its own.
    pub(super) fn goes_alone(&self) -> bool {
        self.token.is_some() || self.explain || self.max_staleness.is_some()
    }
}

/// A value, and what is known of it.
#[derive(Debug, Clone)]
pub struct Found<V> {
    /// The value; `None` where there is no such row.
    pub value: Option<V>,
    /// The validator of its bytes.
    pub etag: ETag,
    /// How long ago it was true at the latest.
    pub age: Duration,
    /// Where it came from.
    pub origin: Origin,
    /// Why the cache did not serve it; `None` where it did.
    pub refusal: Option<Refusal>,
    /// What became of the fill; `None` where the cache served it.
    pub fill: Option<FillOutcome>,
    /// How the answer came about, if that was asked for.
    pub explanation: Option<Box<Explanation>>,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The cache.
    Redis,
    /// This process's memory, because Redis is away: the database, no longer ago than the bound.
    Fallback,
    /// The database, just now.
    Postgres,
}

impl Origin {
    /// A word for people and for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Fallback => "fallback",
            Self::Postgres => "postgres",
        }
    }
}

/// What became of a value that was read from Postgres. All but the first leave the cache as it was; the value is good in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FillOutcome {
    /// It is in the cache.
    Filled,
    /// The read may lack a change that has been applied.
    Old,
    /// The lease had run out, or was lost.
    Lost,
    /// The stripe serves and takes nothing, or serves another history than the one that was read.
    Closed,
    /// Somebody else has the lease.
    Busy,
    /// Somebody else filled meanwhile, and what they filled could not be served to this read.
    Raced,
    /// The session that read is not known to be on the primary.
    NoSource,
    /// More transactions were running than an entry can list (65,535).
    Unfit,
    /// Redis did not answer. A fill may still be carried out later, which is harmless.
    Unreachable,
}

impl FillOutcome {
    /// Every outcome, for metrics that start at zero.
    pub const ALL: [Self; 9] = [
        Self::Filled,
        Self::Old,
        Self::Lost,
        Self::Closed,
        Self::Busy,
        Self::Raced,
        Self::NoSource,
        Self::Unfit,
        Self::Unreachable,
    ];

    /// A word for metrics and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filled => "filled",
            Self::Old => "old",
            Self::Lost => "lost",
            Self::Closed => "closed",
            Self::Busy => "busy",
            Self::Raced => "raced",
            Self::NoSource => "no-source",
            Self::Unfit => "unfit",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What became of one key of a warm run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Warmed {
    /// It was filled.
    Filled,
    /// An entry of this generation is there.
    AlreadyThere,
    /// The protocol refused it, as it refuses reads: try again later.
    Refused(FillOutcome),
    /// Something is wrong that does not pass by itself, or Redis does not answer.
    Failed(FillOutcome),
}

impl From<FillOutcome> for Warmed {
    fn from(outcome: FillOutcome) -> Self {
        match outcome {
            FillOutcome::Filled => Self::Filled,
            FillOutcome::Raced => Self::AlreadyThere,
            FillOutcome::Old | FillOutcome::Lost | FillOutcome::Closed | FillOutcome::Busy => Self::Refused(outcome),
            FillOutcome::NoSource | FillOutcome::Unfit | FillOutcome::Unreachable => Self::Failed(outcome),
        }
    }
}

/// Why a read has no answer. Nothing from Redis is among it: without Redis, Postgres is read.
#[derive(Debug, thiserror::Error)]
pub enum CacheError<E> {
    /// The loader failed.
    #[error("the value could not be loaded")]
    Load(#[source] E),
    /// Too many loads were running for too long: ask again later.
    #[error("too many reads wait for Postgres")]
    Overloaded,
}

impl<E: Classified + 'static> Classified for CacheError<E> {
    fn kind(&self) -> Kind {
        match self {
            Self::Load(error) => error.kind(),
            Self::Overloaded => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Load(error) => error.remedy(),
            Self::Overloaded => None,
        }
    }
}
