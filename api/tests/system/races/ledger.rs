//! What has been written, and hence what a read may answer: each row counts its versions in a column, so that age can be seen.
//!
//! A read must not answer with less than what was applied before it began, nor with less than what was committed longer ago than the
//! cache may be behind. A hit must not be older than a hit of the same key before it, either. (Of two keys, one may be ahead.)

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// How many pages begin with the newest beacon.
const PAGES: usize = 2;

/// How many violations are kept to be shown.
const VIOLATIONS_MAX: usize = 20;

/// `max_staleness`, as the processes have it by default.
const STALENESS_MAX: Duration = Duration::from_secs(5);

/// Everything written.
pub struct Ledger {
    /// The rows, and after them the pages, whose version is that of the newest beacon.
    rows: Vec<Row>,
    /// Committed, and not known to be applied.
    waiting: Mutex<Vec<Waiting>>,
    violations: Mutex<Vec<String>>,
}

/// One row.
pub struct Row {
    pub id: String,
    /// Held by whoever writes it.
    pub version: tokio::sync::Mutex<Version>,
    /// No read that begins now may answer with less.
    floor: AtomicU64,
    /// No hit that begins now may be of less.
    hit_floor: AtomicU64,
    /// The last version that was, or is about to be, that there is no such row.
    absent: AtomicU64,
}

/// The version of a row.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    pub number: u64,
    pub exists: bool,
}

struct Waiting {
    at: usize,
    version: u64,
    /// The log's position after the commit.
    end: u64,
    committed: Instant,
}

/// What a read that begins now has to answer with at least.
pub struct Floors(Vec<(u64, u64)>);

impl Ledger {
    /// Of rows with these ids and of these pages, all of version 1.
    pub fn new(ids: Vec<String>, pages: [&str; PAGES]) -> Self {
        let row = |id| Row {
            id,
            version: Version { number: 1, exists: true }.into(),
            floor: 1.into(),
            hit_floor: 1.into(),
            absent: 0.into(),
        };
        let rows = ids.into_iter().chain(pages.map(str::to_owned)).map(row).collect();
        Self { rows, waiting: Mutex::default(), violations: Mutex::default() }
    }

    /// The rows, without the pages.
    pub fn rows(&self) -> &[Row] {
        &self.rows[..self.rows.len() - PAGES]
    }

    /// The pages that begin with the newest beacon: where they are in the ledger.
    pub fn pages(&self) -> std::ops::Range<usize> {
        self.rows.len() - PAGES..self.rows.len()
    }

    pub fn row(&self, at: usize) -> &Row {
        &self.rows[at]
    }

    /// The row of this id, or the page of this path.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.id == id)
    }

    /// This version has been committed, before the log reached `end`.
    pub fn committed(&self, at: usize, version: u64, end: u64) {
        locked(&self.waiting).push(Waiting { at, version, end, committed: Instant::now() });
    }

    /// The cache has been seen to have applied all up to this position.
    pub fn applied(&self, position: Option<u64>) {
        locked(&self.waiting).retain(|waiting| {
            let is_due = position.is_some_and(|position| waiting.end <= position) || waiting.committed.elapsed() > STALENESS_MAX;
            if is_due {
                self.rows[waiting.at].floor.fetch_max(waiting.version, SeqCst);
            }
            !is_due
        });
    }

    pub fn floors(&self) -> Floors {
        Floors(self.rows.iter().map(|row| (row.floor.load(SeqCst), row.hit_floor.load(SeqCst))).collect())
    }

    /// A read that began at these floors answered with this version of a row, or that there is no such row.
    pub fn saw(&self, floors: &Floors, at: usize, version: Option<u64>, is_hit: bool, what: impl FnOnce() -> String) {
        let (row, (floor, hit_floor)) = (&self.rows[at], floors.0[at]);
        let hit_floor = if is_hit { hit_floor } else { 0 };
        let seen = version.unwrap_or_else(|| row.absent.load(SeqCst));
        if seen < floor.max(hit_floor) {
            let row = format!("{} was read at version {version:?} ({seen})", row.id);
            self.violated(format!("{row}, with {floor} applied and {hit_floor} hit before: {}", what()));
        }
        if let Some(version) = version.filter(|_| is_hit) {
            row.hit_floor.fetch_max(version, SeqCst);
        }
    }

    /// A promise was broken.
    pub fn violated(&self, what: String) {
        let mut violations = locked(&self.violations);
        if violations.len() < VIOLATIONS_MAX {
            violations.push(what);
        }
    }

    pub fn violations(&self) -> Vec<String> {
        locked(&self.violations).clone()
    }
}

impl Row {
    /// Its next version will be that it is gone.
    pub fn goes_at(&self, version: u64) {
        self.absent.store(version, SeqCst);
    }
}

impl Floors {
    /// As shown by a token: this version of this row, at least.
    pub fn with(mut self, at: usize, version: u64) -> Self {
        self.0[at].0 = self.0[at].0.max(version);
        self
    }
}

/// What is locked here is whole after any panic.
fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
