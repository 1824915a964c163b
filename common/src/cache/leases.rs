//! Leases and fills: the steps of a read that changes the cache, one script each, in batches of one stripe.
//!
//! Everything that cannot be had from Redis is an outcome here, as it is in `door.rs`.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::future::{join, join_all};

use super::{
    FillOutcome, ReadProof, Shared,
    door::{Barred, Operation},
};
use crate::coherence::{
    CacheKey, ETag, Entry, EntryId, Fill, Filling, Generation, Lease, LeaseToken, Proof, RedisTime, Scripts, Snapshot, Source,
    Stripe, Tag, TagGrant, TagStamp, Wanted,
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
    token: LeaseToken,
    generation: Generation,
    /// Redis's time of the grant: nothing visible before it is missing from what is read now.
    now: RedisTime,
}

/// What the tags of a page were granted, before its lease.
pub(super) struct Page {
    grants: Vec<TagGrant>,
    stamps: Vec<TagStamp>,
}

/// An entry that may be offered.
struct Ready {
    ttl: Duration,
    entry: Vec<u8>,
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
    fn allows(&self, snapshot: &Snapshot) -> bool {
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
        claims.iter().for_each(|claim| self.meters.lease(claim));
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

    /// Puts what was read under leases into the cache: for each key its claim and its body. One outcome for each, in order.
    ///
    /// A lease whose value must not enter is given back, so that the next reader need not wait until it runs out.
    pub(super) async fn store(
        &self,
        keys: &[&CacheKey],
        claims: &[Claim],
        page: &Page,
        bodies: Vec<Option<Bytes>>,
        proof: &ReadProof,
    ) -> Vec<FillOutcome> {
        let mut outcomes = vec![FillOutcome::Unreachable; keys.len()];
        let (mut fills, mut unfit) = (Vec::new(), Vec::new());
        for (at, ((key, claim), body)) in keys.iter().zip(claims).zip(bodies).enumerate() {
            match claim.held().map(|held| (held, self.prepare(held, page, body, proof))) {
                Ok((held, Ok(ready))) => fills.push((at, *key, held, ready)),
                Ok((held, Err(outcome))) => {
                    outcomes[at] = outcome;
                    unfit.push((*key, held));
                }
                Err(outcome) => outcomes[at] = outcome,
            }
        }
        let source = proof.source.as_ref();
        let (filled, ()) = join(self.fill(&fills, source), self.give_back(&unfit)).await;
        for ((at, ..), outcome) in fills.iter().zip(filled) {
            outcomes[*at] = outcome;
        }
        outcomes.iter().for_each(|outcome| self.meters.fill(*outcome));
        outcomes
    }

    /// Makes the entry of a value that was read under a lease; or says why it must not enter.
    fn prepare(&self, held: Held, page: &Page, body: Option<Bytes>, proof: &ReadProof) -> Result<Ready, FillOutcome> {
        if proof.source.is_none() {
            return Err(FillOutcome::NoSource);
        }
        if !page.allows(&proof.snapshot) {
            return Err(FillOutcome::Old);
        }
        let id = EntryId::random();
        let ttl = self.settings.ttl(body.is_none(), id.as_bytes()[0]);
        let entry = Entry {
            id,
            generation: held.generation,
            proof: Proof::Snapshot(proof.snapshot.clone()),
            read_at: Some(held.now),
            tags: page.stamps.clone(),
            etag: ETag::of(body.as_deref().unwrap_or_default()),
            body,
        };
        entry.encode().map(|entry| Ready { ttl, entry }).ok_or(FillOutcome::Unfit)
    }

    async fn fill(&self, fills: &[(usize, &CacheKey, Held, Ready)], source: Option<&Source>) -> Vec<FillOutcome> {
        let mut outcomes = vec![FillOutcome::NoSource; fills.len()];
        let Some(source) = source else { return outcomes };
        let batches = self.batches(fills.iter().map(|(_, key, _, ready)| (key.as_str(), ready.entry.len())));
        let filled = batches.into_iter().map(async |(stripe, at)| {
            let filling = |at: &usize| {
                let (_, key, held, ready) = &fills[*at];
                Filling { key, token: held.token, ttl: ready.ttl, entry: &ready.entry }
            };
            let fillings: Vec<_> = at.iter().map(filling).collect();
            (at, self.fill_batch(stripe, source, &fillings).await)
        });
        for (at, batch) in join_all(filled).await {
            at.into_iter().zip(batch).for_each(|(at, outcome)| outcomes[at] = outcome);
        }
        outcomes
    }

    async fn fill_batch(&self, stripe: Stripe, source: &Source, fillings: &[Filling<'_>]) -> Vec<FillOutcome> {
        // Offered even where the stripe was found closed meanwhile: the fill is refused, and the lease ended.
        let Some(link) = self.door.link() else { return vec![FillOutcome::Unreachable; fillings.len()] };
        let reply = Scripts::new(&link, &self.stripes).fill(stripe, source, fillings).await;
        let outcomes = self.door.heard(&self.meters, Operation::Fill, &[stripe], reply);
        let outcomes = outcomes.map(|outcomes| outcomes.into_iter().map(FillOutcome::from).collect());
        outcomes.unwrap_or_else(|| vec![FillOutcome::Unreachable; fillings.len()])
    }

    /// Gives back the leases among these claims.
    pub(super) async fn give_back_all(&self, keys: &[&CacheKey], claims: &[Claim]) {
        let leases: Vec<_> = keys.iter().zip(claims).filter_map(|(key, claim)| Some((*key, claim.held().ok()?))).collect();
        self.give_back(&leases).await;
    }

    /// Gives leases back that will not be used. Should that fail, they run out.
    async fn give_back(&self, leases: &[(&CacheKey, Held)]) {
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
    fn batches<'n>(&self, names: impl Iterator<Item = (&'n str, usize)>) -> Vec<(Stripe, Vec<usize>)> {
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

impl From<Fill> for FillOutcome {
    fn from(fill: Fill) -> Self {
        match fill {
            Fill::Filled => Self::Filled,
            Fill::Lost => Self::Lost,
            Fill::Closed => Self::Closed,
            Fill::Old => Self::Old,
        }
    }
}
