//! What became of the ids, counted exactly: each id that was read is in one of the counts of the summary.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use freshline::{cache::FillOutcome, telemetry::names};
use metrics::counter;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

const METERED_EVERY: Duration = Duration::from_secs(1);

/// The counts of a run that is under way.
#[derive(Debug, Default)]
pub struct Tally {
    ids: AtomicU64,
    filled: AtomicU64,
    absent: AtomicU64,
    already_there: AtomicU64,
    refused: Outcomes,
    failed: Outcomes,
    unread: AtomicU64,
    malformed: AtomicU64,
    duplicates: AtomicU64,
}

/// A count for each outcome, in the order of [`FillOutcome::ALL`].
type Outcomes = [AtomicU64; FillOutcome::ALL.len()];

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Ids that were read, duplicates left out.
    pub ids: u64,
    /// Filled with their row.
    pub filled: u64,
    /// Filled with the knowledge that there is no such row.
    pub absent: u64,
    /// Found filled.
    pub already_there: u64,
    /// Refused by the protocol, by why.
    pub refused: Vec<(&'static str, u64)>,
    /// Failed, by why.
    pub failed: Vec<(&'static str, u64)>,
    /// What was no id.
    pub malformed: u64,
    /// Ids that had been read shortly before.
    pub duplicates: u64,
    /// Since the run began.
    pub elapsed: Duration,
}

impl Tally {
    /// An id was read.
    pub fn id(&self) {
        self.ids.fetch_add(1, Relaxed);
    }

    /// Something was read that is no id.
    pub fn malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }

    /// An id was read that had been read before.
    pub fn duplicate(&self) {
        self.duplicates.fetch_add(1, Relaxed);
    }

    /// A row is in the cache now.
    pub fn filled(&self) {
        self.filled.fetch_add(1, Relaxed);
    }

    /// That there is no such row is in the cache now.
    pub fn absent(&self) {
        self.absent.fetch_add(1, Relaxed);
    }

    /// It was in the cache.
    pub fn already_there(&self) {
        self.already_there.fetch_add(1, Relaxed);
    }

    /// The protocol refused a fill.
    pub fn refused(&self, why: FillOutcome) {
        self.refused[why as usize].fetch_add(1, Relaxed);
    }

    /// Something is wrong.
    pub fn failed(&self, why: FillOutcome) {
        self.failed[why as usize].fetch_add(1, Relaxed);
    }

    /// Rows could not be read from Postgres.
    pub fn unread(&self, ids: usize) {
        self.unread.fetch_add(ids as u64, Relaxed);
    }

    /// Tells the counts as metrics until `stop`, once a second: not for each id, of which there are tens of thousands.
    pub async fn meter(self: Arc<Self>, stop: CancellationToken) {
        let mut every = interval(METERED_EVERY);
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            let Summary { filled, absent, already_there, refused, failed, .. } = self.summary(Duration::ZERO);
            let counts = [
                ("filled", filled),
                ("absent", absent),
                ("already-there", already_there),
                ("refused", sum(&refused)),
                ("failed", sum(&failed)),
            ];
            for (outcome, count) in counts {
                counter!(names::WARMED, "outcome" => outcome).absolute(count);
            }
        }
    }

    /// The counts now.
    pub fn summary(&self, elapsed: Duration) -> Summary {
        let mut failed = by_reason(&self.failed);
        failed.extend(Some(("unread", self.unread.load(Relaxed))).filter(|(_, count)| *count > 0));
        Summary {
            filled: self.filled.load(Relaxed),
            absent: self.absent.load(Relaxed),
            already_there: self.already_there.load(Relaxed),
            refused: by_reason(&self.refused),
            failed,
            malformed: self.malformed.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            // Last, so that no count of a part is above that of the whole.
            ids: self.ids.load(Relaxed),
            elapsed,
        }
    }
}

fn by_reason(outcomes: &Outcomes) -> Vec<(&'static str, u64)> {
    let counts = FillOutcome::ALL.iter().map(|outcome| (outcome.as_str(), outcomes[*outcome as usize].load(Relaxed)));
    counts.filter(|(_, count)| *count > 0).collect()
}

impl Summary {
    /// The ids that are in the cache.
    pub fn warm(&self) -> u64 {
        self.filled + self.absent + self.already_there
    }

    /// The ids that the run is done with.
    pub fn settled(&self) -> u64 {
        self.warm() + sum(&self.refused) + sum(&self.failed)
    }

    /// The ids that were read and not offered, because the run was ended.
    pub fn not_offered(&self) -> u64 {
        self.ids.saturating_sub(self.settled())
    }

    /// Ids per second.
    pub fn rate(&self) -> f64 {
        self.settled() as f64 / self.elapsed.as_secs_f64().max(0.001)
    }
}

fn sum(counts: &[(&str, u64)]) -> u64 {
    counts.iter().map(|(_, count)| count).sum()
}

/// A count a line: for people, and for whoever takes the second word of a line.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ids            {}", self.ids)?;
        writeln!(f, "filled         {}", self.filled)?;
        writeln!(f, "absent         {}", self.absent)?;
        writeln!(f, "already-there  {}", self.already_there)?;
        writeln!(f, "refused        {}{}", sum(&self.refused), Reasons(&self.refused))?;
        writeln!(f, "failed         {}{}", sum(&self.failed), Reasons(&self.failed))?;
        writeln!(f, "not-offered    {}", self.not_offered())?;
        writeln!(f, "malformed      {}", self.malformed)?;
        writeln!(f, "duplicates     {}", self.duplicates)?;
        writeln!(f, "seconds        {:.3}", self.elapsed.as_secs_f64())?;
        writeln!(f, "ids-per-second {:.0}", self.rate())
    }
}

struct Reasons<'a>(&'a [(&'static str, u64)]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let reasons: Vec<_> = self.0.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        write!(f, "  ({})", reasons.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_in_one_count() {
        let tally = Tally::default();
        for _ in 0..9 {
            tally.id();
        }
        tally.filled();
        tally.absent();
        tally.already_there();
        tally.refused(FillOutcome::Old);
        tally.refused(FillOutcome::Busy);
        tally.failed(FillOutcome::Unreachable);
        tally.unread(2);
        let summary = tally.summary(Duration::from_secs(2));
        assert_eq!((summary.warm(), summary.settled(), summary.not_offered()), (3, 8, 1));
        let text = summary.to_string();
        assert!(text.contains("refused        2  (old 1, busy 1)\n"), "{text}");
        assert!(text.contains("failed         3  (unreachable 1, unread 2)\n"), "{text}");
        assert!(text.ends_with("ids-per-second 4\n"), "{text}");
    }
}
