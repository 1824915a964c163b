//! The same products through the cache and straight from Postgres, one after the other, and how long each read took.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{FromRequestParts, State},
};
use bytes::Bytes;
use freshline::{
    cache::{CacheError, Origin, Want},
    catalog::{DatabaseError, List, Sort, keys},
};
use http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Manager;
use crate::{
    extract::Params,
    openapi::{OfMeasuring, PerformanceParams},
    problem::{Problem, Subject},
    read::unread,
};

/// How many reads of each kind, unless it is asked for.
const READS: u16 = 100;
/// The most reads of each kind.
const READS_MAX: u16 = 1000;
/// How many products, unless it is asked for.
const KEYS: u16 = 20;
/// The most products: as many as a page has.
const KEYS_MAX: u16 = 100;
/// How long it may go on; what has been measured by then is told.
const LASTS_MAX: Duration = Duration::from_secs(10);

/// How often is read, and what.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    reads: u16,
    keys: u16,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Params::read(&parts.uri, &["n", "keys"]);
        let reads = query.take("n", "Send a whole number from 1 to 1000.", |text| within(text, READS_MAX)).unwrap_or(READS);
        let keys = query.take("keys", "Send a whole number from 1 to 100.", |text| within(text, KEYS_MAX)).unwrap_or(KEYS);
        query.finish()?;
        Ok(Self { reads, keys })
    }
}

fn within(text: &str, max: u16) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number) && !text.starts_with('+'));
    number.ok_or_else(|| format!("This is not a whole number from 1 to {max}."))
}

/// How long reads took.
#[derive(Debug, Serialize, ToSchema)]
pub struct Performance {
    /// How many products were read in turn: the newest.
    keys: usize,
    /// How many reads of each kind were measured.
    n: usize,
    /// Whether as many were measured as were asked for; not so where ten seconds were over.
    is_complete: bool,
    /// Reads through the cache that it served.
    hits: usize,
    /// Reads through the cache; none where there are no products.
    cache: Option<Times>,
    /// Reads straight from Postgres.
    postgres: Option<Times>,
    /// How many times as long Postgres took.
    ratio: Option<Ratio>,
}

/// Times of reads, in µs.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Times {
    mean_us: u64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    max_us: u64,
}

/// Times from Postgres in those through the cache.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Ratio {
    mean: f64,
    p50: f64,
    p99: f64,
}

/// Compare the cache with Postgres
///
/// Reads the newest products `n` times through the cache and as often straight from Postgres, in turn and one at a time, each product
/// once before so that it is cached. One measurement runs at a time, for ten seconds at most.
#[utoipa::path(
    get,
    path = "/cache/performance",
    tag = "management",
    params(PerformanceParams),
    responses((status = 200, description = "How long reads took.", body = Performance), OfMeasuring),
    security(("token" = []))
)]
pub async fn performance(State(manager): State<Arc<Manager>>, asked: Asked) -> Result<Json<Performance>, Problem> {
    let Ok(_alone) = manager.measuring.try_acquire() else {
        return Err(Problem::new(Subject::Measuring, "Another one runs, for ten seconds at most.").retried_after(LASTS_MAX));
    };
    let ids = newest(&manager, asked.keys).await?;
    Ok(Json(measured(&manager, &ids, usize::from(asked.reads)).await?))
}

async fn newest(manager: &Manager, count: u16) -> Result<Vec<Uuid>, Problem> {
    let list = List::new(Sort::Newest, count).ok_or_else(|| Problem::failure("a list that was checked is none"))?;
    let page = manager.services.reads.page(&list).await.map_err(|error| unread(CacheError::Load(error)))?;
    Ok(page.value.ids)
}

async fn measured(manager: &Manager, ids: &[Uuid], reads: usize) -> Result<Performance, Problem> {
    let ends = Instant::now() + LASTS_MAX;
    for id in ids {
        through_cache(manager, *id).await?;
    }
    let (mut cached, mut straight, mut hits) = (Vec::with_capacity(reads), Vec::with_capacity(reads), 0);
    for id in ids.iter().cycle().take(reads) {
        if Instant::now() >= ends {
            break;
        }
        let begun = Instant::now();
        let origin = through_cache(manager, *id).await?;
        cached.push(begun.elapsed());
        hits += usize::from(origin == Origin::Redis);
        let begun = Instant::now();
        manager.services.reads.product(*id).await.map_err(|error| unread(CacheError::Load(error)))?;
        straight.push(begun.elapsed());
    }
    let n = straight.len();
    let (cache, postgres) = (Times::of(cached), Times::of(straight));
    let ratio = cache.zip(postgres).map(|(cache, postgres)| postgres.over(cache));
    Ok(Performance { keys: ids.len(), n, is_complete: n == reads || ids.is_empty(), hits, cache, postgres, ratio })
}

/// As a reader reads it, and without being counted as one.
async fn through_cache(manager: &Manager, id: Uuid) -> Result<Origin, Problem> {
    let (services, want) = (&manager.services, Want::default());
    let found = services.cache.get::<Bytes, DatabaseError, _, _>(&keys::product(id), &want, || services.load_product(id)).await;
    found.map(|found| found.origin).map_err(unread)
}

impl Times {
    fn of(mut took: Vec<Duration>) -> Option<Self> {
        took.sort_unstable();
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // The smallest time that this share of all does not exceed.
        let quantile = |percent: usize| took.get((took.len() * percent).div_ceil(100).checked_sub(1)?).copied().map(micros);
        Some(Self {
            mean_us: micros(took.iter().sum::<Duration>() / u32::try_from(took.len()).ok().filter(|count| *count > 0)?),
            p50_us: quantile(50)?,
            p90_us: quantile(90)?,
            p99_us: quantile(99)?,
            max_us: quantile(100)?,
        })
    }

    fn over(self, cache: Self) -> Ratio {
        let ratio = |postgres: u64, cache: u64| (postgres as f64 * 100.0 / cache.max(1) as f64).round() / 100.0;
        Ratio {
            mean: ratio(self.mean_us, cache.mean_us),
            p50: ratio(self.p50_us, cache.p50_us),
            p99: ratio(self.p99_us, cache.p99_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_time_that_was_measured() {
        let times = Times::of((1..=200).rev().map(Duration::from_micros).collect()).expect("some");
        assert_eq!((times.p50_us, times.p90_us, times.p99_us, times.max_us, times.mean_us), (100, 180, 198, 200, 100));
        assert_eq!(Times::of(vec![Duration::from_micros(7)]).map(|times| (times.p50_us, times.p99_us)), Some((7, 7)));
        assert!(Times::of(Vec::new()).is_none());
    }
}
