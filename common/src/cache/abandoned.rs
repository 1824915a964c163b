//! Leases of readers who went away before they had filled (their clients gave up): the next reader of this process takes them over.
//!
//! A lease is told of every change from its grant on, so one who begins to read later may use it as well as its first holder. Left to
//! run out, it would keep everybody from filling for that long; and where clients give up, Postgres is slow, and fills are needed most.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::leases::{Claim, Held};
use crate::coherence::CacheKey;

/// The most leases that are kept. Others run out by themselves.
const ABANDONED_MAX: usize = 1000;

/// The leases that nobody uses.
pub(super) struct Abandoned {
    leases: Mutex<HashMap<CacheKey, (Held, Instant)>>,
    lease_ttl: Duration,
}

/// Leases in use. Dropped before their [`end`](Self::end), they are abandoned.
pub(super) struct Holding<'a> {
    abandoned: &'a Abandoned,
    leases: Vec<(&'a CacheKey, Held)>,
}

impl Abandoned {
    pub fn new(lease_ttl: Duration) -> Self {
        Self { leases: Mutex::default(), lease_ttl }
    }

    /// Watches over the leases among these claims.
    pub fn hold<'a>(&'a self, keys: &[&'a CacheKey], claims: &[Claim]) -> Holding<'a> {
        let leases = keys.iter().zip(claims).filter_map(|(key, claim)| Some((*key, claim.held().ok()?))).collect();
        Holding { abandoned: self, leases }
    }

    /// The lease of a key, if somebody left one. It may have run out: then its fill is lost.
    pub fn take(&self, key: &CacheKey) -> Option<Held> {
        self.leases().remove(key).map(|(held, _)| held)
    }

    fn put(&self, abandoned: Vec<(&CacheKey, Held)>) {
        let mut leases = self.leases();
        if leases.len() + abandoned.len() > ABANDONED_MAX {
            leases.retain(|_, (_, since)| since.elapsed() < self.lease_ttl);
        }
        let room = ABANDONED_MAX.saturating_sub(leases.len());
        leases.extend(abandoned.into_iter().take(room).map(|(key, held)| (key.clone(), (held, Instant::now()))));
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<CacheKey, (Held, Instant)>> {
        // Whatever panicked, each change of the map is whole.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holding<'_> {
    /// They are used up or given back.
    pub fn end(mut self) {
        self.leases.clear();
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        if !self.leases.is_empty() {
            self.abandoned.put(std::mem::take(&mut self.leases));
        }
    }
}
