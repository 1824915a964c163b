//! The fallback: values that were read from Postgres while Redis is away, served from memory until they are as old as the bound.
//!
//! A value is as old as the beginning of the statement that read it, by this machine's monotonic clock, so the staleness bound holds
//! as it does for what Redis serves. But nobody tells this process of changes meanwhile. Hence its rules:
//!
//! - nothing is served from it under a token: who has to see a write of its own reads Postgres;
//! - only what a session of the primary has read is kept: how far behind a standby is, is not known here;
//! - what was read in one [`Outage`] is never served in another: Redis was there in between, and may have told of a change;
//! - it is bounded in bytes: what was read first goes first, and would have been too old first.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use metrics::{Gauge, gauge};

use crate::{
    coherence::{CacheKey, ETag, Outage},
    telemetry::names,
};

/// What a value takes beside its key, twice, and its bytes: about what two entries of a map and a queue weigh.
const OVERHEAD_BYTES: usize = 256;

/// What is kept.
pub(super) struct Fallback {
    bytes_max: usize,
    held: Mutex<Held>,
    /// Whether anything is. Read on every hit, so it has no lock.
    is_used: AtomicBool,
    bytes: Gauge,
    values: Gauge,
}

#[derive(Default)]
struct Held {
    /// The outage that all of it was read in.
    outage: Option<Outage>,
    values: HashMap<CacheKey, Kept>,
    /// Everything that was put, first the oldest; a value that was put again is in it twice until its first turn comes.
    order: VecDeque<Place>,
    /// What all that is in `order` weighs.
    bytes: usize,
}

struct Place {
    key: CacheKey,
    began: Instant,
    weight: usize,
}

/// A value, or that there is none.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub body: Option<Bytes>,
    pub etag: ETag,
    /// When the statement that read it had not begun yet.
    pub began: Instant,
}

/// How much a [`Cache`](super::Cache) keeps in memory while Redis is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FallbackSize {
    /// Values, those among them that there is no row.
    pub values: usize,
    /// What they weigh.
    pub bytes: usize,
    /// What they may weigh.
    pub bytes_max: usize,
}

impl Fallback {
    /// Keeps values of so many bytes at most; none where that is 0.
    pub fn new(bytes_max: usize) -> Self {
        let (held, is_used) = (Mutex::default(), AtomicBool::new(false));
        Self { bytes_max, held, is_used, bytes: gauge!(names::FALLBACK_BYTES), values: gauge!(names::FALLBACK_VALUES) }
    }

    /// The value of a key that was read in this outage, no longer ago than `max_staleness`; and how long ago.
    pub fn get(&self, outage: Outage, key: &CacheKey, max_staleness: Duration) -> Option<(Kept, Duration)> {
        let held = self.held();
        if held.outage != Some(outage) {
            return None;
        }
        let kept = held.values.get(key)?;
        let age = kept.began.elapsed();
        (age <= max_staleness).then(|| (kept.clone(), age))
    }

    /// Keeps what was read in this outage, unless a later reading of it is there.
    pub fn put(&self, outage: Outage, values: impl Iterator<Item = (CacheKey, Kept)>) {
        if self.bytes_max == 0 {
            return;
        }
        let mut held = self.held();
        if held.outage > Some(outage) {
            return; // it took long, and Redis has come and gone meanwhile
        }
        if held.outage != Some(outage) {
            *held = Held { outage: Some(outage), ..Held::default() };
        }
        for (key, kept) in values {
            held.put(key, kept, self.bytes_max);
        }
        self.is_used.store(true, Relaxed);
        self.tell(&held);
    }

    /// Gives the memory back, because Redis answers. Costs a look where there is nothing.
    pub fn clear(&self) {
        if self.is_used.load(Relaxed) && self.is_used.swap(false, Relaxed) {
            let mut held = self.held();
            *held = Held::default();
            self.tell(&held);
        }
    }

    pub fn size(&self) -> FallbackSize {
        let held = self.held();
        FallbackSize { values: held.values.len(), bytes: held.bytes, bytes_max: self.bytes_max }
    }

    fn tell(&self, held: &Held) {
        self.bytes.set(held.bytes as f64);
        self.values.set(held.values.len() as f64);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // A panic cannot leave more behind than a value that is never evicted, until the outage is over.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn put(&mut self, key: CacheKey, kept: Kept, bytes_max: usize) {
        let weight = OVERHEAD_BYTES + 2 * key.as_str().len() + kept.body.as_ref().map_or(0, Bytes::len);
        let is_newest = self.values.get(&key).is_none_or(|there| there.began < kept.began);
        if weight > bytes_max || !is_newest {
            return;
        }
        while self.bytes + weight > bytes_max {
            let Some(first) = self.order.pop_front() else { break };
            self.bytes -= first.weight;
            if self.values.get(&first.key).is_some_and(|there| there.began == first.began) {
                self.values.remove(&first.key);
            }
        }
        self.bytes += weight;
        self.order.push_back(Place { key: key.clone(), began: kept.began, weight });
        self.values.insert(key, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(5);

    fn outage(number: u64) -> Outage {
        Outage::numbered(number)
    }

    fn kept(body: &'static str, age: Duration) -> Kept {
        let began = Instant::now().checked_sub(age).expect("the machine runs for longer");
        Kept { body: Some(Bytes::from_static(body.as_bytes())), etag: ETag::of(body.as_bytes()), began }
    }

    fn put(fallback: &Fallback, in_outage: u64, key: &str, body: &'static str, age: Duration) {
        fallback.put(outage(in_outage), [(CacheKey::new(key), kept(body, age))].into_iter());
    }

    fn get(fallback: &Fallback, in_outage: u64, key: &str) -> Option<Bytes> {
        fallback.get(outage(in_outage), &CacheKey::new(key), BOUND).and_then(|(kept, _)| kept.body)
    }

    #[test]
    fn a_value_is_served_until_it_is_as_old_as_the_bound() {
        let fallback = Fallback::new(10_000);
        put(&fallback, 1, "young", "a", Duration::from_secs(4));
        put(&fallback, 1, "old", "b", BOUND);
        let (_, age) = fallback.get(outage(1), &CacheKey::new("young"), BOUND).expect("it is young");
        assert!(age >= Duration::from_secs(4));
        assert_eq!(get(&fallback, 1, "old"), None);
        let stricter = fallback.get(outage(1), &CacheKey::new("young"), Duration::from_secs(3));
        assert!(stricter.is_none(), "who asks for less gets less");
    }

    #[test]
    fn what_was_read_in_one_outage_is_not_served_in_another() {
        let fallback = Fallback::new(10_000);
        put(&fallback, 1, "k", "a", Duration::ZERO);
        assert_eq!(get(&fallback, 2, "k"), None);
        assert!(get(&fallback, 1, "k").is_some());
        put(&fallback, 2, "other", "b", Duration::ZERO);
        put(&fallback, 1, "late", "c", Duration::ZERO);
        assert_eq!((get(&fallback, 1, "k"), get(&fallback, 2, "k")), (None, None));
        assert_eq!((get(&fallback, 1, "late"), get(&fallback, 2, "late")), (None, None));
        assert!(get(&fallback, 2, "other").is_some());
        fallback.clear();
        assert_eq!(get(&fallback, 2, "other"), None);
        assert_eq!(fallback.size(), FallbackSize { values: 0, bytes: 0, bytes_max: 10_000 });
    }

    #[test]
    fn an_earlier_reading_does_not_replace_a_later_one() {
        let fallback = Fallback::new(10_000);
        put(&fallback, 1, "k", "later", Duration::from_secs(1));
        put(&fallback, 1, "k", "earlier", Duration::from_secs(2));
        assert_eq!(get(&fallback, 1, "k").as_deref(), Some(&b"later"[..]));
    }

    #[test]
    fn it_holds_no_more_bytes_than_it_may_however_often_values_are_put() {
        let fallback = Fallback::new(10 * (OVERHEAD_BYTES + 10));
        for n in 0..1000 {
            put(&fallback, 1, &format!("k{}", n % 20), "value", Duration::ZERO);
            let size = fallback.size();
            assert!(size.bytes <= size.bytes_max, "{size:?}");
        }
        assert!(get(&fallback, 1, "k19").is_some() && get(&fallback, 1, "k0").is_none(), "what was read first goes first");
        fallback.clear();
        let large: &'static str = Box::leak("x".repeat(10_000).into());
        put(&fallback, 1, "large", large, Duration::ZERO);
        assert_eq!(fallback.size().values, 0, "what is too large alone drives nothing out");
        let none = Fallback::new(0);
        put(&none, 1, "k", "a", Duration::ZERO);
        assert_eq!(get(&none, 1, "k"), None);
    }
}
