//! Problems: every answer of 400 and above, as `application/problem+json` (RFC 9457), made as the API's are.

use std::borrow::Cow;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// How much of a wrong value is shown, in characters.
const VALUE_LEN_MAX: usize = 60;

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
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
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

/// One fault of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where it lies, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What stands there, cut to what fits a line; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why it cannot be used.
    pub detail: String,
    /// What to send instead.
    pub remedy: Cow<'static, str>,
}

/// A value, as a fault shows it.
pub fn shown(value: &serde_json::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(VALUE_LEN_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// An answer of 400 or above.
#[derive(Debug)]
pub struct Problem {
    subject: Subject,
    detail: String,
    faults: Vec<Fault>,
}

impl Problem {
    /// A problem about this, and what is special about it here.
    pub fn new(subject: Subject, detail: impl Into<String>) -> Self {
        Self { subject, detail: detail.into(), faults: Vec::new() }
    }

    /// A body with these faults, all that were found.
    pub fn faulty(faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [fault] => fault.detail.clone(),
            faults => format!("{} things are wrong, listed in errors.", faults.len()),
        };
        Self { subject: Subject::Invalid, detail, faults }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, name, title) = self.subject.parts();
        let document = Document {
            r#type: format!("urn:problem-type:freshline:{name}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            errors: &self.faults,
        };
        let mut response = (status, Json(document)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
