//! The log: lines for people, or JSON for a collector.

use std::{error::Error, io::IsTerminal};

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use super::TelemetryFault;

/// What to log, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Directives of `tracing`'s environment filter, such as `info,freshline=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: coloured on a terminal, plain elsewhere.
    Human,
    /// A JSON object, one a line.
    Json,
}

impl Logging {
    /// Logs to standard error from now on, so that standard output stays free for results. Once in a process.
    pub fn init(&self) -> Result<(), TelemetryFault> {
        let filter = EnvFilter::builder().parse(&self.filter).map_err(TelemetryFault::Filter)?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let layer = match self.format {
            LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        // One filter for all, and not a filter of the layer: with those a callsite that only asks whether it is enabled, as sqlx's do,
        // makes the thread's next event disappear (seen with tracing-subscriber 0.3.23).
        tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(TelemetryFault::LogTwice)
    }
}

/// An error and everything that caused it, in one line: `Display` of an error never repeats its source.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors of others end in what caused them, and name it as their source besides.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the slot cannot be read")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_tells_every_cause_once() {
        let error = Outer(std::io::Error::other("connection reset"));
        assert_eq!(chain(&error), "the slot cannot be read: connection reset");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no connection: {0}")]
    struct Repeating(#[source] std::io::Error);

    #[test]
    fn a_cause_that_has_been_told_already_is_not_told_again() {
        let error = Repeating(std::io::Error::other("connection reset"));
        assert_eq!(chain(&error), "no connection: connection reset");
    }
}
