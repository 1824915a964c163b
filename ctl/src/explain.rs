//! `explain KEY`: what a reader would find under a key now, and why; what stands in the way of a fill; what Postgres holds.
//!
//! It looks, and neither leases nor fills.

mod row;
mod shown;

use std::time::Duration;

use freshline::{
    cache::{self, Cache, Explanation, Want},
    catalog::keys,
    coherence::{CacheKey, Dependency, Fences, HeldLease, Link, LinkError, Links, Tag, Xid},
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::row::Row;
use crate::{
    FINDINGS, UNSEEN,
    options::Explain as Options,
    paint,
    servers::{ANSWER_WITHIN, Servers, Trouble},
};

/// All that is known of a key.
#[derive(Debug, Serialize)]
struct Explained {
    /// Whether a reader would be served from the cache.
    is_served: bool,
    /// That, and why, in words.
    verdict: String,
    /// The look that a reader would have, down to the rule that decides.
    look: Explanation,
    /// The fences of the key; none where the stripe has none.
    fences: Option<ExplainedFences>,
    /// The lease on the key, if somebody holds one.
    lease: Option<ExplainedLease>,
    /// What Postgres holds now; none where no rule makes such a key.
    row: Option<Row>,
    /// What could not be looked at, and why.
    unseen: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ExplainedFences {
    generation: String,
    /// The published snapshot P.
    snapshot: String,
    hi: String,
    /// Transactions applied to the key and not known to be visible.
    own: Vec<u64>,
    /// The same for everything.
    wildcard: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct ExplainedLease {
    generation: String,
    snapshot: String,
    hi: String,
    /// Transactions that its fill has to see besides the snapshot.
    told: Vec<u64>,
    /// How long it stays.
    left_ms: u64,
}

/// Explains one key. 0: it would be served; 1: it would not; 2: not all could be looked at.
///
/// # Errors
/// Where Redis is away, or the output cannot be written.
pub async fn run(servers: &Servers, options: &Options) -> Result<u8, Trouble> {
    let explained = explain(servers, options).await?;
    let text = if options.json { serde_json::to_string_pretty(&explained)? + "\n" } else { shown::text(&explained) };
    paint::put(&text)?;
    Ok(match (explained.unseen.is_empty(), explained.is_served) {
        (false, _) => UNSEEN,
        (true, true) => 0,
        (true, false) => FINDINGS,
    })
}

async fn explain(servers: &Servers, options: &Options) -> Result<Explained, Trouble> {
    let key = CacheKey::new(&options.key);
    let tags = match options.tags.as_slice() {
        [] => keys::tags_of(&key),
        named => named.iter().map(Tag::new).collect(),
    };
    let link = servers.redis().await?;
    let away = |source: LinkError| servers.no_redis(source);
    let look = look(servers, &key, &tags).await.map_err(away)?;
    let (stripes, dependency) = (servers.stripes(), Dependency::Key(key.clone()));
    let fences = Fences::read(&link, stripes, &dependency).await.map_err(away)?.map(ExplainedFences::from);
    let lease = HeldLease::read(&link, stripes, &key).await.map_err(away)?.map(ExplainedLease::from);
    let (row, unseen) = match row::read(servers, &options.key, look.entry.as_ref()).await {
        Ok(row) => (row, Vec::new()),
        Err(trouble) => (None, vec![trouble.told()]),
    };
    let is_served = look.origin == "redis";
    let verdict = shown::verdict(&look, fences.as_ref(), lease.as_ref(), &link);
    Ok(Explained { is_served, verdict, look, fences, lease, row, unseen })
}

/// The look that a reader has.
async fn look(servers: &Servers, key: &CacheKey, tags: &[Tag]) -> Result<Explanation, LinkError> {
    let stop = CancellationToken::new();
    let (mut links, keeper) = Links::new(servers.redis_client(), ANSWER_WITHIN);
    let looking = async {
        tokio::time::timeout(ANSWER_WITHIN, links.ready()).await.ok().flatten().ok_or(LinkError::Silent)?;
        let settings = cache::Settings { max_staleness: servers.config.max_staleness, ..cache::Settings::default() };
        let cache = Cache::new(links.clone(), servers.stripes().clone(), settings);
        Ok(*cache.explain(key, tags, &Want::default()).await)
    };
    tokio::select! {
        looked = looking => looked,
        () = keeper.run(stop) => Err(LinkError::Silent),
    }
}

fn numbers(xids: &[Xid]) -> Vec<u64> {
    xids.iter().map(|xid| xid.get()).collect()
}

impl From<Fences> for ExplainedFences {
    fn from(fences: Fences) -> Self {
        // What the published snapshot sees is settled by the next poll, and hinders nothing.
        let hidden = |xids: &[Xid]| -> Vec<u64> {
            numbers(&xids.iter().copied().filter(|xid| !fences.snapshot.sees(*xid)).collect::<Vec<_>>())
        };
        Self {
            generation: fences.generation.to_string(),
            snapshot: fences.snapshot.to_string(),
            hi: fences.hi.to_string(),
            own: hidden(&fences.own),
            wildcard: hidden(&fences.wildcard),
        }
    }
}

impl From<(HeldLease, Duration)> for ExplainedLease {
    fn from((lease, left): (HeldLease, Duration)) -> Self {
        Self {
            generation: lease.generation.to_string(),
            snapshot: lease.snapshot.to_string(),
            hi: lease.hi.to_string(),
            told: numbers(&lease.told),
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Redis's clock now, in µs since 1970.
fn now_us(link: &Link) -> u64 {
    link.now().as_micros()
}
