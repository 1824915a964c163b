//! Answers counted: by what they were, over all and second by second.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;

use super::caller::{Answer, Came};

/// Latencies are told to three digits.
const DIGITS: u8 = 3;

/// Longer than any answer is waited for, in µs; what takes longer counts as this.
const MICROS_MAX: u64 = 60_000_000;

/// The quantiles that are told.
pub const QUANTILES: [(f64, &str); 5] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "most")];

/// What the answers are grouped into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Hits,
    Misses,
    Writes,
    OwnReads,
}

/// What came of a load.
pub struct Tally {
    /// Latencies in µs.
    groups: BTreeMap<Group, Histogram<u64>>,
    /// By the second in which they were due.
    pub seconds: Vec<Second>,
    /// Reads under a token that were older than its write.
    pub older: u64,
    pub turned_away: u64,
    pub refused: u64,
    pub nothing: u64,
    /// Requests that were due while too many were under way.
    pub unsent: u64,
}

/// One second of it.
pub struct Second {
    /// Latencies of all answers in µs.
    pub latency: Histogram<u64>,
    pub hits: u64,
    pub reads: u64,
    pub errors: u64,
}

impl Group {
    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hits => "reads from the cache",
            Self::Misses => "reads from Postgres, in whole or in part",
            Self::Writes => "writes",
            Self::OwnReads => "reads that had to include a write",
        }
    }

    fn of(came: Came) -> Option<Self> {
        match came {
            Came::Hit => Some(Self::Hits),
            Came::Partial | Came::Miss => Some(Self::Misses),
            Came::Written => Some(Self::Writes),
            Came::Own | Came::Older => Some(Self::OwnReads),
            Came::TurnedAway | Came::Refused | Came::Nothing => None,
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(MICROS_MAX, DIGITS).unwrap_or_else(|_| unreachable!("some µs, and 0 to 5 digits"))
}

impl Tally {
    /// Of a load that takes so long.
    pub fn new(duration: Duration) -> Self {
        let second = || Second { latency: histogram(), hits: 0, reads: 0, errors: 0 };
        let seconds = (0..duration.as_secs().max(1)).map(|_| second()).collect();
        Self { groups: BTreeMap::new(), seconds, older: 0, turned_away: 0, refused: 0, nothing: 0, unsent: 0 }
    }

    /// Takes an answer.
    pub fn count(&mut self, answer: Answer) {
        let micros = u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX).max(1);
        let last = self.seconds.len() - 1;
        let second = &mut self.seconds[usize::try_from(answer.due.as_secs()).unwrap_or(last).min(last)];
        second.latency.saturating_record(micros);
        second.reads += u64::from(matches!(answer.came, Came::Hit | Came::Partial | Came::Miss));
        second.hits += u64::from(answer.came == Came::Hit);
        match Group::of(answer.came) {
            Some(group) => self.groups.entry(group).or_insert_with(histogram).saturating_record(micros),
            None => second.errors += 1,
        }
        match answer.came {
            Came::Older => self.older += 1,
            Came::TurnedAway => self.turned_away += 1,
            Came::Refused => self.refused += 1,
            Came::Nothing => self.nothing += 1,
            Came::Hit | Came::Partial | Came::Miss | Came::Written | Came::Own => {}
        }
    }

    /// The latencies of each group that had answers.
    pub fn groups(&self) -> impl Iterator<Item = (Group, &Histogram<u64>)> {
        self.groups.iter().map(|(group, latencies)| (*group, latencies))
    }

    /// Of a hundred reads without a token, how many came from the cache; `None` without reads.
    pub fn hit_rate(&self) -> Option<f64> {
        let (hits, reads) = self.seconds.iter().fold((0, 0), |all, second| (all.0 + second.hits, all.1 + second.reads));
        (reads > 0).then(|| 100.0 * hits as f64 / reads as f64)
    }

    /// What went wrong, in words.
    pub fn wrongs(&self) -> impl Iterator<Item = (u64, &'static str)> {
        let wrongs = [
            (self.older, "reads older than the write that they had to include"),
            (self.turned_away, "turned away with 503"),
            (self.refused, "refused"),
            (self.nothing, "without an answer"),
            (self.unsent, "not sent, because too many were under way"),
        ];
        wrongs.into_iter().filter(|(count, _)| *count > 0)
    }

    /// Whether every request was sent and answered, and no read was too old.
    pub fn is_well(&self) -> bool {
        self.wrongs().next().is_none() && !self.groups.is_empty()
    }
}

/// In ms, from µs.
pub fn millis(micros: u64) -> String {
    format!("{:.2}", micros as f64 / 1_000.0)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:42} {:>9}", "", "answers")?;
        for (_, name) in QUANTILES {
            write!(f, " {name:>9}")?;
        }
        writeln!(f, "  (ms, from when they were due)")?;
        for (group, latencies) in self.groups() {
            write!(f, "{:42} {:>9}", group.as_str(), latencies.len())?;
            for (quantile, _) in QUANTILES {
                write!(f, " {:>9}", millis(latencies.value_at_quantile(quantile)))?;
            }
            writeln!(f)?;
        }
        for (count, what) in self.wrongs() {
            writeln!(f, "{what:42} {count:>9}")?;
        }
        match self.hit_rate() {
            Some(rate) => write!(f, "{:42} {rate:>8.1}%", "of the reads without a token from the cache"),
            None => write!(f, "nothing was read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(second: u64, millis: u64, came: Came) -> Answer {
        Answer { due: Duration::from_secs(second), took: Duration::from_millis(millis), came }
    }

    #[test]
    fn answers_are_counted_by_what_they_were_and_when_they_were_due() {
        let mut tally = Tally::new(Duration::from_secs(2));
        for came in [answer(0, 1, Came::Hit), answer(0, 3, Came::Miss), answer(1, 1, Came::Hit), answer(9, 5, Came::Written)] {
            tally.count(came);
        }
        assert!(tally.is_well());
        let rate = tally.hit_rate().expect("reads");
        assert!((rate - 200.0 / 3.0).abs() < 1e-9, "{rate}");
        assert_eq!(tally.seconds.iter().map(|second| (second.reads, second.hits)).collect::<Vec<_>>(), [(2, 1), (1, 1)]);
        let counts: Vec<_> = tally.groups().map(|(group, latencies)| (group, latencies.len())).collect();
        assert_eq!(counts, [(Group::Hits, 2), (Group::Misses, 1), (Group::Writes, 1)]);
    }

    #[test]
    fn latencies_are_told_as_they_were() {
        let mut tally = Tally::new(Duration::from_secs(1));
        for millis in [1, 2, 3, 900] {
            tally.count(answer(0, millis, Came::Hit));
        }
        let told = tally.to_string();
        assert!(told.contains("  2.00 ") && told.contains(" 900."), "{told}");
    }

    #[test]
    fn whatever_went_wrong_is_told() {
        for came in [Came::Older, Came::TurnedAway, Came::Refused, Came::Nothing] {
            let mut tally = Tally::new(Duration::from_secs(1));
            tally.count(answer(0, 1, Came::Hit));
            tally.count(answer(0, 1, came));
            assert!(!tally.is_well() && tally.wrongs().count() == 1, "{came:?}");
        }
        let mut tally = Tally::new(Duration::from_secs(1));
        tally.count(answer(0, 1, Came::Hit));
        tally.unsent = 1;
        assert!(!tally.is_well());
        assert!(!Tally::new(Duration::from_secs(1)).is_well(), "nothing was answered");
    }
}
