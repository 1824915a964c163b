//! What the read path counts: handles looked up once, because each hit counts.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::{FillOutcome, Origin, leases::Claim};
use crate::{
    coherence::{LinkError, Refusal},
    telemetry::{from_zero, names},
};

/// The handles. Made when the process's recorder is installed: handles from before it count nothing.
pub(super) struct Meters {
    hits: Counter,
    fallbacks: Counter,
    refusals: [Counter; Refusal::ALL.len()],
    leases: [Counter; Claim::WORDS.len()],
    fills: [Counter; FillOutcome::ALL.len()],
    coalesced: Counter,
    loaded: Counter,
    load_failed: Counter,
    overloaded: Counter,
    load_seconds: Histogram,
}

impl Meters {
    pub fn new() -> Self {
        from_zero(&[
            (names::REDIS_FAILURES, "reason", &LinkError::WORDS),
            (names::UNREADABLE_ENTRIES, "reason", &["format", "shape", "checksum", "body"]),
            (names::RECONNECTS, "to", &["redis"]),
        ]);
        Self {
            hits: counter!(names::READS, "outcome" => "hit"),
            fallbacks: counter!(names::READS, "outcome" => Origin::Fallback.as_str()),
            refusals: Refusal::ALL.map(|refusal| counter!(names::READS, "outcome" => refusal.as_str())),
            leases: Claim::WORDS.map(|word| counter!(names::LEASES, "outcome" => word)),
            fills: FillOutcome::ALL.map(|outcome| counter!(names::FILLS, "outcome" => outcome.as_str())),
            coalesced: counter!(names::READS_COALESCED),
            loaded: counter!(names::LOADS, "outcome" => "loaded"),
            load_failed: counter!(names::LOADS, "outcome" => "failed"),
            overloaded: counter!(names::LOADS, "outcome" => "overloaded"),
            load_seconds: histogram!(names::LOAD_SECONDS),
        }
    }

    /// The first look served a read.
    pub fn served(&self, origin: Origin) {
        match origin {
            Origin::Fallback => &self.fallbacks,
            Origin::Redis | Origin::Postgres => &self.hits,
        }
        .increment(1);
    }

    /// The first look at Redis did not serve a read.
    pub fn miss(&self, refusal: Refusal) {
        // Invariant: `ALL` lists the refusals in the order of their declaration.
        self.refusals[refusal as usize].increment(1);
    }

    pub fn lease(&self, claim: &Claim) {
        self.leases[claim.word_index()].increment(1);
    }

    pub fn fill(&self, outcome: FillOutcome) {
        self.fills[outcome as usize].increment(1);
    }

    /// Reads were answered by what another had read.
    pub fn coalesced(&self, reads: usize) {
        self.coalesced.increment(reads as u64);
    }

    pub fn load(&self, took: Duration, is_ok: bool) {
        if is_ok { &self.loaded } else { &self.load_failed }.increment(1);
        self.load_seconds.record(took);
    }

    pub fn overloaded(&self) {
        self.overloaded.increment(1);
    }

    pub fn unreadable(&self, reason: &'static str) {
        counter!(names::UNREADABLE_ENTRIES, "reason" => reason).increment(1);
    }

    pub fn redis_failure(&self, error: &LinkError) {
        counter!(names::REDIS_FAILURES, "reason" => error.as_str()).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_own_counter() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
        }
        for (index, outcome) in FillOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
