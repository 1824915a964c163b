//! Counts answers and their times. Each counter is looked up once, not once a request: a lookup costs as much as parsing the path.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use freshline::telemetry::names::{HTTP_REQUEST_SECONDS, HTTP_REQUESTS};
use http::{Method, Request, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

use crate::routes::Route;

/// The methods that a label names; any other is `other`, because callers invent them.
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The counters of all routes. Cheap to clone.
#[derive(Clone)]
pub struct Meter {
    routes: Arc<[OfRoute; Route::ALL.len()]>,
}

struct OfRoute {
    route: Route,
    seconds: Histogram,
    /// For each method, and any other, for each status from 100 to 599.
    counters: [OnceLock<Box<[OnceLock<Counter>]>>; METHODS.len() + 1],
}

/// A request that has been taken note of.
pub struct Counted<'a> {
    of: &'a OfRoute,
    method: usize,
}

impl Meter {
    /// With a histogram for each route, and no counter yet.
    pub fn new() -> Self {
        let of_route = |route: Route| OfRoute {
            route,
            seconds: histogram!(HTTP_REQUEST_SECONDS, "route" => route.as_str()),
            counters: Default::default(),
        };
        Self { routes: Arc::new(Route::ALL.map(of_route)) }
    }

    /// Takes note of a request.
    pub fn of<B>(&self, request: &Request<B>) -> Counted<'_> {
        let method = METHODS.iter().position(|method| method == request.method()).unwrap_or(METHODS.len());
        Counted { of: &self.routes[Route::of(request.uri().path()) as usize], method }
    }
}

impl Counted<'_> {
    /// It was answered.
    pub fn answered(self, status: StatusCode, after: Duration) {
        let Self { of, method } = self;
        of.seconds.record(after);
        let statuses = of.counters[method].get_or_init(|| (100..600).map(|_| OnceLock::new()).collect());
        if let Some(counter) = statuses.get(usize::from(status.as_u16()).wrapping_sub(100)) {
            counter.get_or_init(|| made(of.route, method, status)).increment(1);
        }
    }
}

fn made(route: Route, method: usize, status: StatusCode) -> Counter {
    let method = METHODS.get(method).map_or("other", Method::as_str).to_owned();
    counter!(HTTP_REQUESTS, "method" => method, "route" => route.as_str(), "status" => status.as_str().to_owned())
}
