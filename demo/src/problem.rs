//! Problems: every answer of 400 and above, as `application/problem+json` (RFC 9457), made as the API's are.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use freshline::problem::{Document, Fault, Kind, detail_of};
use http::{HeaderMap, StatusCode};

/// What a problem is about. Each has one `type`, one title and one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The body is not JSON.
    Malformed,
    /// The body is JSON, and not what is asked for.
    Invalid,
    /// The page that asks is somebody else's.
    Foreign,
    /// There is no such product.
    NoProduct,
    /// There is nothing at this path.
    NoRoute,
    /// The path exists, and does not take this method.
    Method,
    /// The body took too long to come.
    Slow,
    /// Another comparison runs, or another commit is held.
    Busy,
    /// Commits cannot be held here.
    NotHeld,
    /// The body is too large.
    TooLarge,
    /// The body is of a type that is not taken.
    MediaType,
    /// A server that is needed did not do its part.
    Unavailable,
}

impl Subject {
    const fn parts(self) -> Kind {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed-body", "The body is not JSON"),
            Self::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-body", "The body is not what is asked for"),
            Self::Foreign => (StatusCode::FORBIDDEN, "foreign-page", "Pages of this machine alone may ask"),
            Self::NoProduct => (StatusCode::NOT_FOUND, "no-such-product", "There is no such product"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no-such-route", "There is nothing at this path"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This path does not take this method"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow", "The body took too long to come"),
            Self::Busy => (StatusCode::CONFLICT, "already-running", "One at a time"),
            Self::NotHeld => (StatusCode::CONFLICT, "commits-not-held", "Commits cannot be held here"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "A body of this type is not taken"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "server-unavailable", "A server that is needed is away"),
        }
    }
}

/// An answer of 400 or above.
#[derive(Debug)]
pub struct Problem {
    subject: Subject,
    detail: Cow<'static, str>,
    faults: Vec<Fault>,
}

impl Problem {
    /// A problem about this, and what is special about it here.
    pub fn new(subject: Subject, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { subject, detail: detail.into(), faults: Vec::new() }
    }

    /// A body with these faults, all that were found.
    pub fn faulty(faults: Vec<Fault>) -> Self {
        Self { subject: Subject::Invalid, detail: detail_of(&faults), faults }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        Document::new(self.subject.parts(), &self.detail, &self.faults).into_response(HeaderMap::new())
    }
}
