//! Files that are served as they are: from this binary, with a validator, and under a policy that keeps them from loading anything else.

use axum::response::Response;
use bytes::Bytes;
use freshline::coherence::ETag;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::condition::is_known;

/// What is served as it is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct File {
    media_type: &'static str,
    /// What it may do in a browser (Content Security Policy).
    policy: HeaderValue,
    bytes: Bytes,
    etag: ETag,
}

impl File {
    /// These bytes.
    pub fn new(media_type: &'static str, policy: HeaderValue, bytes: Bytes) -> Self {
        Self { media_type, policy, etag: ETag::of(&bytes), bytes }
    }

    /// The answer that shows it, or that the caller has it already.
    pub fn answer(&self, asked: &HeaderMap) -> Response {
        let is_known = is_known(asked.get(header::IF_NONE_MATCH), self.etag);
        let mut response = Response::new(if is_known { Bytes::new().into() } else { self.bytes.clone().into() });
        *response.status_mut() = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let mut put = |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
        put(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        put(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        put(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        put(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        put(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Ok(etag) = HeaderValue::try_from(self.etag.to_string()) {
            put(header::ETAG, etag);
        }
        response
    }
}
