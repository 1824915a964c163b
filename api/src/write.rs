//! Writes: to Postgres only. The cache is told by the change stream; the caller gets a token, under which no later read is older.

pub mod answer;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use freshline::{
    catalog::{DatabaseError, WriteError},
    coherence::ETag,
    fault::{Classified, Kind},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use self::answer::Teller;
use crate::{
    body, condition,
    extract::{Explain, Id},
    openapi::{Condition, Created, Draft, OfRemoval, OfWrite, OfWriteToRow, Patch, ProductId, Removed, Replaced, WriteParams},
    problem::{Fault, Place, Problem, Subject},
    product,
    services::Services,
};

/// Make a product
#[utoipa::path(
    post,
    path = "/products",
    tag = "products",
    params(WriteParams),
    request_body = Draft,
    responses(Created, OfWrite)
)]
pub async fn create(
    State(services): State<Arc<Services>>,
    Explain(explain): Explain,
    request: Request,
) -> Result<Response, Problem> {
    let body = body::read(request, body::PRODUCT, services.body).await?;
    let new = product::draft(&body)?;
    let teller = Teller::new(&services, explain);
    let written = services.writes.insert(&new).await.map_err(refused)?;
    let location = format!("/products/{}", written.product.id);
    let mut response = teller.product(&written, StatusCode::CREATED);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Replace a product
///
/// Every field is replaced; one that is left out takes its default.
#[utoipa::path(
    put,
    path = "/products/{id}",
    tag = "products",
    params(ProductId, WriteParams, Condition),
    request_body = Draft,
    responses(Replaced, OfWriteToRow)
)]
pub async fn replace(
    State(services): State<Arc<Services>>,
    Id(id): Id,
    Explain(explain): Explain,
    request: Request,
) -> Result<Response, Problem> {
    let seen = condition::seen(request.headers());
    let body = body::read(request, body::PRODUCT, services.body).await?;
    let new = product::draft(&body)?;
    let teller = Teller::new(&services, explain);
    let written = services.writes.update(id, &new, seen.as_deref()).await.map_err(refused)?;
    written.map(|written| teller.product(&written, StatusCode::OK)).ok_or_else(|| missing(id))
}

/// Change a product
///
/// A JSON merge patch (RFC 7396): what is left out stays, and null removes what may be absent.
#[utoipa::path(
    patch,
    path = "/products/{id}",
    tag = "products",
    params(ProductId, WriteParams, Condition),
    request_body(content((Patch = "application/merge-patch+json"), (Patch = "application/json"))),
    responses(Replaced, OfWriteToRow)
)]
pub async fn patch(
    State(services): State<Arc<Services>>,
    Id(id): Id,
    Explain(explain): Explain,
    request: Request,
) -> Result<Response, Problem> {
    let seen = condition::seen(request.headers());
    let body = body::read(request, body::PATCH, services.body).await?;
    let patch = product::patch(&body)?;
    let teller = Teller::new(&services, explain);
    let written = services.writes.patch(id, &patch, seen.as_deref()).await.map_err(refused)?;
    written.map(|written| teller.product(&written, StatusCode::OK)).ok_or_else(|| missing(id))
}

/// Remove a product
#[utoipa::path(
    delete,
    path = "/products/{id}",
    tag = "products",
    params(ProductId, WriteParams, Condition),
    responses(Removed, OfRemoval)
)]
pub async fn delete(
    State(services): State<Arc<Services>>,
    Id(id): Id,
    Explain(explain): Explain,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (seen, teller) = (condition::seen(&headers), Teller::new(&services, explain));
    let written = services.writes.delete(id, seen.as_deref()).await.map_err(refused)?.ok_or_else(|| missing(id))?;
    Ok(teller.nothing(&written))
}

/// There is no such product.
fn missing(id: uuid::Uuid) -> Problem {
    Problem::new(Subject::NoProduct, format!("No product has the id {id}."))
}

/// The product is not what the caller has seen: the validator of what it is now.
fn changed(now: ETag) -> Problem {
    let problem = Problem::new(Subject::Changed, "It was changed since it was read. Read it again, and decide anew.");
    match HeaderValue::try_from(now.to_string()) {
        Ok(now) => problem.with_header(header::ETAG, now),
        Err(_) => problem,
    }
}

/// What a caller is told of a write that was not carried out, or may not have been.
fn refused(error: WriteError) -> Problem {
    match error {
        WriteError::SkuTaken { sku } => {
            let detail = format!("The sku {sku} belongs to another product.");
            let remedy = "Choose another sku, or change the product that has this one.";
            let fault = Fault::new(Place::Pointer("/sku".to_owned()), Some(&sku), detail, remedy);
            Problem::faulty(Subject::DuplicateSku, vec![fault])
        }
        WriteError::Invalid { field, reason } => {
            let place = Place::Pointer(format!("/{field}"));
            let fault = Fault::new(place, None, format!("{field} {reason}."), "Send another value.");
            Problem::faulty(Subject::Invalid, vec![fault])
        }
        WriteError::Changed { now } => changed(now),
        WriteError::Database(error) if may_have_happened(&error) => Problem::passing(Subject::Uncertain, UNCERTAIN, &error),
        WriteError::NotBegun(error @ DatabaseError::Overloaded) => {
            Problem::passing(Subject::Overloaded, "Nothing was written.", &error)
        }
        WriteError::NotBegun(error) | WriteError::Database(error) => match error.kind() {
            Kind::Transient => Problem::passing(Subject::Unavailable, "Nothing was written.", &error),
            Kind::Permanent | Kind::Bug => Problem::internal(&error),
        },
    }
}

/// Whether Postgres may have carried out a write that failed in this way: the connection broke, or nothing came in time.
fn may_have_happened(error: &DatabaseError) -> bool {
    match error {
        // An answer that says no. But a session that is ended while it waits for a standby says so after its commit.
        DatabaseError::Unavailable(sqlx::Error::Database(error)) => error.code().is_some_and(|code| code.starts_with("57P")),
        DatabaseError::Unavailable(_) | DatabaseError::Silent(_) | DatabaseError::Untrusted(_) => true,
        DatabaseError::Barred | DatabaseError::Overloaded => false,
        DatabaseError::Refused(_) | DatabaseError::Nameless | DatabaseError::Unexpected(_) => false,
    }
}

const UNCERTAIN: &str = "The write was sent to the database, and its answer was lost: it may have happened. Read the product before you \
                         write it again.";
