//! How a run tells what it does while it runs: a bar on a terminal, log lines elsewhere.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use freshline::telemetry::{LogFormat, Logging};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{info, warn};

use crate::tally::Summary;

/// How often the bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is logged.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// How many lines or rows of what was read are named. Whoever feeds a million wrong ones needs no list of them.
const NAMED_MAX: u64 = 20;

/// Tells how far a run is.
pub struct Report {
    bar: Option<ProgressBar>,
    named: AtomicU64,
}

impl Report {
    /// A bar if people read the log on a terminal; lines of the log otherwise. `expected` is how many ids there may be.
    pub fn new(logging: &Logging, expected: Option<u64>) -> Self {
        let is_watched = logging.format == LogFormat::Human && std::io::stderr().is_terminal();
        Self { bar: is_watched.then(|| bar(expected)), named: AtomicU64::new(0) }
    }

    /// How often [`Self::progress`] is to be called.
    pub fn interval(&self) -> Duration {
        if self.bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL }
    }

    /// Tells how far the run is.
    pub fn progress(&self, now: &Summary) {
        let Some(bar) = &self.bar else {
            let (settled, rate) = (now.settled(), now.rate());
            return info!(
                ids.settled = settled,
                ids.read = now.ids,
                "{settled} ids offered, {} of them warm, {rate:.0} a second",
                now.warm()
            );
        };
        bar.set_position(now.settled());
        // An estimate may fall short.
        if bar.length().is_some_and(|length| length < now.ids) {
            bar.set_length(now.ids);
        }
        let not_warm = Some(now.settled() - now.warm()).filter(|count| *count > 0);
        let not_warm = not_warm.map(|count| format!(", {count} of them not warm")).unwrap_or_default();
        bar.set_message(format!("{:.0} a second{not_warm}", now.rate()));
    }

    /// Names a line or row that was not used. Of many, only the first are named.
    pub fn unused(&self, what: &str) {
        match self.named.fetch_add(1, Relaxed) {
            ..NAMED_MAX => self.above_bar(|| warn!("{what}")),
            NAMED_MAX => self.above_bar(|| warn!("{what}; any more are counted and not named")),
            _ => {}
        }
    }

    /// Clears the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn above_bar(&self, log: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(log),
            None => log(),
        }
    }
}

fn bar(expected: Option<u64>) -> ProgressBar {
    let template = match expected {
        Some(_) => "{bar:40} {human_pos} of {human_len} ids, {eta} left, {msg}",
        None => "{spinner} {human_pos} ids, {msg}",
    };
    // A template that does not parse would be a mistake in the line above; indicatif's own stands in.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(expected, ProgressDrawTarget::stderr()).with_style(style)
}
