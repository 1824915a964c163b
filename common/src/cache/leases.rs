//! Tags and leases: what a read asks for before it asks Postgres, in batches of one stripe.
//!
//! Everything that cannot be had from Redis is an outcome here, as it is in `door.rs`.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::{
    FillOutcome, Shared,
    door::{Barred, Operation},
};
use crate::coherence::{
    CacheKey, EntryId, Generation, Lease, LeaseToken, RedisTime, Scripts, Snapshot, Stripe, Tag, TagGrant, TagStamp, Wanted,
};

/// The most keys that one script is given, so that none keeps Redis from others for long: some 2.5 µs each.
const SCRIPT_KEYS_MAX: usize = 100;
/// The most bytes of entries that one script is given, unless a single one is larger.
const SCRIPT_BYTES_MAX: usize = 1 << 20;

/// What became of the request for one lease.
#[derive(Debug, Clone, Copy)]
pub(super) enum Claim {
    /// The caller may fill.
    Held(Held),
    /// A usable entry is there by now: look again, once.
    Hit,
    /// Somebody else fills.
    Busy,
    /// The stripe takes nothing.
    Closed,
    /// Redis did not answer.
    Unreachable,
}

/// A lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub token: LeaseToken,
    pub generation: Generation,
    /// Redis's time of the grant: nothing visible before it is missing from what is read now.
    pub now: RedisTime,
}

/// What the tags of a page were granted, before its lease.
pub(super) struct Page {
    grants: Vec<TagGrant>,
    /// In the order that the tags are named.
    pub stamps: Vec<TagStamp>,
}

impl Claim {
    pub const WORDS: [&'static str; 5] = ["granted", "hit", "busy", "closed", "unreachable"];

    pub fn word_index(&self) -> usize {
        match self {
            Self::Held(_) => 0,
            Self::Hit => 1,
            Self::Busy => 2,
            Self::Closed => 3,
            Self::Unreachable => 4,
        }
    }

    pub fn as_str(&self) -> &'static str {
        Self::WORDS[self.word_index()]
    }

    /// The lease, or why there will be no fill.
    pub fn held(self) -> Result<Held, FillOutcome> {
        match self {
            Self::Held(held) => Ok(held),
            Self::Hit => Err(FillOutcome::Raced),
            Self::Busy => Err(FillOutcome::Busy),
            Self::Closed => Err(FillOutcome::Closed),
            Self::Unreachable => Err(FillOutcome::Unreachable),
        }
    }
}

impl From<Barred> for Claim {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::Paused => Self::Closed,
            Barred::NoLink => Self::Unreachable,
        }
    }
}

impl Page {
    /// What a value without tags depends on.
    pub const NONE: Self = Self { grants: Vec::new(), stamps: Vec::new() };

    /// Whether what was read under this snapshot holds every change applied to the tags.
    pub fn allows(&self, snapshot: &Snapshot) -> bool {
        self.grants.iter().all(|grant| grant.allows(snapshot))
    }
}

impl Shared {
    /// Asks for the versions of the tags. Before the lease, and so before the page is read: a later change makes the page unservable.
    pub(super) async fn tag(&self, tags: &[Tag]) -> Result<Page, Claim> {
        let mut page = Page::NONE;
        let mut stamps = vec![None; tags.len()];
        for (stripe, at) in self.batches(tags.iter().map(|tag| (tag.as_str(), 0))) {
            let named: Vec<&Tag> = at.iter().map(|at| &tags[*at]).collect();
            let grant = self.tag_batch(stripe, &named).await?;
            for (at, (version, _)) in at.into_iter().zip(&grant.tags) {
                // The generation that came with the version, never the lease's: a Redis restored in between brings the old version back.
                stamps[at] = Some(TagStamp { stripe: stripe.number(), generation: grant.generation, version: *version });
            }
            page.grants.push(grant);
        }
        page.stamps = stamps.into_iter().flatten().collect();
        Ok(page)
    }

    async fn tag_batch(&self, stripe: Stripe, tags: &[&Tag]) -> Result<TagGrant, Claim> {
        let link = self.door.open(&[stripe])?;
        let reply = Scripts::new(&link, &self.stripes).tag(stripe, tags, self.settings.tag_ttl()).await;
        match self.door.heard(&self.meters, Operation::Tag, &[stripe], reply) {
            Some(Ok(grant)) => Ok(grant),
            Some(Err(_closed)) => {
                self.door.found_closed(stripe);
                Err(Claim::Closed)
            }
            None => Err(Claim::Unreachable),
        }
    }

    /// Asks for the right to fill keys, each with the entry that was found there and could not be served. One claim for each, in order.
    pub(super) async fn lease(&self, wanted: &[(&CacheKey, Option<EntryId>)]) -> Vec<Claim> {
        let batches = self.batches(wanted.iter().map(|(key, _)| (key.as_str(), 0)));
        let asked = batches.into_iter().map(async |(stripe, at)| {
            let wanted: Vec<_> =
                at.iter().map(|at| wanted[*at]).map(|(key, seen)| Wanted { key, seen, token: LeaseToken::random() }).collect();
            (at, self.lease_batch(stripe, &wanted).await)
        });
        let mut claims = vec![Claim::Unreachable; wanted.len()];
        for (at, batch) in join_all(asked).await {
            at.into_iter().zip(batch).for_each(|(at, claim)| claims[at] = claim);
        }
        for (claim, (key, _)) in claims.iter_mut().zip(wanted) {
            if let (Claim::Busy, Some(held)) = (*claim, self.abandoned.take(key)) {
                *claim = Claim::Held(held);
            }
            self.meters.lease(claim);
        }
        claims
    }

    async fn lease_batch(&self, stripe: Stripe, wanted: &[Wanted<'_>]) -> Vec<Claim> {
        let link = match self.door.open(&[stripe]) {
            Ok(link) => link,
            Err(barred) => return vec![barred.into(); wanted.len()],
        };
        let reply = Scripts::new(&link, &self.stripes).lease(stripe, wanted, self.settings.lease_ttl).await;
        match self.door.heard(&self.meters, Operation::Lease, &[stripe], reply) {
            Some(Ok(grant)) => {
                let claim = |(wanted, outcome): (&Wanted<'_>, &Lease)| match outcome {
                    Lease::Granted => Claim::Held(Held { token: wanted.token, generation: grant.generation, now: grant.now }),
                    Lease::Hit => Claim::Hit,
                    Lease::Busy => Claim::Busy,
                };
                wanted.iter().zip(&grant.outcomes).map(claim).collect()
            }
            Some(Err(_closed)) => {
                self.door.found_closed(stripe);
                vec![Claim::Closed; wanted.len()]
            }
            None => vec![Claim::Unreachable; wanted.len()],
        }
    }

    /// Gives back the leases among these claims.
    pub(super) async fn give_back_all(&self, keys: &[&CacheKey], claims: &[Claim]) {
        let leases: Vec<_> = keys.iter().zip(claims).filter_map(|(key, claim)| Some((*key, claim.held().ok()?))).collect();
        self.give_back(&leases).await;
    }

    /// Gives leases back that will not be used. Should that fail, they run out.
    pub(super) async fn give_back(&self, leases: &[(&CacheKey, Held)]) {
        let batches = self.batches(leases.iter().map(|(key, _)| (key.as_str(), 0)));
        let given = batches.into_iter().map(async |(stripe, at)| {
            let Some(link) = self.door.link() else { return };
            let leases: Vec<_> = at.into_iter().map(|at| (leases[at].0, leases[at].1.token)).collect();
            let reply = Scripts::new(&link, &self.stripes).give_back(stripe, &leases).await;
            self.door.heard(&self.meters, Operation::Fill, &[stripe], reply);
        });
        join_all(given).await;
    }

    /// The indexes of names, by stripe, cut into batches that one script may have; with each name goes what it weighs in bytes.
    pub(super) fn batches<'n>(&self, names: impl Iterator<Item = (&'n str, usize)>) -> Vec<(Stripe, Vec<usize>)> {
        let mut full = Vec::new();
        let mut open: BTreeMap<Stripe, (Vec<usize>, usize)> = BTreeMap::new();
        for (at, (name, bytes)) in names.enumerate() {
            let stripe = self.stripes.of(name);
            let (batch, weight) = open.entry(stripe).or_default();
            if batch.len() == SCRIPT_KEYS_MAX || (*weight > 0 && *weight + bytes > SCRIPT_BYTES_MAX) {
                full.push((stripe, std::mem::take(batch)));
                *weight = 0;
            }
            batch.push(at);
            *weight += bytes;
        }
        full.extend(open.into_iter().map(|(stripe, (batch, _))| (stripe, batch)));
        full
    }
}
