//! The one clock by which everything here is told: the wall clock as it was at the start, carried on by the monotonic one, so that no
//! step of it comes between two times that are compared.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells times of this process in µs since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    since_epoch: Duration,
}

impl Clock {
    /// Set by the wall clock, now.
    pub fn new() -> Self {
        Self { start: Instant::now(), since_epoch: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    /// A moment in µs since 1970.
    pub fn us(&self, at: Instant) -> u64 {
        let since_epoch = self.since_epoch + at.saturating_duration_since(self.start);
        u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
    }
}

/// A length of time in ms, to the µs.
pub fn ms(length: Duration) -> f64 {
    let us = u32::try_from(length.as_micros()).unwrap_or(u32::MAX);
    f64::from(us) / 1000.0
}
