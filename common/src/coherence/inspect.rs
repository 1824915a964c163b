//! What lies in Redis beside an entry, for those who explain it: where the stripes stand, the fences of a dependency, the lease of a
//! key. Reads, and changes nothing. The layouts are those of `scripts/lib.lua`.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    bytes::{Fields, unpack_snapshot, unpack_xids},
    control::Control,
    identity::{Generation, LeaseToken},
    key::{CacheKey, Dependency, Stripe, Stripes},
    link::{Link, LinkError},
    scripts::WILDCARD_FIELD,
    snapshot::Snapshot,
    xid::{Lsn, Xid},
};

/// The control record of each stripe; none where it is closed.
///
/// # Errors
/// Any [`LinkError`].
pub async fn controls(link: &Link, stripes: &Stripes) -> Result<Vec<Option<Control>>, LinkError> {
    let mut command = redis::cmd("MGET");
    command.arg(stripes.all().map(|stripe| stripes.ctl(stripe)).collect::<Vec<_>>());
    let records: Vec<Option<Vec<u8>>> = link.call(&command).await?;
    Ok(records.into_iter().map(|record| record.as_deref().and_then(Control::decode)).collect())
}

/// Where the cache stands: all stripes together, the worst of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Standing {
    /// How many stripes there are.
    pub stripes: usize,
    /// How many of them serve.
    pub open: usize,
    /// The generation of the first one.
    pub generation: Option<String>,
    /// The history of Postgres that it follows.
    pub history: Option<String>,
    /// Every change up to here is applied; none while a stripe is closed.
    pub position: Option<String>,
    /// Nothing visible longer ago than this is missing, in µs; none while that cannot be said.
    pub freshness_us: Option<u64>,
    /// Dependencies with transactions that are applied and not yet known to be visible.
    pub fenced: u64,
    /// The position as a number.
    #[serde(skip)]
    #[schema(ignore)]
    pub position_at: Option<Lsn>,
}

impl Standing {
    /// Where it stands now.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn read(link: &Link, stripes: &Stripes) -> Result<Self, LinkError> {
        let controls = controls(link, stripes).await?;
        let mut fenced = 0;
        for stripe in stripes.all() {
            fenced += Fences::count(link, stripes, stripe).await?;
        }
        let now = link.now();
        let open: Vec<&Control> = controls.iter().flatten().filter(|control| control.run == link.run()).collect();
        let is_whole = open.len() == controls.len();
        let position_at = open.iter().map(|control| control.position).min().filter(|_| is_whole);
        let at = open.iter().map(|control| control.at).min().filter(|at| is_whole && at.as_micros() > 0);
        let first = open.first();
        Ok(Self {
            stripes: controls.len(),
            open: open.len(),
            generation: first.map(|control| control.generation.to_string()),
            history: first.map(|control| control.source.to_string()),
            position: position_at.map(|position| position.to_string()),
            freshness_us: at.map(|at| u64::try_from(at.age_at(now).as_micros()).unwrap_or(u64::MAX)),
            fenced,
            position_at,
        })
    }

    /// Whether every stripe serves.
    pub fn is_open(&self) -> bool {
        self.open == self.stripes
    }
}

/// What a stripe has published, and what is fenced for one dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fences {
    /// The generation that they belong to.
    pub generation: Generation,
    /// The published snapshot P: whatever it sees is visible to a new reader.
    pub snapshot: Snapshot,
    /// The highest end of a commit that was applied in this stripe.
    pub hi: Lsn,
    /// The transactions fenced for the dependency.
    pub own: Vec<Xid>,
    /// The transactions fenced for everything.
    pub wildcard: Vec<Xid>,
}

/// A lease that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// Proof of holding it.
    pub token: LeaseToken,
    /// The generation that it fills for.
    pub generation: Generation,
    /// What a read on a standby has to have replayed.
    pub hi: Lsn,
    /// The published snapshot at its grant, which a fill has to include.
    pub snapshot: Snapshot,
    /// Transactions that a fill has to see besides: the fences at its grant, and what was applied since.
    pub told: Vec<Xid>,
}

impl Fences {
    /// The fences of a dependency; `None` where the stripe has none, and is closed.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn read(link: &Link, stripes: &Stripes, dependency: &Dependency) -> Result<Option<Self>, LinkError> {
        let mut command = redis::cmd("HMGET");
        command.arg(stripes.fences(stripes.of(dependency.name()))).arg(&[".gen", ".snap", ".hi"]);
        command.arg(dependency.fence_field()).arg(WILDCARD_FIELD);
        let fields: [Option<Vec<u8>>; 5] = link.call::<Vec<Option<Vec<u8>>>>(&command).await?.try_into().unwrap_or_default();
        Ok(Self::decode(fields))
    }

    fn decode([generation, snapshot, hi, own, wildcard]: [Option<Vec<u8>>; 5]) -> Option<Self> {
        let xids = |packed: Option<Vec<u8>>| unpack_xids(&packed.unwrap_or_default());
        Some(Self {
            generation: Generation::from_bytes(generation?.try_into().ok()?),
            snapshot: unpack_snapshot(&snapshot?)?,
            hi: Fields(&hi?).lsn()?,
            own: xids(own)?,
            wildcard: xids(wildcard)?,
        })
    }

    /// How many dependencies of a stripe have fences, the wildcard among them.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn count(link: &Link, stripes: &Stripes, stripe: Stripe) -> Result<u64, LinkError> {
        let mut command = redis::cmd("HLEN");
        command.arg(stripes.fences(stripe));
        // `.gen`, `.snap` and `.hi` are in the same hash.
        link.call::<u64>(&command).await.map(|fields| fields.saturating_sub(3))
    }
}

impl HeldLease {
    /// The lease of a key, and how long it stays; `None` where nobody holds one.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn read(link: &Link, stripes: &Stripes, key: &CacheKey) -> Result<Option<(Self, Duration)>, LinkError> {
        let name = stripes.lease(key);
        let mut get = redis::cmd("MGET"); // and not GET, to which another type under the key is an error
        get.arg(&name);
        let (packed,): (Option<Vec<u8>>,) = link.call(&get).await?;
        let Some(lease) = packed.as_deref().and_then(Self::decode) else { return Ok(None) };
        let mut ttl = redis::cmd("PTTL");
        ttl.arg(&name);
        let left: i64 = link.call(&ttl).await?;
        Ok(Some((lease, Duration::from_millis(u64::try_from(left).unwrap_or(0)))))
    }

    fn decode(packed: &[u8]) -> Option<Self> {
        let mut fields = Fields(packed);
        if fields.u8()? != 1 {
            return None;
        }
        let (token, running_len) = (LeaseToken::from_bytes(fields.array()?), usize::from(fields.u16()?));
        let (generation, hi) = (Generation::from_bytes(fields.array()?), fields.lsn()?);
        let snapshot = Snapshot::new(fields.xid()?, fields.xid()?, fields.xids(running_len)?)?;
        Some(Self { token, generation, hi, snapshot, told: unpack_xids(fields.0)? })
    }
}
