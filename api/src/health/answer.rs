//! Health, for people and for monitors: `GET /health` and `GET /health/cache`.
//!
//! Degraded is not down, so both answer 200 as long as this process can serve anything; what is wrong is said in the body. Whoever
//! starts and stops processes asks `/livez` and `/readyz`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use freshline::{
    breaker::{Breaker, BreakerState},
    cache::FallbackSize,
    coherence::{Info, Link, LinkError, Standing},
    registry::{Role, processes},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{extract::NoQuery, openapi::OfAsking, problem::Problem, services::Services, tally::Served};

/// How all of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// As it should be.
    Ok,
    /// Something is away, and requests are answered all the same.
    Degraded,
    /// Neither Redis nor Postgres answers.
    Down,
}

/// Whether a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Answers {
    /// It does.
    Up,
    /// It does not.
    Down,
}

/// Whether changes are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Applies {
    /// One is registered, and the cache is open and fresh.
    Up,
    /// One is registered, and the cache is closed, or staler than the bound.
    Behind,
    /// None is registered.
    Away,
    /// Redis, where they register, does not answer.
    Unknown,
}

/// Whether the cache serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    /// It does.
    Open,
    /// Redis answers, and nothing is served or filled: no invalidator has opened it.
    Closed,
    /// Redis does not answer.
    Unreachable,
}

/// Health of everything that this process needs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    status: Overall,
    redis: RedisHealth,
    postgres: PostgresHealth,
    invalidator: InvalidatorHealth,
    fallback: Fallback,
}

/// Health of Redis.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedisHealth {
    status: Answers,
    /// How long it took to answer just now; none where it did not.
    latency_ms: Option<f64>,
}

/// Health of Postgres.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostgresHealth {
    /// As it was when it last answered a request or was last looked at, a second ago at most unless it hangs.
    status: Answers,
    breakers: Breakers,
}

/// What this process does with the next call to Postgres, of each kind.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Breakers {
    reads: Calls,
    writes: Calls,
}

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Calls {
    /// Closed: they are made.
    Closed,
    /// Open: none is made for a while, for those before got no answer.
    Open,
    /// Half-open: one is made to try, and the others wait for what becomes of it.
    HalfOpen,
}

/// Health of those who apply changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvalidatorHealth {
    status: Applies,
    /// How many are registered. One applies, the others wait, unless they share the stripes.
    processes: usize,
    /// Where they take changes from.
    source: Option<String>,
    /// Nothing visible longer ago than this is missing from the cache; none while that cannot be said.
    freshness_ms: Option<f64>,
}

/// What this process keeps while Redis is away.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Fallback {
    /// How many values.
    entries: usize,
    /// How many bytes they take.
    bytes: usize,
    /// How many bytes they may take.
    bytes_max: usize,
}

/// Health of the cache.
#[derive(Debug, Serialize, ToSchema)]
pub struct CacheHealth {
    status: Serves,
    /// `Redis` or `Valkey`; none where it does not answer.
    backend: Option<&'static str>,
    /// How long it took to answer just now.
    latency_ms: Option<f64>,
    #[serde(flatten)]
    served: Served,
    fallback: Fallback,
}

/// Health of everything
///
/// 503 only where neither Redis nor Postgres answers: this process has nothing to offer then.
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses(
        (status = 200, description = "Requests are answered, degraded or not.", body = Health,
            headers(("cache-control" = String, description = "`no-store`."))),
        (status = 503, description = "Neither Redis nor Postgres answers.", body = Health,
            headers(("cache-control" = String, description = "`no-store`."))),
        OfAsking,
    )
)]
pub async fn health(State(services): State<Arc<Services>>, _: NoQuery) -> Result<Response, Problem> {
    let postgres = if services.postgres.is_there() { Answers::Up } else { Answers::Down };
    let (redis, invalidator) = match services.look_at_redis().await {
        Ok((latency_ms, invalidator)) => (RedisHealth { status: Answers::Up, latency_ms: Some(latency_ms) }, invalidator),
        Err(_) => (RedisHealth { status: Answers::Down, latency_ms: None }, InvalidatorHealth::unknown()),
    };
    let status = overall(redis.status, postgres, invalidator.status);
    let code = if status == Overall::Down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let postgres = PostgresHealth { status: postgres, breakers: services.breakers() };
    let health = Health { status, redis, postgres, invalidator, fallback: services.fallback() };
    Ok((code, fresh(&health)).into_response())
}

/// Health of the cache
///
/// 200 whatever is said: without the cache requests are answered from Postgres.
#[utoipa::path(
    get,
    path = "/health/cache",
    tag = "health",
    responses(
        (status = 200, description = "How the cache is.", body = CacheHealth,
            headers(("cache-control" = String, description = "`no-store`."))),
        OfAsking,
    )
)]
pub async fn cache(State(services): State<Arc<Services>>, _: NoQuery) -> Result<Response, Problem> {
    let (status, backend, latency_ms) = match services.look_at_cache().await {
        Ok((is_open, backend, latency_ms)) => {
            (if is_open { Serves::Open } else { Serves::Closed }, Some(backend), Some(latency_ms))
        }
        Err(_) => (Serves::Unreachable, None, None),
    };
    let (served, fallback) = (services.tally.all(), services.fallback());
    Ok(fresh(&CacheHealth { status, backend, latency_ms, served, fallback }))
}

fn overall(redis: Answers, postgres: Answers, invalidator: Applies) -> Overall {
    match (redis, postgres, invalidator) {
        (Answers::Down, Answers::Down, _) => Overall::Down,
        (Answers::Up, Answers::Up, Applies::Up) => Overall::Ok,
        _ => Overall::Degraded,
    }
}

/// What is told now is of no use later.
fn fresh(body: &impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}

impl Services {
    async fn look_at_redis(&self) -> Result<(f64, InvalidatorHealth), LinkError> {
        let link = self.links.get().ok_or(LinkError::Down(None))?;
        let latency_ms = latency_ms(&link).await?;
        let standing = Standing::read(&link, &self.stripes).await?;
        let processes = processes(&link, &self.stripes).await?;
        let invalidators: Vec<_> = processes.into_iter().filter(|process| process.role == Role::Invalidator).collect();
        let is_fresh = standing.freshness_us.is_some_and(|age| u128::from(age) <= self.max_staleness.as_micros());
        let status = match invalidators.first() {
            None => Applies::Away,
            Some(_) if standing.is_open() && is_fresh => Applies::Up,
            Some(_) => Applies::Behind,
        };
        let freshness_ms = standing.freshness_us.map(|age| age as f64 / 1000.0);
        let source = invalidators.first().and_then(|process| process.source.clone());
        Ok((latency_ms, InvalidatorHealth { status, processes: invalidators.len(), source, freshness_ms }))
    }

    async fn look_at_cache(&self) -> Result<(bool, &'static str, f64), LinkError> {
        let link = self.links.get().ok_or(LinkError::Down(None))?;
        let latency_ms = latency_ms(&link).await?;
        let backend = Info::read(&link).await?.server();
        Ok((Standing::read(&link, &self.stripes).await?.is_open(), backend, latency_ms))
    }

    fn breakers(&self) -> Breakers {
        Breakers { reads: self.reads.breaker().into(), writes: self.writes.breaker().into() }
    }

    fn fallback(&self) -> Fallback {
        let FallbackSize { values, bytes, bytes_max } = self.cache.fallback_size();
        Fallback { entries: values, bytes, bytes_max }
    }
}

impl From<Option<&Breaker>> for Calls {
    /// Without a breaker all calls are made.
    fn from(breaker: Option<&Breaker>) -> Self {
        match breaker.map(Breaker::state) {
            None | Some(BreakerState::Closed) => Self::Closed,
            Some(BreakerState::Open) => Self::Open,
            Some(BreakerState::HalfOpen) => Self::HalfOpen,
        }
    }
}

impl InvalidatorHealth {
    fn unknown() -> Self {
        Self { status: Applies::Unknown, processes: 0, source: None, freshness_ms: None }
    }
}

/// How long Redis takes to say what time it is.
async fn latency_ms(link: &Link) -> Result<f64, LinkError> {
    let asked = Instant::now();
    link.time().await?;
    Ok(asked.elapsed().as_micros() as f64 / 1000.0)
}
