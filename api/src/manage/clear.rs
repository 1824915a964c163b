//! Clearing: the cache is closed, and the invalidator opens it again under a new generation, which no entry is of.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use freshline::coherence::{Link, LinkError, Scripts, Standing, Stripes};
use http::StatusCode;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;
use utoipa::ToSchema;

use super::{Manager, away};
use crate::{extract::NoQuery, openapi::OfManagement, problem::Problem};

/// How long a call waits for the cache to be open again. It takes one poll of the invalidator: a tenth of a second.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// How often is looked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What became of clearing.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cleared {
    /// How many stripes were open, and were closed.
    closed: u64,
    /// Whether all of them are open again.
    is_open: bool,
    /// The generation under which they are, of the first one.
    generation: Option<String>,
    /// How long it took in all.
    took_ms: u64,
}

/// Clear the cache
///
/// Nothing that is cached now is served any more. The cache is closed, and the invalidator opens it again; until then values are read
/// from Postgres. What was cached stays in Redis until it runs out, and is not looked at.
#[utoipa::path(
    post,
    path = "/cache/clear",
    tag = "management",
    responses(
        (status = 200, description = "It was closed, and is open again under a new generation.", body = Cleared),
        (status = 202, description = "It was closed, and nobody has opened it yet: no invalidator runs, or it is catching up.", body = Cleared),
        OfManagement,
    ),
    security(("token" = []))
)]
pub async fn clear(State(manager): State<Arc<Manager>>, _: NoQuery) -> Result<Response, Problem> {
    let (begun, link, stripes) = (Instant::now(), manager.link()?, manager.stripes());
    let closed = Scripts::new(&link, stripes).close_all().await.map_err(|error| away(&error))?;
    info!("the cache was cleared: {closed} stripes were closed");
    let standing = match timeout(OPEN_WITHIN, opened(&link, stripes)).await {
        Ok(standing) => Some(standing.map_err(|error| away(&error))?),
        Err(_) => None,
    };
    let status = if standing.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let cleared =
        Cleared { closed, is_open: standing.is_some(), generation: standing.and_then(|standing| standing.generation), took_ms };
    Ok((status, Json(cleared)).into_response())
}

/// Clear the cache
///
/// The same as `POST`, for those who think of it as removing.
#[utoipa::path(
    delete,
    path = "/cache/clear",
    tag = "management",
    responses(
        (status = 200, description = "It was closed, and is open again under a new generation.", body = Cleared),
        (status = 202, description = "It was closed, and nobody has opened it yet: no invalidator runs, or it is catching up.", body = Cleared),
        OfManagement,
    ),
    security(("token" = []))
)]
pub async fn clear_by_delete(manager: State<Arc<Manager>>, query: NoQuery) -> Result<Response, Problem> {
    clear(manager, query).await
}

/// Waits until every stripe is open. May be dropped at its `.await`.
async fn opened(link: &Link, stripes: &Stripes) -> Result<Standing, LinkError> {
    loop {
        let standing = Standing::read(link, stripes).await?;
        if standing.is_open() {
            return Ok(standing);
        }
        sleep(LOOK_EVERY).await;
    }
}
