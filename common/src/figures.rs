//! The few figures by which people judge a process, taken from its own metrics once a second and told to the registry. Nothing is
//! counted for them that is not counted anyway.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    admin::Readiness,
    clock::now_us,
    telemetry::{Metrics, Samples, names},
};

/// The metrics that figures are made of.
const NAMES: [&str; 13] = [
    names::HTTP_REQUESTS,
    names::HTTP_REQUEST_SECONDS,
    names::READS,
    names::LOADS,
    names::CHANGES_APPLIED,
    names::COMMIT_TO_INVALIDATED,
    names::FRESHNESS,
    names::STRIPES_CLOSED,
    names::FENCED_TRANSACTIONS,
    names::POSITION_LAG,
    names::RELAY_PUBLISHED,
    names::RELAY_UNSTORED,
    names::WARMED,
];

/// What a process counted and measured. Totals are since it began; rates and quantiles are of the span before `at_us`. A part that the
/// process does not have is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// When, by the process's own clock, in µs since 1970.
    pub at_us: i64,
    /// How long the span before it was, in ms.
    pub over_ms: u64,
    /// Whether it was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_ready: Option<bool>,
    /// Requests for products and categories that it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Work>,
    /// Values that it read through the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<Reads>,
    /// Its readings of Postgres on behalf of the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loads: Option<Growth>,
    /// What changes touched, applied to Redis and confirmed by it; each timed from its commit, by Postgres's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Work>,
    /// The age of the bound: nothing visible longer ago is missing from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness_ms: Option<f64>,
    /// Stripes of the cache that are not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stripes_closed: Option<u64>,
    /// Transactions applied and not yet known to be visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced: Option<u64>,
    /// Log that is written and not yet applied, or read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// Messages to a broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relayed>,
    /// Ids that are in the cache since they were offered to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmed: Option<u64>,
}

/// Something that is done again and again, and takes its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Work {
    /// How often.
    pub total: u64,
    /// How often in a second.
    pub per_s: f64,
    /// How long half of them took at most, from the buckets of a histogram; null where there were none.
    pub p50_ms: Option<f64>,
    /// The same of 99 of 100.
    pub p99_ms: Option<f64>,
}

/// A number that only grows, and how fast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Growth {
    /// How often.
    pub total: u64,
    /// How often in a second.
    pub per_s: f64,
}

/// Values that were read through the cache. Each that came from it is a query that Postgres was spared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reads {
    /// They came from Redis.
    pub hits: u64,
    /// The first look at the cache did not serve them.
    pub misses: u64,
    /// They came from this process's memory, while Redis was away.
    pub fallbacks: u64,
    /// Hits in a second.
    pub hits_per_s: f64,
    /// Misses in a second.
    pub misses_per_s: f64,
}

/// Messages to a broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Relayed {
    /// They were sent.
    pub published: u64,
    /// They are not yet known to be stored.
    pub unstored: u64,
}

/// Takes a process's figures, again and again.
#[derive(Debug)]
pub(crate) struct Meters {
    metrics: Metrics,
    readiness: Option<Readiness>,
    last: (Instant, Samples),
}

impl Meters {
    /// Of these metrics, which count from now on.
    pub(crate) fn new(metrics: Metrics, readiness: Option<Readiness>) -> Self {
        Self { metrics, readiness, last: (Instant::now(), Samples::default()) }
    }

    /// The figures now, and of the span since the last time. Off the threads that answer requests.
    pub(crate) async fn take(&mut self) -> Figures {
        let metrics = self.metrics.clone();
        let samples = tokio::task::spawn_blocking(move || metrics.samples(&NAMES)).await.unwrap_or_default();
        let now = (Instant::now(), samples);
        let span = Span { over: now.0 - self.last.0, now: &now.1, before: &self.last.1 };
        let is_ready = self.readiness.as_ref().map(|it| it.status().iter().all(|condition| condition.failure.is_none()));
        let figures = Figures { is_ready, at_us: now_us(), ..span.figures() };
        self.last = now;
        figures
    }
}

/// What came between two looks.
struct Span<'a> {
    over: Duration,
    now: &'a Samples,
    before: &'a Samples,
}

fn all(_: &str) -> bool {
    true
}

/// Whether labels are those of an outcome.
fn is(labels: &str, outcome: &str) -> bool {
    labels.contains(&format!("outcome=\"{outcome}\""))
}

/// Whether labels are those of a route of products or categories: what readers and writers ask for.
fn is_of_catalogue(labels: &str) -> bool {
    ["route=\"/products", "route=\"/categories"].iter().any(|route| labels.contains(route))
}

impl Span<'_> {
    fn figures(&self) -> Figures {
        let whole = |name: &str| self.gauge(name).map(|value| value as u64);
        let published = self.counted(names::RELAY_PUBLISHED, all);
        let requests = self.work(names::HTTP_REQUESTS, names::HTTP_REQUEST_SECONDS, is_of_catalogue);
        Figures {
            over_ms: self.over.as_millis().try_into().unwrap_or(u64::MAX),
            // Who answers nobody reads for nobody.
            reads: requests.and_then(|_| self.reads()),
            requests,
            loads: self.counted(names::LOADS, |labels| !is(labels, "overloaded")),
            changes: self.work(names::CHANGES_APPLIED, names::COMMIT_TO_INVALIDATED, all),
            freshness_ms: self.gauge(names::FRESHNESS).map(|seconds| rounded(seconds * 1_000.0)),
            stripes_closed: whole(names::STRIPES_CLOSED),
            fenced: whole(names::FENCED_TRANSACTIONS),
            lag_bytes: whole(names::POSITION_LAG),
            relay: published
                .map(|published| Relayed { published: published.total, unstored: whole(names::RELAY_UNSTORED).unwrap_or(0) }),
            warmed: self
                .counted(names::WARMED, |labels| !is(labels, "refused") && !is(labels, "failed"))
                .map(|warmed| warmed.total),
            ..Figures::default()
        }
    }

    fn reads(&self) -> Option<Reads> {
        let hits = self.counted(names::READS, |labels| is(labels, "hit"))?;
        let fallbacks = self.counted(names::READS, |labels| is(labels, "fallback"))?;
        let misses = self.counted(names::READS, |labels| !is(labels, "hit") && !is(labels, "fallback"))?;
        Some(Reads {
            hits: hits.total,
            misses: misses.total,
            fallbacks: fallbacks.total,
            hits_per_s: hits.per_s,
            misses_per_s: misses.per_s,
        })
    }

    /// A counter, and how fast it grows; `None` where the process has none.
    fn counted(&self, name: &str, is_wanted: impl Fn(&str) -> bool) -> Option<Growth> {
        let total = self.now.sum(name, &is_wanted)?;
        let grown = (total - self.before.sum(name, &is_wanted).unwrap_or(0.0)).max(0.0);
        Some(Growth { total: total as u64, per_s: rounded(grown / self.over.as_secs_f64().max(0.001)) })
    }

    /// A counter, and a histogram of how long each took. Where only that is there, nothing has been counted yet.
    fn work(&self, counter: &str, seconds: &str, is_wanted: impl Fn(&str) -> bool) -> Option<Work> {
        let took = self.now.buckets(seconds, &is_wanted);
        let counted = self.counted(counter, &is_wanted).or_else(|| (!took.is_empty()).then(Growth::default));
        let Growth { total, per_s } = counted?;
        let took = took.since(&self.before.buckets(seconds, &is_wanted));
        let quantile = |share: f64| took.quantile(share).map(|seconds| rounded(seconds * 1_000.0));
        Some(Work { total, per_s, p50_ms: quantile(0.5), p99_ms: quantile(0.99) })
    }

    /// What a gauge says, where that is a number: the age of a bound that is none is infinite.
    fn gauge(&self, name: &str) -> Option<f64> {
        self.now.sum(name, all).filter(|value| value.is_finite())
    }
}

/// To thousandths: of a millisecond, or of once in a second.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(before: &str, now: &str) -> Figures {
        let (before, now) = (Samples::parse(before, &NAMES), Samples::parse(now, &NAMES));
        Span { over: Duration::from_secs(2), now: &now, before: &before }.figures()
    }

    const API: &str = "freshline_http_requests_total{method=\"GET\",route=\"/products/{id}\",status=\"200\"} 30\n\
        freshline_http_requests_total{method=\"GET\",route=\"operations\",status=\"200\"} 500\n\
        freshline_http_request_seconds_bucket{route=\"/products/{id}\",le=\"0.001\"} 30\n\
        freshline_http_request_seconds_bucket{route=\"/products/{id}\",le=\"+Inf\"} 30\n\
        freshline_http_request_seconds_bucket{route=\"operations\",le=\"+Inf\"} 500\n\
        freshline_reads_total{outcome=\"hit\"} 25\n\
        freshline_reads_total{outcome=\"fallback\"} 0\n\
        freshline_reads_total{outcome=\"missing\"} 4\n\
        freshline_reads_total{outcome=\"closed\"} 1\n\
        freshline_loads_total{outcome=\"loaded\"} 3\n\
        freshline_loads_total{outcome=\"overloaded\"} 9\n\
        freshline_freshness_seconds +Inf\n";

    #[test]
    fn a_process_tells_what_it_has_and_leaves_out_the_rest() {
        let figures = figures("", API);
        assert_eq!(figures.over_ms, 2_000);
        let requests = Work { total: 30, per_s: 15.0, p50_ms: Some(0.5), p99_ms: Some(0.99) };
        assert_eq!(figures.requests, Some(requests), "those of the catalogue");
        let reads = Reads { hits: 25, misses: 5, fallbacks: 0, hits_per_s: 12.5, misses_per_s: 2.5 };
        assert_eq!((figures.reads, figures.loads), (Some(reads), Some(Growth { total: 3, per_s: 1.5 })));
        let json = serde_json::to_value(&figures).expect("JSON");
        for left_out in ["changes", "freshness_ms", "stripes_closed", "fenced", "lag_bytes", "relay", "warmed", "is_ready"] {
            assert!(json.get(left_out).is_none(), "{left_out}: {json}");
        }
    }

    #[test]
    fn rates_and_quantiles_are_of_the_span_and_totals_of_all_time() {
        let quiet = figures(API, API);
        assert_eq!(quiet.requests, Some(Work { total: 30, per_s: 0.0, p50_ms: None, p99_ms: None }));
        let before = "freshline_changes_applied_total{action=\"tag\"} 10\n";
        let now = "freshline_changes_applied_total{action=\"tag\"} 13\nfreshline_stripes_closed 0\nfreshline_fenced_transactions 2\n\
            freshline_commit_to_invalidated_seconds_bucket{le=\"0.002\"} 4\nfreshline_freshness_seconds 0.1234567\n\
            freshline_commit_to_invalidated_seconds_bucket{le=\"+Inf\"} 4\n";
        let invalidator = figures(before, now);
        let changes = Work { total: 13, per_s: 1.5, p50_ms: Some(1.0), p99_ms: Some(1.98) };
        assert_eq!((invalidator.changes, invalidator.freshness_ms), (Some(changes), Some(123.457)));
        assert_eq!((invalidator.stripes_closed, invalidator.fenced, invalidator.reads), (Some(0), Some(2), None));
    }
}
