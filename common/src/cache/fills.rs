//! From lease to fill: reads Postgres, and offers what it read to the cache.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{join, join_all};

use super::{
    CacheError, FillOutcome, Loaded, ReadProof, Shared, Value,
    door::Operation,
    explanation::Trace,
    fallback::Kept,
    leases::{Claim, Held, Page},
};
use crate::{
    coherence::{CacheKey, ETag, Entry, EntryId, Fill, Filling, Proof, Scripts, Source, Stripe},
    telemetry::trace::{self, SpanKind},
};

/// What was read, with the validator of each value and what became of its fill.
pub(super) struct Fetched<V> {
    pub values: Vec<(Option<V>, ETag, FillOutcome)>,
    pub proof: ReadProof,
}

/// An entry that may be offered.
struct Ready {
    ttl: Duration,
    entry: Vec<u8>,
}

impl Shared {
    /// Reads these keys from Postgres, and fills those that a lease is held for. Where nothing was read the leases are given back.
    pub(super) async fn fetch<V, E, F>(
        &self,
        keys: &[&CacheKey],
        claims: &[Claim],
        page: &Page,
        trace: &mut Trace,
        load: impl FnOnce() -> F,
    ) -> Result<Fetched<V>, CacheError<E>>
    where
        V: Value,
        F: Future<Output = Result<Loaded<Vec<Option<V>>>, E>>,
    {
        let holding = self.abandoned.hold(keys, claims);
        let outage = self.door.outage();
        let loaded = self.loads.load(&self.meters, load).await;
        trace.step("load");
        let (Loaded { value: values, proof }, began) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                self.give_back_all(keys, claims).await;
                holding.end();
                return Err(error);
            }
        };
        assert_eq!(values.len(), keys.len(), "the loader answers for each key that it was asked for");
        let bodies: Vec<_> = values.iter().map(|value| value.as_ref().map(V::encode)).collect();
        let etags: Vec<_> = bodies.iter().map(|body| ETag::of(body.as_deref().unwrap_or_default())).collect();
        // Known to be of the primary: how far a standby is behind, nobody here can tell.
        if let Some(outage) = outage.filter(|_| proof.source.is_some()) {
            let kept = bodies.iter().zip(&etags).map(|(body, etag)| Kept { body: body.clone(), etag: *etag, began });
            self.fallback.put(outage, keys.iter().map(|key| (*key).clone()).zip(kept));
        }
        let fills = self.store(keys, claims, page, bodies, &proof).await;
        holding.end();
        trace.step("fill");
        let values = values.into_iter().zip(etags).zip(fills).map(|((value, etag), fill)| (value, etag, fill)).collect();
        Ok(Fetched { values, proof })
    }

    /// Puts what was read under leases into the cache: for each key its claim and its body. One outcome for each, in order.
    ///
    /// A lease whose value must not enter is given back, so that the next reader need not wait until it runs out.
    async fn store(
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
        let filling = join(self.fill(&fills, source), self.give_back(&unfit));
        let (filled, ()) = trace::step("value.fill", SpanKind::Client, filling).await;
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
