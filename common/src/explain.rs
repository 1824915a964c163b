//! All that is known of one key: what a reader would find, and why; what stands in the way of a fill; what Postgres holds.
//!
//! It looks, and neither leases nor fills. One implementation, for the control command and for the API.

mod row;
mod verdict;

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

pub use self::{
    row::{Row, RowUnread},
    verdict::micros,
};
use crate::{
    cache::{Cache, Explanation, Want},
    coherence::{CacheKey, Dependency, Fences, HeldLease, Link, LinkError, Stripes, Tag, Xid},
};

/// All that is known of a key.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explained {
    /// Whether a reader would be served from the cache.
    pub is_served: bool,
    /// That, and why, in words.
    pub verdict: String,
    /// The look that a reader would have, down to the rule that decides.
    pub look: Explanation,
    /// The fences of the key; none where the stripe has none.
    pub fences: Option<ExplainedFences>,
    /// The lease on the key, if somebody holds one.
    pub lease: Option<ExplainedLease>,
    /// What Postgres holds now; none where no rule makes such a key.
    pub row: Option<Row>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
}

/// What is fenced for a key.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedFences {
    /// The generation that they belong to.
    pub generation: String,
    /// The published snapshot P.
    pub snapshot: String,
    /// The highest end of a commit that was applied in the stripe.
    pub hi: String,
    /// Transactions applied to the key and not known to be visible.
    pub own: Vec<u64>,
    /// The same for everything.
    pub wildcard: Vec<u64>,
}

/// A lease that somebody holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedLease {
    /// The generation that it fills for.
    pub generation: String,
    /// The snapshot that its fill has to include.
    pub snapshot: String,
    /// What a read on a standby has to have replayed.
    pub hi: String,
    /// Transactions that its fill has to see besides the snapshot.
    pub told: Vec<u64>,
    /// How long it stays.
    pub left_ms: u64,
}

impl Explained {
    /// What is known of a key without asking Postgres: its row is for the caller to add.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn look(cache: &Cache, link: &Link, stripes: &Stripes, key: &CacheKey, tags: &[Tag]) -> Result<Self, LinkError> {
        let look = *cache.explain(key, tags, &Want::default()).await;
        let fences = Fences::read(link, stripes, &Dependency::Key(key.clone())).await?.map(ExplainedFences::from);
        let lease = HeldLease::read(link, stripes, key).await?.map(ExplainedLease::from);
        let verdict = verdict::verdict(&look, fences.as_ref(), lease.as_ref(), link.now());
        Ok(Self { is_served: look.origin == "redis", verdict, look, fences, lease, row: None, unseen: Vec::new() })
    }
}

fn numbers(xids: impl IntoIterator<Item = Xid>) -> Vec<u64> {
    xids.into_iter().map(Xid::get).collect()
}

impl From<Fences> for ExplainedFences {
    fn from(Fences { generation, snapshot, hi, own, wildcard }: Fences) -> Self {
        // What the published snapshot sees is settled by the next poll, and hinders nothing.
        let hidden = |xids: Vec<Xid>| numbers(xids.into_iter().filter(|xid| !snapshot.sees(*xid)));
        let (own, wildcard) = (hidden(own), hidden(wildcard));
        Self { generation: generation.to_string(), snapshot: snapshot.to_string(), hi: hi.to_string(), own, wildcard }
    }
}

impl From<(HeldLease, Duration)> for ExplainedLease {
    fn from((lease, left): (HeldLease, Duration)) -> Self {
        Self {
            generation: lease.generation.to_string(),
            snapshot: lease.snapshot.to_string(),
            hi: lease.hi.to_string(),
            told: numbers(lease.told),
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
