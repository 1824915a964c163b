//! What a read does when its first look at Redis did not serve it: tag, lease, load, fill; or wait for somebody who does.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    CacheError, FillOutcome, Found, Loaded, Origin, ReadProof, Shared, Value,
    explanation::Trace,
    fills::Fetched,
    flight::{Call, Flights},
    leases::{Claim, Page},
    lookup::{Ask, Refused, Sight},
};
use crate::{
    coherence::{CacheKey, ETag, Refusal},
    telemetry::trace::{self, SpanKind},
};

/// How soon a reader who waits for another's fill looks again; the pause doubles from here.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(5);

/// The flights of this process, by the keys that they fetch.
pub(super) type Misses = Flights<Arc<Landing>>;

/// What a flight brings to those aboard.
pub(super) enum Landing {
    /// An answer for each key.
    Answers(Vec<Answer>),
    /// There was no place to load.
    Overloaded,
    /// The loader failed, and its error is its reader's. The others load for themselves.
    Failed,
}

/// One answer, without the type of its value.
pub(super) struct Answer {
    body: Option<Bytes>,
    etag: ETag,
    age: Duration,
    origin: Origin,
    fill: Option<FillOutcome>,
}

/// Keys that a first look did not serve, on their way to an answer.
pub(super) struct Miss<'a, V> {
    shared: &'a Shared,
    ask: Ask<'a>,
    keys: Vec<&'a CacheKey>,
    /// As of the last look.
    sights: Vec<Sight<V>>,
    /// Why the first look did not serve them.
    refusals: Vec<Refusal>,
    /// What became of their leases; nothing where none was asked for.
    claims: Vec<Option<Claim>>,
    trace: Trace,
}

impl<'a, V: Value> Miss<'a, V> {
    /// These keys were looked at, and none of them was served.
    pub fn new(shared: &'a Shared, ask: Ask<'a>, keys: Vec<&'a CacheKey>, refused: Vec<Refused>, trace: Trace) -> Self {
        let refusals = refused.iter().map(|refused| refused.refusal).collect();
        let claims = vec![None; keys.len()];
        Self { shared, ask, keys, sights: refused.into_iter().map(Err).collect(), refusals, claims, trace }
    }

    /// An answer for each key, in order. `load` is given the indexes of those to load.
    pub async fn run<E, L, F>(mut self, load: L) -> Result<Vec<Found<V>>, CacheError<E>>
    where
        L: FnOnce(Vec<usize>) -> F,
        F: Future<Output = Result<Loaded<Vec<Option<V>>>, E>>,
    {
        if self.ask.want.goes_alone() {
            return self.fetch(load).await;
        }
        let names = self.keys.iter().map(|key| (*key).clone()).collect();
        match self.shared.misses.join(names).await {
            Call::Lead(lead) => {
                // While Redis is away there are no leases to tell of a flight that has landed since the look: what it brought is in memory.
                if lead.has_waited() || self.shared.door.outage().is_some() {
                    self.look_again(|_| true).await;
                }
                let found = self.fetch(load).await;
                lead.land(|| Arc::new(Landing::of(&found)));
                found
            }
            Call::Landed(landing) => self.share(&landing, load).await,
        }
    }

    /// Leases, loads and fills what is not served by now.
    async fn fetch<E, L, F>(mut self, load: L) -> Result<Vec<Found<V>>, CacheError<E>>
    where
        L: FnOnce(Vec<usize>) -> F,
        F: Future<Output = Result<Loaded<Vec<Option<V>>>, E>>,
    {
        let page = self.claim().await;
        self.wait_for_others().await;
        self.load_and_store(&page, load).await
    }

    /// Asks for the right to fill. Before the load, so that a change in between is told to the lease.
    async fn claim(&mut self) -> Page {
        let unserved = self.unserved();
        if unserved.is_empty() {
            return Page::NONE;
        }
        let (page, claims) = match self.tag().await {
            Ok(page) => {
                let seen = |at: &usize| self.sights[*at].as_ref().err().and_then(|refused| refused.seen);
                let wanted: Vec<_> = unserved.iter().map(|at| (self.keys[*at], seen(at))).collect();
                (page, trace::step("lease.take", SpanKind::Client, self.shared.lease(&wanted)).await)
            }
            Err(claim) => {
                unserved.iter().for_each(|_| self.shared.meters.lease(&claim));
                (Page::NONE, vec![claim; unserved.len()])
            }
        };
        self.trace.step("lease");
        for (at, claim) in unserved.into_iter().zip(claims) {
            self.claims[at] = Some(claim);
        }
        page
    }

    async fn tag(&mut self) -> Result<Page, Claim> {
        if self.ask.tags.is_empty() {
            return Ok(Page::NONE);
        }
        let page = self.shared.tag(self.ask.tags).await;
        self.trace.step("tag");
        page
    }

    /// Looks again, once, at what is there by now; and waits, for a while, for what others fill. Where something is to be loaded
    /// anyway nobody waits: a few more rows in the same statement cost less.
    async fn wait_for_others(&mut self) {
        let any = |claims: &[Option<Claim>], is: fn(&Claim) -> bool| claims.iter().flatten().any(is);
        if any(&self.claims, |claim| matches!(claim, Claim::Hit)) {
            self.look_again(|claim| matches!(claim, Some(Claim::Hit | Claim::Busy))).await;
        }
        if any(&self.claims, |claim| !matches!(claim, Claim::Hit | Claim::Busy)) {
            return;
        }
        let (busy_wait, waiting) = (self.shared.settings.busy_wait, self.wait_while_busy());
        let waiting = trace::step("fill.await", SpanKind::Internal, tokio::time::timeout(busy_wait, waiting));
        // Run out or not: what is not served now is loaded.
        waiting.await.unwrap_or(());
    }

    async fn wait_while_busy(&mut self) {
        let mut pause = LOOK_PAUSE_MIN;
        let is_busy = |claim: &Option<Claim>| matches!(claim, Some(Claim::Busy));
        while self.sights.iter().zip(&self.claims).any(|(sight, claim)| sight.is_err() && is_busy(claim)) {
            tokio::time::sleep(pause).await;
            pause *= 2;
            self.look_again(is_busy).await;
        }
    }

    /// Looks again at the unserved keys whose claim is such.
    async fn look_again(&mut self, is_meant: impl Fn(&Option<Claim>) -> bool) {
        let meant: Vec<_> = self.unserved().into_iter().filter(|at| is_meant(&self.claims[*at])).collect();
        let keys: Vec<_> = meant.iter().map(|at| self.keys[*at]).collect();
        for (at, sight) in meant.into_iter().zip(self.shared.look(&keys, self.ask).await) {
            self.sights[at] = sight;
        }
        self.trace.step("look-again");
    }

    /// Loads what is not served, and offers it to the cache where there is a lease.
    async fn load_and_store<E, L, F>(mut self, page: &Page, load: L) -> Result<Vec<Found<V>>, CacheError<E>>
    where
        L: FnOnce(Vec<usize>) -> F,
        F: Future<Output = Result<Loaded<Vec<Option<V>>>, E>>,
    {
        let unserved = self.unserved();
        if unserved.is_empty() {
            return Ok(self.found(Vec::new()));
        }
        let keys: Vec<_> = unserved.iter().map(|at| self.keys[*at]).collect();
        // Without a claim there was no lease to ask for: another reader had it, and failed.
        let claims: Vec<_> = unserved.iter().map(|at| self.claims[*at].unwrap_or(Claim::Busy)).collect();
        let Fetched { values, proof } = self.shared.fetch(&keys, &claims, page, &mut self.trace, || load(unserved.clone())).await?;
        let fresh = values.into_iter().zip(unserved);
        let fresh = fresh.map(|((value, etag, fill), at)| self.fresh(at, value, etag, fill, &proof)).collect();
        Ok(self.found(fresh))
    }

    /// What was just read from Postgres.
    fn fresh(&mut self, at: usize, value: Option<V>, etag: ETag, fill: FillOutcome, proof: &ReadProof) -> Found<V> {
        let explanation = self.sights[at].as_mut().err().and_then(|refused| refused.explanation.take());
        let explanation = explanation.map(|mut explanation| {
            explanation.loaded(proof, fill);
            explanation
        });
        let refusal = Some(self.refusals[at]);
        Found { value, etag, age: Duration::ZERO, origin: Origin::Postgres, refusal, fill: Some(fill), explanation }
    }

    /// The answers: what was served, and between it, in order, what is fresh.
    fn found(self, fresh: Vec<Found<V>>) -> Vec<Found<V>> {
        let mut fresh = fresh.into_iter();
        let answer = |sight: Sight<V>| sight.map_or_else(|_| fresh.next(), |served| Some(served.found()));
        let mut found: Vec<_> = self.sights.into_iter().filter_map(answer).collect();
        for ((found, refusal), claim) in found.iter_mut().zip(self.refusals).zip(self.claims) {
            if let Some(explanation) = &mut found.explanation {
                explanation.began_with(refusal, claim.map(|claim| claim.as_str()));
            }
        }
        self.trace.explain(&mut found);
        found
    }

    /// Takes what another read.
    async fn share<E, L, F>(self, landing: &Landing, load: L) -> Result<Vec<Found<V>>, CacheError<E>>
    where
        L: FnOnce(Vec<usize>) -> F,
        F: Future<Output = Result<Loaded<Vec<Option<V>>>, E>>,
    {
        let shared = match landing {
            Landing::Answers(answers) => {
                answers.iter().zip(&self.refusals).map(|(answer, refusal)| answer.found(*refusal)).collect::<Option<Vec<_>>>()
            }
            Landing::Overloaded => return Err(CacheError::Overloaded),
            Landing::Failed => None,
        };
        match shared {
            Some(found) => {
                self.shared.meters.coalesced(found.len());
                Ok(found)
            }
            None => self.load_and_store(&Page::NONE, load).await,
        }
    }

    fn unserved(&self) -> Vec<usize> {
        self.sights.iter().enumerate().filter(|(_, sight)| sight.is_err()).map(|(at, _)| at).collect()
    }
}

impl Landing {
    fn of<V: Value, E>(found: &Result<Vec<Found<V>>, CacheError<E>>) -> Self {
        match found {
            Ok(found) => Self::Answers(found.iter().map(Answer::of).collect()),
            Err(CacheError::Overloaded) => Self::Overloaded,
            Err(CacheError::Load(_)) => Self::Failed,
        }
    }
}

impl Answer {
    fn of<V: Value>(found: &Found<V>) -> Self {
        let body = found.value.as_ref().map(V::encode);
        Self { body, etag: found.etag, age: found.age, origin: found.origin, fill: found.fill }
    }

    /// The answer for a reader whose first look was refused like this; nothing where its type does not know these bytes.
    fn found<V: Value>(&self, refusal: Refusal) -> Option<Found<V>> {
        let value = match self.body.clone() {
            Some(body) => Some(V::decode(body)?),
            None => None,
        };
        let refusal = (self.origin == Origin::Postgres).then_some(refusal);
        Some(Found { value, etag: self.etag, age: self.age, origin: self.origin, refusal, fill: self.fill, explanation: None })
    }
}
