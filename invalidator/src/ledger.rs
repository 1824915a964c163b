//! What the applier remembers: transactions applied and not yet known to be visible, and how far it has come. Pure.
//!
//! Invariant: a transaction is noted *before* its scripts are sent, and until a polled snapshot sees it. A script that runs
//! between FLUSHALL and the next open leaves its fence nowhere else.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use freshline::{
    change::Place,
    coherence::{Lsn, RedisTime, Run, Snapshot, Stripe, Xid},
};

use crate::transaction::End;

/// More transactions than this are not remembered one by one (protocol.md, open).
pub const NOTED_MAX: usize = 100_000;

/// How many samples of the log's end wait to be reached; beyond, the newer of two neighbours is dropped.
const MARKS_MAX: usize = 64;

/// What the applier remembers within one session with its source.
#[derive(Debug)]
pub struct Ledger {
    noted: BTreeMap<Xid, Note>,
    unacknowledged: VecDeque<Commit>,
    blind: Option<Xid>,
    position: Lsn,
    place: Place,
    hi: Lsn,
    marks: VecDeque<Mark>,
    at: Option<(Run, RedisTime)>,
}

/// The fences of one transaction: fields of `fences`, by stripe.
type Note = BTreeMap<Stripe, Vec<String>>;

#[derive(Debug, Clone, Copy)]
struct Commit {
    xid: Xid,
    place: Place,
}

/// A sample of the log's end: once everything up to `insert` is applied, nothing visible before `time` is missing.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// The Redis process whose clock it is.
    pub run: Run,
    /// Read from that clock before `insert` was sampled.
    pub time: RedisTime,
    /// `pg_current_wal_insert_lsn()` of the primary.
    pub insert: Lsn,
    /// When it was sampled, for the nudge.
    pub taken: Instant,
}

impl Ledger {
    /// A ledger for a session that begins at this position.
    pub fn new(position: Lsn) -> Self {
        Self {
            noted: BTreeMap::new(),
            unacknowledged: VecDeque::new(),
            blind: None,
            position,
            place: Place::at(position),
            hi: position,
            marks: VecDeque::new(),
            at: None,
        }
    }

    /// Notes that a change is about to be applied to these fields of `fences`.
    pub fn note(&mut self, xid: Xid, end: Lsn, fields: impl IntoIterator<Item = (Stripe, String)>) {
        self.hi = self.hi.max(end);
        if let Some(highest) = &mut self.blind {
            *highest = xid.max(*highest);
            return;
        }
        let note = self.noted.entry(xid).or_default();
        for (stripe, field) in fields {
            note.entry(stripe).or_default().push(field);
        }
    }

    /// Notes how far a batch of the fast path reaches, whose transactions need no fence.
    pub fn note_end(&mut self, end: Lsn) {
        self.hi = self.hi.max(end);
    }

    /// Whether more is noted than is to be remembered one by one.
    pub fn is_full(&self) -> bool {
        self.noted.len() > NOTED_MAX
    }

    /// Forgets everything but the highest transaction. The cache has been closed, and may be opened when a snapshot's xmin is above that.
    pub fn go_blind(&mut self) {
        let newest = |xid: Option<Xid>| xid.into_iter().chain(self.blind).max();
        let applied = self.unacknowledged.iter().map(|commit| commit.xid).max();
        self.blind = newest(self.noted.keys().next_back().copied().max(applied));
        self.noted.clear();
    }

    /// A transaction has been applied, and Redis has confirmed it.
    pub fn applied(&mut self, xid: Xid, end: End) {
        if end.is_exact {
            self.position = self.position.max(end.lsn);
        }
        self.place = self.place.max(end.place);
        self.unacknowledged.push_back(Commit { xid, place: end.place });
        if self.unacknowledged.len() > NOTED_MAX {
            self.merge_unacknowledged();
        }
    }

    /// Past the limit, two neighbours become one that is acknowledged when both may be: the later end, the higher xid.
    fn merge_unacknowledged(&mut self) {
        let pairs: Vec<Commit> = self.unacknowledged.drain(..).collect();
        let merge = |pair: &[Commit]| Commit {
            xid: pair.iter().map(|c| c.xid).max().unwrap_or(pair[0].xid),
            place: pair[pair.len() - 1].place,
        };
        self.unacknowledged.extend(pairs.chunks(2).map(merge));
    }

    /// Everything below this position has been delivered and applied.
    pub fn reached(&mut self, position: Lsn, place: Place) {
        self.position = self.position.max(position);
        self.place = self.place.max(place);
    }

    /// Everything whose commit ends at or before this is applied.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// At least every end that has been noted.
    pub fn hi(&self) -> Lsn {
        self.hi.max(self.position)
    }

    /// How many transactions are remembered.
    pub fn noted_len(&self) -> usize {
        self.noted.len()
    }

    /// Adds a sample of the log's end.
    pub fn mark(&mut self, mark: Mark) {
        if self.marks.len() == MARKS_MAX {
            // Every second one is enough: a later mark says more, an earlier one is reached sooner.
            let mut is_kept = false;
            self.marks.retain(|_| {
                is_kept = !is_kept;
                !is_kept
            });
        }
        self.marks.push_back(mark);
    }

    /// The time before which nothing visible is missing, on the clock of this Redis process.
    pub fn at(&mut self, run: Run) -> Option<RedisTime> {
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.insert <= self.position) {
            self.at = Some((mark.run, mark.time));
        }
        self.at.filter(|(of, _)| *of == run).map(|(_, time)| time)
    }

    /// Whether a sample has waited so long to be reached that the log should be nudged to flush.
    pub fn needs_nudge(&self, now: Instant, patience: Duration) -> bool {
        self.marks.front().is_some_and(|mark| mark.insert > self.position && now.duration_since(mark.taken) >= patience)
    }

    /// The fences of one stripe that a snapshot does not cover: what open writes.
    pub fn fences(&self, stripe: Stripe, snapshot: &Snapshot) -> Vec<(String, Vec<Xid>)> {
        let mut fences = BTreeMap::<&str, Vec<Xid>>::new();
        for (xid, note) in self.noted.iter().filter(|(xid, _)| !snapshot.sees(**xid)) {
            for field in note.get(&stripe).into_iter().flatten() {
                fences.entry(field).or_default().push(*xid);
            }
        }
        fences.into_iter().map(|(field, xids)| (field.to_owned(), xids)).collect()
    }

    /// Whether this snapshot is late enough to open with.
    pub fn may_open(&self, snapshot: &Snapshot) -> bool {
        self.blind.is_none_or(|highest| snapshot.xmin() > highest)
    }

    /// Drops what a polled snapshot sees, and answers with the fields to settle, by stripe. Each is told, with its transaction.
    pub fn see(&mut self, snapshot: &Snapshot, mut told: impl FnMut(Xid, &str)) -> BTreeMap<Stripe, Vec<String>> {
        if self.blind.is_some_and(|highest| snapshot.xmin() > highest) {
            self.blind = None;
        }
        let seen: Vec<Xid> = self.noted.keys().copied().filter(|xid| snapshot.sees(*xid)).collect();
        let mut settled = BTreeMap::<Stripe, Vec<String>>::new();
        for (xid, note) in seen.into_iter().filter_map(|xid| Some((xid, self.noted.remove(&xid)?))) {
            for (stripe, mut fields) in note {
                fields.sort_unstable();
                fields.dedup();
                fields.iter().for_each(|field| told(xid, field));
                settled.entry(stripe).or_default().extend(fields);
            }
        }
        for fields in settled.values_mut() {
            fields.sort_unstable();
            fields.dedup();
        }
        settled
    }

    /// How far the source may be told that nothing is needed any more: the place of a commit such that it and all before it are
    /// applied and visible, or the last place where all are.
    pub fn acknowledgeable(&mut self, snapshot: &Snapshot) -> Option<Place> {
        let mut place = None;
        while let Some(commit) = self.unacknowledged.pop_front_if(|commit| snapshot.sees(commit.xid)) {
            place = Some(commit.place);
        }
        if self.unacknowledged.is_empty() { Some(self.place) } else { place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xid(id: u64) -> Xid {
        Xid::new(id).expect("small")
    }

    fn lsn(position: u64) -> Lsn {
        Lsn::new(position).expect("small")
    }

    fn ends(position: u64) -> End {
        End { lsn: lsn(position), is_exact: true, place: Place(position) }
    }

    fn snapshot(text: &str) -> Snapshot {
        text.parse().expect("a snapshot")
    }

    fn stripe() -> Stripe {
        freshline::coherence::Stripes::new("t", 1).expect("a layout").of("x")
    }

    fn run() -> Run {
        Run::from_info("run_id:0123456789abcdef0123456789abcdef01234567").expect("a run")
    }

    fn mark(insert: u64, time: u64) -> Mark {
        Mark { run: run(), time: RedisTime::from_micros(time), insert: lsn(insert), taken: Instant::now() }
    }

    #[test]
    fn a_transaction_is_remembered_until_a_snapshot_sees_it() {
        let mut ledger = Ledger::new(lsn(0));
        ledger.note(xid(7), lsn(10), [(stripe(), "k:a".to_owned())]);
        ledger.note(xid(8), lsn(20), [(stripe(), "k:a".to_owned()), (stripe(), "t:b".to_owned())]);
        assert_eq!(ledger.see(&snapshot("7:9:7,8"), |_, _| {}).len(), 0);
        assert_eq!(ledger.fences(stripe(), &snapshot("8:9:8")), [("k:a".into(), vec![xid(8)]), ("t:b".into(), vec![xid(8)])]);
        let mut told = Vec::new();
        let mut tell = |xid, field: &str| told.push((xid, field.to_owned()));
        assert_eq!(ledger.see(&snapshot("8:9:8"), &mut tell)[&stripe()], ["k:a"]);
        assert_eq!(ledger.see(&snapshot("9:9:"), &mut tell)[&stripe()], ["k:a", "t:b"]);
        assert_eq!(told, [(xid(7), "k:a".into()), (xid(8), "k:a".into()), (xid(8), "t:b".into())]);
        assert_eq!(ledger.noted_len(), 0);
    }

    #[test]
    fn only_a_visible_prefix_is_acknowledged_and_only_at_ends_of_commits() {
        let mut ledger = Ledger::new(lsn(5));
        assert_eq!(ledger.acknowledgeable(&snapshot("7:7:")), Some(Place(5)));
        for (id, end) in [(7, 10), (8, 20), (9, 30)] {
            ledger.applied(xid(id), ends(end));
        }
        ledger.reached(lsn(35), Place(35));
        assert_eq!(ledger.acknowledgeable(&snapshot("7:10:7")), None, "the first is still in the gap");
        assert_eq!(ledger.acknowledgeable(&snapshot("8:10:8")), Some(Place(10)));
        assert_eq!(ledger.acknowledgeable(&snapshot("10:10:")), Some(Place(35)));
    }

    #[test]
    fn merged_commits_are_acknowledged_together_and_never_too_early() {
        let mut ledger = Ledger::new(lsn(0));
        let count = NOTED_MAX as u64 + 1;
        for id in 1..=count {
            ledger.applied(xid(id), ends(id * 10));
        }
        assert_eq!(ledger.acknowledgeable(&snapshot("2:9:")), Some(Place(80)));
        assert_eq!(ledger.acknowledgeable(&snapshot("9:10:")), None, "9 is merged with 10");
        assert_eq!(ledger.acknowledgeable(&snapshot("9:11:")), Some(Place(100)));
        assert_eq!(ledger.acknowledgeable(&snapshot(&format!("{0}:{0}:", count + 1))), Some(Place(count * 10)));
    }

    #[test]
    fn time_advances_only_to_marks_that_are_reached() {
        let mut ledger = Ledger::new(lsn(0));
        ledger.mark(mark(10, 100));
        ledger.mark(mark(20, 200));
        assert_eq!(ledger.at(run()), None);
        ledger.reached(lsn(15), Place(15));
        assert_eq!(ledger.at(run()).map(RedisTime::as_micros), Some(100));
        ledger.reached(lsn(20), Place(20));
        assert_eq!(ledger.at(run()).map(RedisTime::as_micros), Some(200));
        let other = Run::from_info("run_id:ffffffffffffffffffffffffffffffffffffffff").expect("a run");
        assert_eq!(ledger.at(other), None, "a time on another clock");
    }

    #[test]
    fn marks_are_bounded_and_the_newest_survives() {
        let mut ledger = Ledger::new(lsn(0));
        for n in 1..1000 {
            ledger.mark(mark(n, n));
        }
        assert!(ledger.marks.len() <= MARKS_MAX);
        ledger.reached(lsn(999), Place(999));
        assert_eq!(ledger.at(run()).map(RedisTime::as_micros), Some(999));
    }

    #[test]
    fn a_blind_ledger_opens_only_above_all_that_it_forgot() {
        let mut ledger = Ledger::new(lsn(0));
        ledger.note(xid(7), lsn(10), [(stripe(), "k:a".to_owned())]);
        ledger.go_blind();
        ledger.note(xid(12), lsn(20), [(stripe(), "k:b".to_owned())]);
        assert_eq!(ledger.noted_len(), 0);
        assert!(!ledger.may_open(&snapshot("8:20:8,12")));
        assert!(!ledger.may_open(&snapshot("12:20:12")));
        assert!(ledger.may_open(&snapshot("13:20:")));
        assert_eq!(ledger.hi(), lsn(20));
    }
}
