//! How an answer came about: for people who ask with `?explain=true`, for the control command and the dashboard.

use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::{FillOutcome, Found, Origin, ReadProof, lookup::Ask};
use crate::{
    clock::now_us,
    coherence::{CacheKey, Control, Entry, Grounds, Proof, ProvenBy, Reading, Refusal, Stripe, Tag, TagReading},
};

/// How an answer came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explanation {
    /// What was read.
    pub key: String,
    /// Where the value came from: `redis`, `fallback` or `postgres`.
    pub origin: &'static str,
    /// The rule that let the cache serve the value (`stream` or `read-time`), or the one that refused it in the last look.
    pub rule: &'static str,
    /// The rule that refused the value in the first look, where one did.
    pub refused_first_by: Option<&'static str>,
    /// How long ago the value was true at the latest, in µs.
    pub age_us: u64,
    /// How old it might have been, in µs.
    pub max_staleness_us: u64,
    /// The write that it had to include.
    pub token: Option<String>,
    /// The Redis process that was asked, and its clock in µs since 1970; none where Redis was not asked or did not answer.
    pub redis: Option<ExplainedRedis>,
    /// The control record of the key's stripe; none where it is closed.
    pub control: Option<ExplainedControl>,
    /// The entry that the last look found; none where there was none, or none that could be read.
    pub entry: Option<ExplainedEntry>,
    /// The tags that the value depends on.
    pub tags: Vec<ExplainedTag>,
    /// What became of the request for a lease, where one was made.
    pub lease: Option<&'static str>,
    /// What became of the fill, where Postgres was read.
    pub fill: Option<&'static str>,
    /// The reading of Postgres, where there was one.
    pub load: Option<ExplainedLoad>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// How long it took in all, in µs.
    pub took_us: u64,
    /// The process that answered, by its id in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// When it did, by its own clock, in µs since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_us: Option<i64>,
}

/// The Redis process that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExplainedRedis {
    /// Its run id.
    pub run: String,
    /// Its clock, bounded from above, in µs since 1970.
    pub now_us: u64,
}

/// The control record of a stripe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExplainedControl {
    /// The number of the stripe.
    pub stripe: u16,
    /// Identity of the stripe's contents.
    pub generation: String,
    /// The Redis process that it was opened in.
    pub run: String,
    /// The Postgres history that the changes come from.
    pub source: String,
    /// Every change that ends at or before this is applied.
    pub position: String,
    /// Nothing visible before this is missing, in µs since 1970; 0 while that cannot be said.
    pub at_us: u64,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExplainedEntry {
    /// Its identity.
    pub id: String,
    /// The generation it was filled in.
    pub generation: String,
    /// The snapshot that it was read under, if that is its proof.
    pub snapshot: Option<String>,
    /// The position that it is known to include, if that is its proof.
    pub lsn: Option<String>,
    /// The time of its lease, in µs since 1970.
    pub read_at_us: Option<u64>,
    /// Its validator.
    pub etag: String,
    /// The size of its body in bytes; none where the row does not exist.
    pub body_len: Option<usize>,
}

/// A tag that a value depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExplainedTag {
    /// Its name.
    pub name: String,
    /// The number of its stripe.
    pub stripe: u16,
    /// The generation that it was read under.
    pub generation_then: Option<String>,
    /// The generation of its stripe.
    pub generation_now: Option<String>,
    /// The version that it was read under.
    pub version_then: Option<String>,
    /// Its version.
    pub version_now: Option<String>,
}

/// A reading of Postgres.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExplainedLoad {
    /// The snapshot that it was made under.
    pub snapshot: String,
    /// The history that it was made in; none where the session is not known to be on the primary.
    pub source: Option<String>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Step {
    /// What.
    pub name: &'static str,
    /// How long it took, in µs.
    pub took_us: u64,
}

impl Explanation {
    /// Of a look that found nothing out, because Redis was not asked or did not answer.
    pub(super) fn blind(key: &CacheKey, ask: Ask<'_>, refusal: Refusal, bound: Duration) -> Box<Self> {
        Box::new(Self {
            key: key.to_string(),
            origin: "postgres",
            rule: refusal.as_str(),
            refused_first_by: Some(refusal.as_str()),
            age_us: 0,
            max_staleness_us: micros(bound),
            token: ask.want.token.as_ref().map(ToString::to_string),
            redis: None,
            control: None,
            entry: None,
            tags: Vec::new(),
            lease: None,
            fill: None,
            load: None,
            steps: Vec::new(),
            took_us: 0,
            process: None,
            at_us: None,
        })
    }

    /// Says that this process answers, now.
    pub fn answered_by(&mut self, process: &str) {
        (self.process, self.at_us) = (Some(process.to_owned()), Some(now_us()));
    }

    /// Of a look at Redis.
    pub(super) fn of_look(
        key: &CacheKey,
        stripe: Stripe,
        ask: Ask<'_>,
        reading: &Reading<'_>,
        entry: Option<&Entry>,
        verdict: Result<Grounds, Refusal>,
    ) -> Box<Self> {
        let mut it = Self::blind(key, ask, Refusal::Missing, reading.max_staleness);
        match verdict {
            Ok(grounds) => {
                it.origin = "redis";
                it.rule = match grounds.proven_by {
                    ProvenBy::Stream => "stream",
                    ProvenBy::ReadTime => "read-time",
                };
                it.refused_first_by = None;
                it.age_us = micros(grounds.age);
            }
            Err(refusal) => (it.rule, it.refused_first_by) = (refusal.as_str(), Some(refusal.as_str())),
        }
        it.redis = Some(ExplainedRedis { run: reading.run.to_string(), now_us: reading.now.as_micros() });
        it.control = reading.control.map(|control| ExplainedControl::new(stripe, control));
        it.entry = entry.map(ExplainedEntry::new);
        it.tags = explained_tags(ask, reading, entry);
        it
    }

    /// Says that it was served from memory, because Redis is away.
    pub(super) fn fell_back(&mut self, age: Duration) {
        (self.origin, self.rule, self.age_us) = (Origin::Fallback.as_str(), "read-time", micros(age));
    }

    /// Adds what came before the last look.
    pub(super) fn began_with(&mut self, refusal: Refusal, lease: Option<&'static str>) {
        self.refused_first_by = Some(refusal.as_str());
        self.lease = lease;
    }

    /// Adds what Postgres answered.
    pub(super) fn loaded(&mut self, proof: &ReadProof, fill: FillOutcome) {
        self.origin = "postgres";
        self.load = Some(ExplainedLoad { snapshot: proof.snapshot.to_string(), source: proof.source.map(|s| s.to_string()) });
        self.fill = Some(fill.as_str());
    }
}

impl ExplainedControl {
    fn new(stripe: Stripe, control: &Control) -> Self {
        Self {
            stripe: stripe.number(),
            generation: control.generation.to_string(),
            run: control.run.to_string(),
            source: control.source.to_string(),
            position: control.position.to_string(),
            at_us: control.at.as_micros(),
        }
    }
}

impl ExplainedEntry {
    fn new(entry: &Entry) -> Self {
        let (snapshot, lsn) = match &entry.proof {
            Proof::Snapshot(snapshot) => (Some(snapshot.to_string()), None),
            Proof::Lsn(lsn) => (None, Some(lsn.to_string())),
        };
        Self {
            id: entry.id.to_string(),
            generation: entry.generation.to_string(),
            snapshot,
            lsn,
            read_at_us: entry.read_at.map(|at| at.as_micros()),
            etag: entry.etag.to_string(),
            body_len: entry.body.as_ref().map(|body| body.len()),
        }
    }
}

fn explained_tags(ask: Ask<'_>, reading: &Reading<'_>, entry: Option<&Entry>) -> Vec<ExplainedTag> {
    let then = |at: usize| entry.and_then(|entry| entry.tags.get(at));
    let explained = |(at, (tag, now)): (usize, (&Tag, &TagReading<'_>))| ExplainedTag {
        name: tag.to_string(),
        stripe: now.stripe,
        generation_then: then(at).map(|stamp| stamp.generation.to_string()),
        generation_now: now.control.map(|control| control.generation.to_string()),
        version_then: then(at).map(|stamp| stamp.version.to_string()),
        version_now: now.version.map(|version| version.to_string()),
    };
    ask.tags.iter().zip(reading.tags).enumerate().map(explained).collect()
}

/// The times of a read that is to be explained; does nothing for others.
pub(super) struct Trace(Option<Watch>);

struct Watch {
    began: Instant,
    last: Instant,
    steps: Vec<Step>,
}

impl Trace {
    pub fn new(is_wanted: bool) -> Self {
        Self(is_wanted.then(|| {
            let began = Instant::now();
            Watch { began, last: began, steps: Vec::new() }
        }))
    }

    /// What was done since the last step was this.
    pub fn step(&mut self, name: &'static str) {
        if let Some(watch) = &mut self.0 {
            let now = Instant::now();
            watch.steps.push(Step { name, took_us: micros(now - watch.last) });
            watch.last = now;
        }
    }

    /// Writes the times into the explanations of what was found.
    pub fn explain<V>(&self, found: &mut [Found<V>]) {
        let Some(watch) = &self.0 else { return };
        for explanation in found.iter_mut().filter_map(|found| found.explanation.as_mut()) {
            explanation.steps.clone_from(&watch.steps);
            explanation.took_us = micros(watch.began.elapsed());
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
