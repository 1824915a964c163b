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
use freshline::admin::Condition;
use futures::FutureExt;
use http::{HeaderValue, Request, header};
use tower::Service;

use crate::{meter::Meter, problem::Problem};

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    router: Router,
    meter: Meter,
    is_draining: Arc<AtomicBool>,
    /// Whether requests are welcome.
    accepting: Condition,
}

impl Front {
    /// In front of these routes. The condition holds from now on, until the process ends.
    pub fn new(router: Router, accepting: Condition) -> Self {
        accepting.holds();
        Self { router, meter: Meter::new(), is_draining: Arc::default(), accepting }
    }

    /// From now on the process is not ready, and every connection is closed after its answer.
    pub fn drain(&self) {
        self.accepting.fails("the process is ending", None);
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

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}
