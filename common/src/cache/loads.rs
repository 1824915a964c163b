//! Loads: how many readings of Postgres this process may have at once, however many readers miss.

use std::time::{Duration, Instant};

use super::{CacheError, Loaded, meters::Meters};
use crate::{
    places::Places,
    telemetry::trace::{self, SpanKind},
};

/// The places for loads.
pub(super) struct Loads {
    places: Places,
}

impl Loads {
    pub fn new(max: usize, wait: Duration) -> Self {
        Self { places: Places::new(max, wait) }
    }

    /// Loads as soon as there is a place. Tells, beside what it read, when it began to read.
    pub async fn load<T, E, F>(&self, meters: &Meters, load: impl FnOnce() -> F) -> Result<(Loaded<T>, Instant), CacheError<E>>
    where
        F: Future<Output = Result<Loaded<T>, E>>,
    {
        let Some(_place) = self.places.take().await else {
            meters.overloaded();
            return Err(CacheError::Overloaded);
        };
        let began = Instant::now();
        let loaded = trace::step("value.load", SpanKind::Client, load()).await;
        meters.load(began.elapsed(), loaded.is_ok());
        loaded.map(|loaded| (loaded, began)).map_err(CacheError::Load)
    }
}
