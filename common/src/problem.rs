//! Problems: answers of 400 and above, as `application/problem+json` (RFC 9457). A process has subjects of its own; what an answer is made of is here.

use std::borrow::Cow;

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The media type of every problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// How much of a wrong value is shown, in characters.
const VALUE_LEN_MAX: usize = 60;

/// What a problem is about: its status, the name of its type, and its title.
pub type Kind = (StatusCode, &'static str, &'static str);

/// Where in a request a fault lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the body, as a JSON pointer (RFC 6901); empty for the whole of it.
    Pointer(String),
    /// In a parameter of path or query.
    Parameter(Cow<'static, str>),
    /// In a header.
    Header(&'static str),
}

/// One fault of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where it lies.
    #[serde(flatten)]
    place: Place,
    /// What stands there, cut to what fits a line; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Why it cannot be used.
    detail: Cow<'static, str>,
    /// What to send instead.
    remedy: Cow<'static, str>,
}

impl Fault {
    /// A fault at this place: what stands there, why it cannot be used, what to send instead.
    pub fn new(
        place: Place,
        value: Option<&str>,
        detail: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { place, value: value.map(short), detail: detail.into(), remedy: remedy.into() }
    }
}

fn short(value: &str) -> String {
    match value.char_indices().nth(VALUE_LEN_MAX) {
        Some((cut, _)) => format!("{}…", &value[..cut]),
        None => value.to_owned(),
    }
}

/// What is to be said of faults as a whole: the one there is, or how many.
pub fn detail_of(faults: &[Fault]) -> Cow<'static, str> {
    match faults {
        [fault] => fault.detail.clone(),
        faults => Cow::Owned(format!("{} things are wrong, listed in errors.", faults.len())),
    }
}

/// An answer of 400 or above (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// What kind of problem it is.
    r#type: String,
    /// The same in words.
    title: &'a str,
    /// The status of the answer.
    status: u16,
    /// What is special about it here.
    detail: &'a str,
    /// The id under which the log tells the cause, where it is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// All that is wrong with the request.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Fault],
    /// How the cache came to it, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub explanation: Option<&'a RawValue>,
}

impl<'a> Document<'a> {
    /// A problem of this kind, and what is special about it here.
    pub fn new((status, name, title): Kind, detail: &'a str, errors: &'a [Fault]) -> Self {
        let r#type = format!("urn:problem-type:freshline:{name}");
        Self { r#type, title, status: status.as_u16(), detail, instance: None, errors, explanation: None }
    }

    /// The answer, with these headers besides. It is not to be stored, unless they say something else.
    pub fn into_response(self, mut headers: HeaderMap) -> Response {
        // Strings, numbers and raw JSON: none of them can fail to be written.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = headers;
        response
    }
}
