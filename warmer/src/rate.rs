//! No more than so many ids a second: a token bucket that holds one chunk.

use std::{sync::Mutex, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Lets ids pass at a rate. What is not used is lost, so that no second sees more than its share.
pub struct Rate {
    per_second: u32,
    /// Until when what has passed already uses the rate up.
    used_until: Mutex<Instant>,
}

impl Rate {
    /// So many ids per second, from now on.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, used_until: Mutex::new(Instant::now()) }
    }

    /// How many ids are to pass together: a tenth of a second's at most, so that a low rate is spread evenly over time.
    pub fn chunk_len(&self, wanted: u16) -> u16 {
        let even = u16::try_from(self.per_second / 10).unwrap_or(u16::MAX);
        wanted.min(even.max(1))
    }

    /// Waits until so many ids may pass, in the order of calls. Dropped at its `.await`, their share is lost.
    pub async fn pass(&self, ids: usize) {
        sleep_until(self.reserve(ids)).await;
    }

    fn reserve(&self, ids: usize) -> Instant {
        // A moment is whole after any panic.
        let mut used_until = self.used_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let share = Duration::from_secs_f64(ids as f64 / f64::from(self.per_second));
        *used_until = (*used_until).max(Instant::now()) + share;
        *used_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_sees_no_more_than_its_share() {
        let (rate, begun) = (Rate::new(50), Instant::now());
        for _ in 0..20 {
            rate.pass(5).await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_used_is_lost() {
        let rate = Rate::new(10);
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        rate.pass(10).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    #[test]
    fn a_low_rate_makes_small_chunks() {
        let lens = [1, 9, 100, 5000, 10_000_000].map(|per_second| Rate { per_second, ..made() }.chunk_len(100));
        assert_eq!(lens, [1, 1, 10, 100, 100]);
    }

    fn made() -> Rate {
        Rate { per_second: 1, used_until: Mutex::new(Instant::now()) }
    }
}
