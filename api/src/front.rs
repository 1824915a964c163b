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
    response::{IntoResponse, Response},
};
use freshline::admin::Readiness;
use futures::FutureExt;
use http::{HeaderValue, Request, StatusCode, header};
use tower::Service;

use crate::{
    meter::Meter,
    problem::{PROBLEM_JSON, Problem, Subject},
};

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

    /// From now on the process is not ready, and every connection is closed after its answer.
    pub fn drain(&self) {
        self.readiness.unready("not ending", "it was asked to end");
        self.is_draining.store(true, Relaxed);
    }

    /// Answers one request. Never fails: what goes wrong is an answer too.
    pub async fn answer<B>(&self, request: Request<B>) -> Result<Response, std::convert::Infallible>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let (begun, counted) = (Instant::now(), self.meter.of(&request));
        let mut router = self.router.clone();
        let answering = AssertUnwindSafe(async move { router.call(request).await });
        let mut response = match answering.catch_unwind().await {
            Ok(Ok(response)) if is_foreign(&response) => {
                Problem::new(Subject::Request, "Its parameters cannot be read.").into_response()
            }
            Ok(Ok(response)) => response,
            Err(panic) => Problem::failure(&format!("it panicked: {}", words_of(panic.as_ref()))).into_response(),
        };
        if self.is_draining.load(Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        counted.answered(response.status(), begun.elapsed());
        Ok(response)
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
