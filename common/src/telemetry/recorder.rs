//! The recorder behind the `metrics` macros, and the text that Prometheus reads.

use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{ALL, MetricKind, Samples, TelemetryFault, names, process};

/// Upper bounds of a histogram's buckets, in seconds.
///
/// From half of what a hit in Redis takes (0.2 ms) to the deadline of a request. 2 ms, 10 ms and 5 s are bounds of their own because
/// they are promises: half and 99 % of the commits invalidated, and the default staleness.
const BUCKETS_SECONDS: [f64; 16] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// How often samples of histograms are put into their buckets. Until then each of them is kept.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// This process's metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Records what the `metrics` macros tell from now on. Once in a process.
    pub fn install() -> Result<Self, TelemetryFault> {
        let recorder = recorder()?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| TelemetryFault::MetricsTwice)?;
        describe();
        from_zero(&[(names::SPANS, "outcome", &["exported", "failed", "full"])]);
        metrics::gauge!(names::BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { handle })
    }

    /// What Prometheus reads (text format 0.0.4).
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        process::render(&mut text);
        text
    }

    /// What was counted and measured of these metrics. Takes as long as [`Metrics::render`], a fraction of a millisecond.
    pub fn samples(&self, names: &[&str]) -> Samples {
        Samples::parse(&self.handle.render(), names)
    }

    /// Puts samples into their buckets until `stop`, so that a process that nobody scrapes does not keep them all.
    pub async fn upkeep(self, stop: CancellationToken) {
        let mut every = tokio::time::interval(UPKEEP_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            self.handle.run_upkeep();
        }
    }
}

fn recorder() -> Result<PrometheusRecorder, TelemetryFault> {
    Ok(PrometheusBuilder::new().set_buckets(&BUCKETS_SECONDS).map_err(TelemetryFault::Buckets)?.build_recorder())
}

/// Counters that are there from the start, each with the values of its one label: what has never happened is 0, and not missing, so
/// that the first time is an increase.
pub fn from_zero(counters: &[(&'static str, &'static str, &[&'static str])]) {
    for (name, label, values) in counters {
        for value in *values {
            metrics::counter!(*name, *label => *value).absolute(0);
        }
    }
}

/// Tells the recorder what each metric means.
fn describe() {
    for metric in ALL {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.meaning),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.meaning),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_metric_is_rendered_with_its_meaning_and_its_buckets() {
        let recorder = recorder().expect("buckets");
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::counter!(names::CHANGES_APPLIED, "action" => "refresh").increment(3);
            metrics::histogram!(names::APPLY_SECONDS).record(0.004);
        });
        let text = handle.render();
        assert!(text.contains("# HELP freshline_changes_applied_total What changes touched"), "{text}");
        assert!(text.contains("freshline_changes_applied_total{action=\"refresh\"} 3"), "{text}");
        assert!(text.contains("freshline_apply_seconds_bucket{le=\"0.003\"} 0"), "{text}");
        assert!(text.contains("freshline_apply_seconds_bucket{le=\"0.005\"} 1"), "{text}");
    }
}
