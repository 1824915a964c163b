//! A request as a span, where it is traced: see `freshline::telemetry::trace`.

use axum::response::Response;
use freshline::telemetry::trace::{self, Span};
use http::{HeaderValue, Request, header::HeaderName};

use crate::{headers::CACHE_STATUS, request_id::REQUEST_ID, routes::Route};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The span of a request, if it is traced. Those of operators never are.
pub fn span<B>(request: &Request<B>) -> Option<Span> {
    if !trace::is_on() {
        return None;
    }
    let (method, route) = (request.method(), Route::of(request.uri().path()));
    if route == Route::Operations {
        return None;
    }
    let mut span = Span::of_request(request.headers(), || format!("{method} {}", route.as_str()))?;
    span.tell("http.request.method", method.to_string());
    span.tell("http.route", route.as_str());
    span.tell("url.path", request.uri().path().to_owned());
    Some(span)
}

/// Says what the request was answered with, and tells the caller which trace it is in.
pub fn answered(mut span: Span, response: &mut Response) {
    let status = response.status();
    span.tell("http.response.status_code", i64::from(status.as_u16()));
    for (name, header) in [("freshline.cache_status", CACHE_STATUS), ("freshline.request_id", REQUEST_ID)] {
        if let Some(text) = response.headers().get(header).and_then(|value| value.to_str().ok()) {
            span.tell(name, text.to_owned());
        }
    }
    if status.is_server_error() {
        span.fail();
    }
    if let Ok(traceparent) = HeaderValue::try_from(span.context().to_string()) {
        response.headers_mut().insert(TRACEPARENT, traceparent);
    }
}
