//! How readers were served since the process began, by kind of value. Counted here as well as in metrics, to be asked for as numbers.
//!
//! A read costs one addition, to a number that no other kind shares.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use freshline::{
    cache::{Found, Origin},
    coherence::Refusal,
};
use serde::Serialize;
use utoipa::ToSchema;

/// What is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A product.
    Product,
    /// Which products are on a page.
    Page,
    /// Which categories there are.
    Categories,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Product, Self::Page, Self::Categories];
}

/// The counts of one process.
#[derive(Debug, Default)]
pub struct Tally {
    kinds: [OfKind; Kind::ALL.len()],
}

#[derive(Debug, Default)]
struct OfKind {
    hits: AtomicU64,
    fallback: AtomicU64,
    misses: AtomicU64,
    refusals: [AtomicU64; Refusal::ALL.len()],
}

/// How readers were served.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Served {
    /// Values that came from the cache.
    pub hits: u64,
    /// Values that came from this process's memory, while Redis was away.
    pub from_fallback: u64,
    /// Values that came from neither.
    pub misses: u64,
    /// Hits among all, in percent; none before the first read.
    pub hit_rate_percent: Option<f64>,
}

impl Tally {
    /// A value of this kind was read.
    pub fn read<V>(&self, kind: Kind, found: &Found<V>) {
        let of_kind = &self.kinds[kind as usize];
        match found.origin {
            Origin::Redis => &of_kind.hits,
            Origin::Fallback => &of_kind.fallback,
            Origin::Postgres => &of_kind.misses,
        }
        .fetch_add(1, Relaxed);
        if let Some(refusal) = found.refusal {
            of_kind.refusals[refusal as usize].fetch_add(1, Relaxed);
        }
    }

    /// A value of this kind could not be read at all.
    pub fn unread(&self, kind: Kind) {
        self.kinds[kind as usize].misses.fetch_add(1, Relaxed);
    }

    /// How readers of this kind were served.
    pub fn served(&self, kind: Kind) -> Served {
        let OfKind { hits, fallback, misses, .. } = &self.kinds[kind as usize];
        Served::of(hits.load(Relaxed), fallback.load(Relaxed), misses.load(Relaxed))
    }

    /// How all readers were served.
    pub fn all(&self) -> Served {
        let each = Kind::ALL.map(|kind| self.served(kind));
        let sum = |count: fn(&Served) -> u64| each.iter().map(count).sum();
        Served::of(sum(|served| served.hits), sum(|served| served.from_fallback), sum(|served| served.misses))
    }

    /// How many values each rule kept from being served by the first look at the cache.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        let count = |refusal: Refusal| self.kinds.iter().map(|kind| kind.refusals[refusal as usize].load(Relaxed)).sum();
        Refusal::ALL.into_iter().map(move |refusal| (refusal, count(refusal)))
    }
}

impl Served {
    fn of(hits: u64, fallback: u64, misses: u64) -> Self {
        let reads = hits + fallback + misses;
        // Rounded to what a reader of numbers wants: 99.87.
        let percent = |reads: u64| (hits as f64 * 10_000.0 / reads as f64).round() / 100.0;
        Self { hits, from_fallback: fallback, misses, hit_rate_percent: (reads > 0).then(|| percent(reads)) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use freshline::coherence::ETag;

    use super::*;

    fn found(origin: Origin, refusal: Option<Refusal>) -> Found<()> {
        Found { value: None, etag: ETag::of(b""), age: Duration::ZERO, origin, refusal, fill: None, explanation: None }
    }

    #[test]
    fn reads_are_counted_by_kind_and_refusals_by_rule() {
        let tally = Tally::default();
        assert_eq!(tally.all(), Served { hits: 0, from_fallback: 0, misses: 0, hit_rate_percent: None });
        for _ in 0..2 {
            tally.read(Kind::Product, &found(Origin::Redis, None));
        }
        tally.read(Kind::Product, &found(Origin::Postgres, Some(Refusal::Unproven)));
        tally.unread(Kind::Page);
        let product = Served { hits: 2, from_fallback: 0, misses: 1, hit_rate_percent: Some(66.67) };
        assert_eq!(tally.served(Kind::Product), product);
        tally.read(Kind::Page, &found(Origin::Fallback, None));
        assert_eq!(tally.all(), Served { hits: 2, from_fallback: 1, misses: 2, hit_rate_percent: Some(40.0) });
        let refused: Vec<_> = tally.refusals().filter(|(_, count)| *count > 0).collect();
        assert_eq!(refused, [(Refusal::Unproven, 1)]);
        for (n, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, n, "{kind:?}");
        }
    }
}
