//! What lies in Redis beside an entry, for those who explain it: the fences of a dependency, the lease of a key. Reads, and changes
//! nothing. The layouts are those of `scripts/lib.lua`.

use std::time::Duration;

use super::{
    bytes::{Fields, unpack_snapshot, unpack_xids},
    identity::{Generation, LeaseToken},
    key::{CacheKey, Dependency, Stripe, Stripes},
    link::{Link, LinkError},
    scripts::WILDCARD_FIELD,
    snapshot::Snapshot,
    xid::{Lsn, Xid},
};

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
