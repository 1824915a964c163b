//! Whose pages may ask from a browser (CORS, in the Fetch standard). Unset, nothing of it stands in front of the routes.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{events::LAST_EVENT_ID, extract::TOKEN, request_id::REQUEST_ID};

/// How long a browser need not ask again what it may do. Chromium takes no more than two hours.
const ASKED_FOR: Duration = Duration::from_secs(7_200);

const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// What pages may send.
const TAKEN: [HeaderName; 7] =
    [header::CONTENT_TYPE, header::AUTHORIZATION, header::IF_MATCH, header::IF_NONE_MATCH, TOKEN, REQUEST_ID, LAST_EVENT_ID];

/// What they may see besides what all may.
const SHOWN: [HeaderName; 9] = [
    header::ETAG,
    header::AGE,
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
    HeaderName::from_static("cache-status"),
    HeaderName::from_static("server-timing"),
    TOKEN,
    REQUEST_ID,
];

/// The layer for these origins; `None` where there are none.
pub fn layer(origins: &[HeaderValue]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        origins if origins.iter().any(|origin| origin == "*") => AllowOrigin::any(),
        origins => AllowOrigin::list(origins.to_vec()),
    };
    Some(
        CorsLayer::new().allow_origin(allowed).allow_methods(METHODS).allow_headers(TAKEN).expose_headers(SHOWN).max_age(ASKED_FOR),
    )
}
