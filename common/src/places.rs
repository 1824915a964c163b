//! Places: how many callers may be at something at once, how many may wait for a place, and for how long. Whoever gets none is
//! refused: shedding what cannot be done in time keeps what can be done fast.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many may wait for each place there is. With the default wait of two seconds, whoever stands further back gets a turn in time
/// only if those before him take less than 16 ms each.
const WAITING_PER_PLACE: usize = 128;

/// The places for something.
#[derive(Debug)]
pub(crate) struct Places {
    free: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait: Duration,
}

/// Somebody who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Places {
    /// So many places, for each of which a caller waits this long at most.
    pub fn new(places: usize, wait: Duration) -> Self {
        let waiting_max = places.saturating_mul(WAITING_PER_PLACE);
        Self { free: Semaphore::new(places), waiting: AtomicUsize::new(0), waiting_max, wait }
    }

    /// A place; `None` where there is none in time, or too many wait already.
    pub async fn take(&self) -> Option<SemaphorePermit<'_>> {
        // Without a timer where there is no need to wait.
        if let Ok(place) = self.free.try_acquire() {
            return Some(place);
        }
        let waiting = Waiting(&self.waiting);
        if waiting.0.fetch_add(1, Relaxed) >= self.waiting_max {
            return None;
        }
        tokio::time::timeout(self.wait, self.free.acquire()).await.ok()?.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_too_long_or_behind_too_many_is_refused() {
        let places = Places::new(1, Duration::from_secs(2));
        let place = places.take().await.expect("it is free");
        let mut waiting: Vec<_> = (0..WAITING_PER_PLACE).map(|_| Box::pin(places.take())).collect();
        assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        assert!(matches!(places.take().now_or_never(), Some(None)), "too many wait");
        drop(waiting.split_off(1));
        let mut second = Box::pin(places.take());
        assert!((&mut second).now_or_never().is_none(), "those who left wait no longer");
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(place);
        let first = waiting.pop().expect("one waits").await;
        assert!(first.is_some());
        assert!(second.await.is_none(), "it waited two seconds");
    }
}
