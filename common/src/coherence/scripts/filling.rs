//! What services ask of Redis: versions of tags, leases, fills.

use std::time::Duration;

use redis::Value;

use super::{Closed, Scripts, bytes, fixed, millis, nonsense, number, text::Script, unless_closed};
use crate::coherence::{
    bytes::{unpack_snapshot, unpack_xids},
    entry::RedisTime,
    identity::{EntryId, Generation, LeaseToken, Source, TagVersion},
    key::{CacheKey, Stripe, Tag},
    link::LinkError,
    snapshot::Snapshot,
    xid::{Lsn, Xid},
};

/// What a page read after this must have seen, and the versions it is stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagGrant {
    /// The stripe's generation.
    pub generation: Generation,
    /// The published snapshot, which the page's has to include.
    pub snapshot: Snapshot,
    /// How far the changes applied in this stripe reach: a read on a standby has to have replayed it.
    pub hi: Lsn,
    /// For each tag that was asked for: its version, and transactions that the page's snapshot has to see.
    pub tags: Vec<(TagVersion, Vec<Xid>)>,
}

impl TagGrant {
    /// Whether a page read under this snapshot holds every change applied to the tags.
    pub fn allows(&self, snapshot: &Snapshot) -> bool {
        snapshot.includes(&self.snapshot) && self.tags.iter().all(|(_, xids)| xids.iter().all(|xid| snapshot.sees(*xid)))
    }
}

/// A lease wanted on one key.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The key.
    pub key: &'a CacheKey,
    /// The entry that was found there and could not be served.
    pub seen: Option<EntryId>,
    /// The lease's token, used once.
    pub token: LeaseToken,
}

/// What became of a request for leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseGrant {
    /// The generation that fills are made for.
    pub generation: Generation,
    /// Redis's time: nothing visible before it is missing from a read that begins now.
    pub now: RedisTime,
    /// What a read on a standby has to have replayed.
    pub hi: Lsn,
    /// For each key that was asked for.
    pub outcomes: Vec<Lease>,
}

/// What became of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// The caller may fill.
    Granted,
    /// A usable entry is there by now: read again, once.
    Hit,
    /// Somebody else fills.
    Busy,
}

/// An entry to be put under a key.
#[derive(Debug, Clone, Copy)]
pub struct Filling<'a> {
    /// The key.
    pub key: &'a CacheKey,
    /// The lease's token.
    pub token: LeaseToken,
    /// How long the entry stays.
    pub ttl: Duration,
    /// The entry's bytes, made for the lease's generation.
    pub entry: &'a [u8],
}

/// What became of a fill. A refusal is an outcome: the caller serves what it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Fill {
    /// It is there.
    Filled,
    /// The lease had run out, or was removed by a change.
    Lost,
    /// The stripe is closed, another generation or another history.
    Closed,
    /// The read may lack a change that has been applied.
    Old,
}

impl Scripts<'_> {
    /// The versions of some tags, each made if it is not there. To be asked before the lease, and so before the page is read.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn tag(&self, stripe: Stripe, tags: &[&Tag], ttl: Duration) -> Result<Result<TagGrant, Closed>, LinkError> {
        let mut keys = self.ctl_and_fences(stripe);
        keys.extend(tags.iter().map(|tag| self.stripes.tag(tag)));
        let ttl_ms = millis(ttl);
        let named: Vec<_> = tags.iter().map(|tag| (format!("t:{tag}"), TagVersion::random())).collect();
        let mut args: Vec<&[u8]> = vec![self.run(), ttl_ms.as_bytes()];
        args.extend(named.iter().flat_map(|(field, version)| [field.as_bytes(), version.as_bytes().as_slice()]));
        let reply = self.link.run_script(Script::Tag, &keys, &args).await?;
        unless_closed(reply, |reply| {
            let mut parts = reply.into_iter();
            let generation = Generation::from_bytes(fixed(parts.next()?)?);
            let snapshot = unpack_snapshot(&bytes(parts.next()?)?)?;
            let hi = Lsn::new(number(parts.next()?)?)?;
            let mut tags = Vec::with_capacity(named.len());
            while let Some(version) = parts.next() {
                tags.push((TagVersion::from_bytes(fixed(version)?), unpack_xids(&bytes(parts.next()?)?)?));
            }
            (tags.len() == named.len()).then_some(TagGrant { generation, snapshot, hi, tags })
        })
    }

    /// The right to fill some keys of one stripe.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn lease(
        &self,
        stripe: Stripe,
        wanted: &[Wanted<'_>],
        ttl: Duration,
    ) -> Result<Result<LeaseGrant, Closed>, LinkError> {
        let mut keys = self.ctl_and_fences(stripe);
        keys.extend(wanted.iter().flat_map(|w| [self.stripes.lease(w.key), self.stripes.value(w.key)]));
        let ttl_ms = millis(ttl);
        let fields: Vec<_> = wanted.iter().map(|w| format!("k:{}", w.key)).collect();
        let mut args: Vec<&[u8]> = vec![self.run(), ttl_ms.as_bytes()];
        for (w, field) in wanted.iter().zip(&fields) {
            let seen = w.seen.as_ref().map_or([].as_slice(), |id| id.as_bytes());
            args.extend([field.as_bytes(), w.token.as_bytes(), seen]);
        }
        let reply = self.link.run_script(Script::Lease, &keys, &args).await?;
        unless_closed(reply, |reply| {
            let [generation, now, hi, outcomes] = <[Value; 4]>::try_from(reply).ok()?;
            let outcome = |letter: u8| match letter {
                b'L' => Some(Lease::Granted),
                b'H' => Some(Lease::Hit),
                b'B' => Some(Lease::Busy),
                _ => None,
            };
            let outcomes: Vec<_> = bytes(outcomes)?.into_iter().map(outcome).collect::<Option<_>>()?;
            (outcomes.len() == wanted.len()).then_some(LeaseGrant {
                generation: Generation::from_bytes(fixed(generation)?),
                now: RedisTime::from_micros(number(now)?),
                hi: Lsn::new(number(hi)?)?,
                outcomes,
            })
        })
    }

    /// Puts entries under keys of one stripe, each if it covers what its lease has been told of.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn fill(&self, stripe: Stripe, source: &Source, fillings: &[Filling<'_>]) -> Result<Vec<Fill>, LinkError> {
        let mut keys = vec![self.stripes.ctl(stripe)];
        keys.extend(fillings.iter().flat_map(|f| [self.stripes.lease(f.key), self.stripes.value(f.key)]));
        let source = source.to_string();
        let ttls: Vec<_> = fillings.iter().map(|f| millis(f.ttl)).collect();
        let mut args: Vec<&[u8]> = vec![self.run(), source.as_bytes()];
        for (f, ttl_ms) in fillings.iter().zip(&ttls) {
            args.extend([f.token.as_bytes().as_slice(), ttl_ms.as_bytes(), f.entry]);
        }
        let reply = self.link.run_script(Script::Fill, &keys, &args).await?;
        let outcome = |letter: u8| match letter {
            b'F' => Some(Fill::Filled),
            b'L' => Some(Fill::Lost),
            b'C' => Some(Fill::Closed),
            b'O' => Some(Fill::Old),
            _ => None,
        };
        let outcomes = bytes(reply).and_then(|letters| letters.into_iter().map(outcome).collect::<Option<Vec<_>>>());
        outcomes.filter(|outcomes| outcomes.len() == fillings.len()).ok_or_else(nonsense)
    }

    /// Gives tags other versions, those of them that are there: whatever depends on one is read anew. As a change of them would, but
    /// without a fence, for nothing has changed.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn renew(&self, tags: &[&Tag]) -> Result<(), LinkError> {
        let renewed: Vec<_> = tags.iter().map(|tag| self.touch(&[(tag, TagVersion::random())])).collect();
        self.send(&renewed).await
    }

    /// Closes every stripe by removing its control record, which is safe at any time; answers with how many were open. It is for the
    /// invalidator to open them again, under a new generation.
    ///
    /// # Errors
    /// Any [`LinkError`]: then some may have been closed.
    pub async fn close_all(&self) -> Result<u64, LinkError> {
        let mut closed = 0;
        for stripe in self.stripes.all() {
            let mut remove = redis::cmd("DEL");
            remove.arg(self.stripes.ctl(stripe));
            closed += self.link.call::<u64>(&remove).await?;
        }
        Ok(closed)
    }

    /// Gives up leases of one stripe that will not be used, so that others need not wait until they run out: a fill with an empty
    /// entry, which is of no generation.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn give_back(&self, stripe: Stripe, leases: &[(&CacheKey, LeaseToken)]) -> Result<(), LinkError> {
        let mut keys = vec![self.stripes.ctl(stripe)];
        keys.extend(leases.iter().flat_map(|(key, _)| [self.stripes.lease(key), self.stripes.value(key)]));
        let mut args: Vec<&[u8]> = vec![self.run(), b""];
        args.extend(leases.iter().flat_map(|(_, token)| [token.as_bytes().as_slice(), b"1", b""]));
        self.link.run_script(Script::Fill, &keys, &args).await.map(drop)
    }
}
