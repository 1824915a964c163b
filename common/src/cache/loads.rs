//! Loads: how many readings of Postgres this process may have at once, however many readers miss.

use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{CacheError, Loaded, meters::Meters};
use crate::telemetry::trace::{self, SpanKind};

/// The places for loads.
pub(super) struct Loads {
    places: Semaphore,
    wait: Duration,
}

impl Loads {
    pub fn new(max: usize, wait: Duration) -> Self {
        Self { places: Semaphore::new(max), wait }
    }

    /// Loads as soon as there is a place.
    pub async fn load<T, E, F>(&self, meters: &Meters, load: impl FnOnce() -> F) -> Result<Loaded<T>, CacheError<E>>
    where
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        let Some(_place) = self.place().await else {
            meters.overloaded();
            return Err(CacheError::Overloaded);
        };
        let began = Instant::now();
        let loaded = trace::step("value.load", SpanKind::Client, load()).await;
        meters.load(began.elapsed(), loaded.is_ok());
        loaded.map_err(CacheError::Load)
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // Without a timer where there is no need to wait.
        match self.places.try_acquire() {
            Ok(place) => Some(place),
            Err(_) => tokio::time::timeout(self.wait, self.places.acquire()).await.ok()?.ok(),
        }
    }
}
