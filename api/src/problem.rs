//! Problems: every answer of 400 and above, as `application/problem+json` (RFC 9457).
//!
//! A status is chosen by who must act: the caller (4xx, naming field, value and remedy), time (503 with `Retry-After`), or us
//! (500, which says nothing but the id under which the log tells the whole chain).

use std::{borrow::Cow, error::Error, time::Duration};

use axum::response::{IntoResponse, Response};
pub use freshline::problem::{Document, Fault, PROBLEM_JSON, Place};
use freshline::{
    problem::{Kind, detail_of},
    telemetry::chain,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::value::RawValue;
use tracing::{debug, error, warn};

use crate::request_id::RequestId;

/// When a caller may come again after Postgres was away, or had too much to do.
const RETRY_AFTER: Duration = freshline::breaker::PAUSE;

/// What a problem is about. Each has one `type`, one title and one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Path, query or header cannot be read.
    Request,
    /// A token is needed, and was not shown.
    Unauthorized,
    /// The body is not JSON.
    Malformed,
    /// The body is JSON, and not what is asked for.
    Invalid,
    /// There is no such product.
    NoProduct,
    /// There is nothing at this path.
    NoRoute,
    /// The path exists, and does not take this method.
    Method,
    /// Another product has this sku.
    DuplicateSku,
    /// The product is not any more what the writer has seen.
    Changed,
    /// The body is too large.
    TooLarge,
    /// The body is of a type that is not taken.
    MediaType,
    /// The body took too long to come.
    Slow,
    /// A measurement is under way.
    Measuring,
    /// Postgres is away, and the request was not carried out.
    Unavailable,
    /// More requests wait for Postgres than may, and this one was not carried out.
    Overloaded,
    /// The answer of Postgres was lost: the write may have happened.
    Uncertain,
    /// Redis is away, and the request is about nothing else.
    CacheAway,
    /// As many listen as may.
    Listeners,
    /// The program failed.
    Internal,
}

impl Subject {
    /// Its status, the name of its type, and its title.
    pub const fn parts(self) -> Kind {
        match self {
            Self::Request => (StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed"),
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed-body", "The body is not JSON"),
            Self::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-product", "The body is not a product"),
            Self::NoProduct => (StatusCode::NOT_FOUND, "no-such-product", "There is no such product"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no-such-route", "There is nothing at this path"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This path does not take this method"),
            Self::DuplicateSku => (StatusCode::CONFLICT, "duplicate-sku", "Another product has this sku"),
            Self::Changed => (StatusCode::PRECONDITION_FAILED, "product-changed", "The product was changed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "A body of this type is not taken"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow", "The body took too long to come"),
            Self::Measuring => (StatusCode::TOO_MANY_REQUESTS, "measuring", "A measurement is under way"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "database-unavailable", "The database is away"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many requests wait for the database"),
            Self::Uncertain => (StatusCode::SERVICE_UNAVAILABLE, "write-uncertain", "The write may have happened"),
            Self::CacheAway => (StatusCode::SERVICE_UNAVAILABLE, "cache-unavailable", "The cache is away"),
            Self::Listeners => (StatusCode::SERVICE_UNAVAILABLE, "too-many-listeners", "As many listen as may"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The program failed"),
        }
    }
}

/// An answer of 400 or above.
#[derive(Debug)]
pub struct Problem {
    parts: Box<Parts>,
}

#[derive(Debug)]
struct Parts {
    subject: Subject,
    detail: Cow<'static, str>,
    faults: Vec<Fault>,
    headers: HeaderMap,
    /// Under which the log tells more.
    id: Option<RequestId>,
    explanation: Option<Box<RawValue>>,
}

impl Problem {
    /// A problem about this, and what is special about it here.
    pub fn new(subject: Subject, detail: impl Into<Cow<'static, str>>) -> Self {
        let (detail, faults, headers) = (detail.into(), Vec::new(), HeaderMap::new());
        Self { parts: Box::new(Parts { subject, detail, faults, headers, id: None, explanation: None }) }
    }

    /// A problem made of faults of the request, all that were found.
    pub fn faulty(subject: Subject, faults: Vec<Fault>) -> Self {
        let mut problem = Self::new(subject, detail_of(&faults));
        problem.parts.faults = faults;
        problem
    }

    /// A failure of ours. The log has the whole chain, the caller its id.
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        Self::failure(&chain(cause))
    }

    /// A failure of ours, told to the log in these words.
    pub fn failure(cause: &str) -> Self {
        let problem = Self::new(Subject::Internal, "The log has the cause, under the id in instance.");
        let id = RequestId::current();
        error!(request.id = %id, "request {id} failed: {cause}");
        problem.with_id(id)
    }

    /// A failure that passes by itself: when to come again. A request that was turned away is not news: there may be thousands, and
    /// those who watch over a server log once that it is away. One that may have been carried out is.
    pub fn passing(subject: Subject, detail: impl Into<Cow<'static, str>>, cause: &(dyn Error + 'static)) -> Self {
        let id = RequestId::current();
        match subject {
            Subject::Uncertain => warn!(request.id = %id, "request {id} may have been carried out: {}", chain(cause)),
            _ => debug!(request.id = %id, "request {id} was turned away: {}", chain(cause)),
        }
        Self::new(subject, detail).retried_after(RETRY_AFTER).with_id(id)
    }

    /// The same, with when to come again at the latest.
    pub fn retried_after(self, after: Duration) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(after.as_secs()))
    }

    /// The same, with a header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.parts.headers.insert(name, value);
        self
    }

    /// The same, with headers.
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.parts.headers.extend(headers);
        self
    }

    /// The same, with how the cache came to it.
    pub fn with_explanation(mut self, explanation: Option<Box<RawValue>>) -> Self {
        self.parts.explanation = explanation;
        self
    }

    fn with_id(mut self, id: RequestId) -> Self {
        self.parts.id = Some(id);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { subject, detail, faults, headers, id, explanation } = *self.parts;
        let mut document = Document::new(subject.parts(), &detail, &faults);
        document.instance = id.map(|id| id.instance());
        document.explanation = explanation.as_deref();
        document.into_response(headers)
    }
}
