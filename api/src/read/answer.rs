//! Bodies of reads, put together from the bytes that the cache holds.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use freshline::{
    cache::{Explanation, Found},
    catalog::{Cursor, List},
    coherence::ETag,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::{coding::Coding, condition::is_known, extract::Asked, problem::Problem};

/// An answer of JSON.
pub(super) fn json(body: impl Into<Body>, mut headers: HeaderMap) -> Response {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut response = Response::new(body.into());
    *response.headers_mut() = headers;
    response
}

/// A body in the coding that the caller likes, or that the caller has it already.
pub(super) fn represented(body: Bytes, etag: ETag, asked: &Asked, mut headers: HeaderMap) -> Response {
    let coding = Coding::of(asked.accept_encoding.as_ref(), body.len());
    // A digest in quotes is visible text.
    if let Ok(etag) = HeaderValue::try_from(Coding::etag(coding, etag)) {
        headers.insert(header::ETAG, etag);
    }
    if is_known(asked.if_none_match.as_ref(), etag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let Some(coding) = coding else { return json(body, headers) };
    match coding.code(&body) {
        Ok(coded) => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
            json(coded, headers)
        }
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// A product and how it came about.
pub(super) fn wrapped(product: &Bytes, explanation: &Explanation) -> Vec<u8> {
    let mut body = b"{\"product\":".to_vec();
    body.extend_from_slice(product);
    push(&mut body, b",\"explanation\":", explanation);
    body.push(b'}');
    body
}

/// A JSON object with one member more: how it came about.
pub(super) fn explained(object: &Bytes, explanation: &Explanation) -> Bytes {
    let mut body = object.strip_suffix(b"}").unwrap_or(object).to_vec();
    push(&mut body, b",\"explanation\":", explanation);
    body.push(b'}');
    body.into()
}

/// How an answer came about, as JSON.
pub(super) fn raw(explanation: &Explanation) -> Box<RawValue> {
    to_raw_value(explanation).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A body with several products. Begun with them, then given what else it says.
pub(super) struct Items {
    body: Vec<u8>,
}

impl Items {
    /// Those that there are, in order; a row that is gone is left out.
    pub(super) fn new(rows: &[Found<Bytes>]) -> Self {
        let bodies = || rows.iter().filter_map(|row| row.value.as_ref());
        let mut body = Vec::with_capacity(128 + bodies().map(|row| row.len() + 1).sum::<usize>());
        body.extend_from_slice(b"{\"items\":[");
        for (n, row) in bodies().enumerate() {
            body.extend_from_slice(if n == 0 { b"" } else { b"," });
            body.extend_from_slice(row);
        }
        body.push(b']');
        Self { body }
    }

    /// Where the next page begins; null on the last one.
    pub(super) fn push_next(&mut self, next: Option<&Cursor>) {
        push(&mut self.body, b",\"next\":", &next.map(ToString::to_string));
    }

    /// The ids of which there is no product.
    pub(super) fn push_missing(&mut self, ids: &[Uuid], rows: &[Found<Bytes>]) {
        let missing: Vec<_> = ids.iter().zip(rows).filter(|(_, row)| row.value.is_none()).map(|(id, _)| id).collect();
        push(&mut self.body, b",\"missing\":", &missing);
    }

    /// How page and rows came about, where that was asked for.
    pub(super) fn push_explanations(&mut self, page: Option<&Explanation>, rows: &[Found<Bytes>]) {
        #[derive(Serialize)]
        struct Explanations<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            page: Option<&'a Explanation>,
            items: Vec<Option<&'a Explanation>>,
        }
        let items: Vec<_> = rows.iter().map(|row| row.explanation.as_deref()).collect();
        if page.is_some() || items.iter().any(Option::is_some) {
            push(&mut self.body, b",\"explanation\":", &Explanations { page, items });
        }
    }

    /// The answer, or that the caller has it already.
    pub(super) fn into_response(mut self, asked: &Asked, headers: HeaderMap) -> Response {
        self.body.push(b'}');
        let etag = ETag::of(&self.body);
        represented(self.body.into(), etag, asked, headers)
    }
}

/// Appends a member. What has no JSON is null, so that the whole stays JSON.
fn push(body: &mut Vec<u8>, name: &[u8], value: &impl Serialize) {
    body.extend_from_slice(name);
    let begin = body.len();
    if serde_json::to_writer(&mut *body, value).is_err() {
        body.truncate(begin);
        body.extend_from_slice(b"null");
    }
}

/// `Link` to the next page (RFC 8288).
pub(super) fn link_next(headers: &mut HeaderMap, list: &List, next: Option<&Cursor>) {
    let Some(next) = next else { return };
    let mut link = format!("</products?limit={}&sort={}", list.limit(), list.sort());
    if let Some(category) = list.category() {
        link.extend(["&category=", &utf8_percent_encode(category, NON_ALPHANUMERIC).to_string()]);
    }
    link.extend(["&cursor=", &next.to_string(), ">; rel=\"next\""]);
    if let Ok(link) = HeaderValue::try_from(link) {
        headers.insert(header::LINK, link);
    }
}
