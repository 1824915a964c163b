//! What is told of transactions once Redis has confirmed them: how long after their commits, and spans for those whose writers are traced.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use freshline::{
    coherence::Xid,
    telemetry::{
        names,
        trace::{Span, SpanKind},
    },
};
use metrics::histogram;

use crate::{
    poll::Poll,
    transaction::{End, Written},
};

/// A transaction that has been applied.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    pub xid: Xid,
    pub end: End,
    /// How many dependencies it touched.
    pub touched: usize,
    pub written: Written,
}

/// Tells of transactions that Redis has just confirmed. The poll knows how far Postgres's clock is ahead of ours.
pub fn tell(commits: &[Commit], poll: &Poll) {
    if commits.is_empty() {
        return;
    }
    let (now, seconds) = (SystemTime::now(), histogram!(names::COMMIT_TO_INVALIDATED));
    for commit in commits {
        let begun = commit.written.at_us.and_then(|at_us| here(at_us, poll.ahead_us));
        if let Some(begun) = begun {
            // Clocks are compared to within half of what a poll takes: a commit may seem to be still to come.
            seconds.record(now.duration_since(begun).unwrap_or_default());
        }
        link(commit, begun.map_or(now, |begun| begun.min(now)));
    }
}

/// A span from the commit to now, linked to that of the write.
fn link(commit: &Commit, begun: SystemTime) {
    let Some(written_by) = commit.written.by else { return };
    if let Some(mut span) = Span::following(written_by, "transaction.apply", SpanKind::Consumer, begun) {
        span.tell("freshline.change.xid", commit.xid.to_string());
        span.tell("freshline.change.end", commit.end.lsn.to_string());
        span.tell("freshline.change.touched", commit.touched as i64);
    }
}

/// A time of Postgres's clock by ours.
fn here(at_us: i64, ahead_us: i64) -> Option<SystemTime> {
    let micros = u64::try_from(at_us.checked_sub(ahead_us)?).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_a_clock_that_is_ahead_was_earlier_here() {
        assert_eq!(here(5_000_000, 2_000_000), Some(UNIX_EPOCH + Duration::from_secs(3)));
        assert_eq!(here(5_000_000, -2_000_000), Some(UNIX_EPOCH + Duration::from_secs(7)));
        assert_eq!((here(1, 2), here(i64::MIN, 1)), (None, None));
    }
}
