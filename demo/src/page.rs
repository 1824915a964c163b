//! Whose pages may ask: those of this machine. A browser is told so (CORS, in the Fetch standard), and one that asks nevertheless is
//! refused: by its `Origin`, and by the name that it asked under, for any name may be made to point at loopback.

use std::{net::IpAddr, time::Duration};

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, Uri, header, request::Parts};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::problem::{Problem, Subject};

/// How long a browser need not ask again what it may do. Chromium takes no more than two hours.
const ASKED_FOR: Duration = Duration::from_secs(7_200);

/// Tells browsers that pages of this machine may ask.
pub fn layer() -> CorsLayer {
    let of_here = AllowOrigin::predicate(|origin: &HeaderValue, _: &Parts| is_of_here(origin));
    CorsLayer::new()
        .allow_origin(of_here)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE])
        .max_age(ASKED_FOR)
}

/// Refuses what comes from a page of somebody else.
pub async fn check(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_foreign = headers.get(header::ORIGIN).is_some_and(|origin| !is_of_here(origin));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_foreign || !is_authority_of_here(host) {
        return Problem::new(Subject::Foreign, "Ask from this machine, as 127.0.0.1, [::1] or localhost.").into_response();
    }
    next.run(request).await
}

/// Whether an origin (RFC 6454, 6.2) is a page that this machine serves.
fn is_of_here(origin: &HeaderValue) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
    authority.is_some_and(is_authority_of_here)
}

/// Whether a host, with a port or without, is this machine's loopback.
fn is_authority_of_here(authority: &str) -> bool {
    let Ok(uri) = authority.parse::<Uri>() else { return false };
    let Some(host) = uri.authority().filter(|whole| whole.as_str() == authority && !authority.contains('@')) else { return false };
    let host = host.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://127.0.0.1:8080", true)]
    #[case("http://localhost", true)]
    #[case("https://LOCALHOST:1", true)]
    #[case("http://[::1]:8080", true)]
    #[case("http://127.0.0.1.example", false)]
    #[case("http://localhost.example:80", false)]
    #[case("http://localhost@example", false)]
    #[case("http://10.0.0.1:8080", false)]
    #[case("https://example.com", false)]
    #[case("null", false)]
    #[case("file://", false)]
    #[case("", false)]
    fn only_pages_of_this_machine_may_ask(#[case] origin: &str, #[case] may: bool) {
        assert_eq!(is_of_here(&HeaderValue::from_str(origin).expect("a value")), may);
    }
}
