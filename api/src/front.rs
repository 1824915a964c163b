//! What every request passes: it is counted, a panic becomes an answer, and a process that ends says so.
//!
//! One function instead of a stack of layers: each layer boxes a future and clones a service, and together they cost more than a
//! whole read from the cache.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
};
use freshline::{admin::Readiness, server::Answers};
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use tower::Service;

use crate::{
    meter::Meter,
    problem::{PROBLEM_JSON, Problem, Subject},
    request_id::{REQUEST_ID, RequestId},
    traced,
};

/// How long the answer took in this process, in ms (Server Timing, W3C): the rest of what its reader waited is the way.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    router: Router,
    meter: Meter,
    is_draining: Arc<AtomicBool>,
    readiness: Readiness,
}

impl Front {
    /// In front of these routes.
    pub fn new(router: Router, readiness: Readiness) -> Self {
        Self { router, meter: Meter::new(), is_draining: Arc::default(), readiness }
    }

    async fn respond<B>(&self, request: Request<B>) -> Response
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let (begun, counted, span) = (Instant::now(), self.meter.of(&request), traced::span(&request));
        let id = RequestId::of(request.headers());
        let answering = id.clone().scope(answered(self.router.clone(), request));
        let mut response = match &span {
            None => answering.await,
            // Boxed, so that a request that is not traced does not carry the room of a second future.
            Some(span) => Box::pin(span.scope(answering)).await,
        };
        response.headers_mut().insert(REQUEST_ID, id.value());
        if self.is_draining.load(Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(span) = span {
            traced::answered(span, &mut response);
        }
        let took = begun.elapsed();
        if let Ok(timing) = HeaderValue::try_from(format!("app;dur={}.{:03}", took.as_millis(), took.as_micros() % 1_000)) {
            response.headers_mut().insert(SERVER_TIMING, timing);
        }
        counted.answered(response.status(), took);
        response
    }
}

impl Answers for Front {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>) -> Response {
        self.respond(request).await
    }

    /// From now on the process is not ready, and every connection is closed after its answer.
    fn drain(&self) {
        self.readiness.unready("not ending", "it was asked to end");
        self.is_draining.store(true, Relaxed);
    }
}

/// What the routes answer, or that they panicked.
async fn answered<B>(mut router: Router, request: Request<B>) -> Response
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    match AssertUnwindSafe(async move { router.call(request).await }).catch_unwind().await {
        Ok(Ok(response)) if is_foreign(&response) => {
            Problem::new(Subject::Request, "Its parameters cannot be read.").into_response()
        }
        Ok(Ok(response)) => response,
        Err(panic) => Problem::failure(&format!("it panicked: {}", words_of(panic.as_ref()))).into_response(),
    }
}

/// Whether this is a refusal of the framework, which writes it as plain text: the pages for operators leave their query to it.
fn is_foreign(response: &Response) -> bool {
    response.status() == StatusCode::BAD_REQUEST
        && response.headers().get(header::CONTENT_TYPE).is_none_or(|media_type| media_type != PROBLEM_JSON)
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use http_body_util::BodyExt;

    use super::*;

    async fn answer(router: Router) -> (Response<()>, String) {
        let front = Front::new(router, Readiness::new());
        let response = front.respond(Request::get("/").body(Body::empty()).expect("a request")).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (Response::from_parts(parts, ()), String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    async fn panicking() {
        panic!("secret");
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_that_tells_nothing_but_its_id() {
        let (head, body) = answer(Router::new().route("/", get(panicking))).await;
        assert_eq!(head.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(head.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        let id = head.headers()["x-request-id"].to_str().expect("text");
        assert!(body.contains(id) && !body.contains("secret"), "{body}");
    }

    #[tokio::test]
    async fn a_refusal_of_the_framework_is_a_problem_too() {
        let (head, body) = answer(Router::new().route("/", get(async || (StatusCode::BAD_REQUEST, "plain")))).await;
        assert_eq!(head.status(), StatusCode::BAD_REQUEST);
        assert_eq!(head.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        assert!(!body.contains("plain"), "{body}");
    }
}
