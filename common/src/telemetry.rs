//! Logs, metrics and traces: how a process tells what it does.

mod log;
mod metric;
mod process;
mod recorder;
mod samples;
pub mod trace;

pub use log::{LogFormat, Logging, chain};
pub use metric::{ALL, Metric, MetricKind, names};
pub use process::PROCESS;
pub use recorder::{Metrics, from_zero};
pub use samples::Samples;

use crate::fault::{Classified, Kind};

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryFault {
    /// The filter of the log is not one.
    #[error("the log filter cannot be used")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// This process has a log already.
    #[error("the log was set up twice")]
    LogTwice(#[source] tracing_subscriber::util::TryInitError),
    /// This process has a recorder of metrics already.
    #[error("the metrics were set up twice")]
    MetricsTwice,
    /// This process traces already.
    #[error("the traces were set up twice")]
    TracesTwice,
    /// The buckets of a histogram are not usable.
    #[error("the buckets of a histogram cannot be used")]
    Buckets(#[source] metrics_exporter_prometheus::BuildError),
}

impl Classified for TelemetryFault {
    fn kind(&self) -> Kind {
        match self {
            Self::Filter(_) => Kind::Permanent,
            Self::LogTwice(_) | Self::MetricsTwice | Self::TracesTwice | Self::Buckets(_) => Kind::Bug,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Filter(_) => Some("Write FRESHLINE_LOG as a level or directives such as info,freshline=debug.".to_owned()),
            Self::LogTwice(_) | Self::MetricsTwice | Self::TracesTwice | Self::Buckets(_) => None,
        }
    }
}
