//! A little Postgres, an applier that does its duties, and readers, all around the model. [`World::step`] lets one of them do the next
//! thing; [`World::broken`] says which invariant of protocol.md §4 does not hold.
//!
//! A transaction commits to the log, is applied from there, and becomes visible at any later time: the gap. Left out, as in the
//! exhaustive model: another Postgres history.

mod applier;
mod postgres;
mod promises;
mod readers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    compare::{Proof, Snap},
    operations::{LeaseGrant, TagGrant},
    state::{Dep, Gen, Id, Key, Stripe, Tag, Token, Version},
    universe::Universe,
};

/// A duty that somebody neglects, to see what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neglected {
    Nothing,
    /// Only what is visible in a polled snapshot is acknowledged.
    AcknowledgeVisible,
    /// Nothing is opened before the log has been replayed to its end.
    ReplayBeforeOpen,
    /// An opening carries the transactions noted that its snapshot does not see.
    OpenWithPending,
    /// An opening's `hi` counts all that was noted.
    OpenWithHi,
    /// Nothing is published before all up to the log's end, as sampled with the snapshot, is applied.
    PublishReached,
    /// The fast path is for what the *published* snapshot sees.
    FastPublished,
    /// A giant transaction fences everything before its first dependency.
    GiantFencesFirst,
    /// Tags are asked for before the page is read.
    TagsBeforeRead,
    /// A page is tested against what `tag` answered.
    PageTested,
    /// A page keeps the generation that `tag` answered.
    PageKeepsTagGeneration,
    /// A standby has replayed the lease's `hi` before it is read.
    StandbyWaits,
}

/// The page that depends on both tags. The other keys are rows.
const PAGE: Key = Key(2);

#[derive(Debug, Clone)]
struct Tx {
    kind: Kind,
    deps: BTreeSet<Dep>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Giant,
    Truncate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Aborted,
    Logged,
    /// Since this time.
    Visible(u64),
}

/// What has been said about a page's tags: versions, and what its read must have seen.
type Tagged = Vec<(Tag, Gen, Version, TagGrant)>;

/// The transactions that a read saw.
type Content = BTreeSet<usize>;

#[derive(Debug, Clone)]
enum Reader {
    Idle,
    Tagged(Tagged),
    Leased(Key, Token, LeaseGrant, Tagged),
    Read(Key, Token, Gen, Proof, Content, Tagged),
}

/// What an entry holds in truth.
#[derive(Debug)]
struct Truth {
    content: Content,
    tags: Vec<(Tag, Gen, Version)>,
}

/// One command of the applier.
#[derive(Debug, Clone)]
enum Command {
    Apply(Vec<Dep>),
    Raise,
    Unlink(Vec<Dep>),
    Bump,
}

/// What an applier knows. All but `acknowledged` is lost when it dies.
#[derive(Debug, Default)]
struct Applier {
    acknowledged: usize,
    /// How much of the log is applied, and what is under way of the next.
    applied: usize,
    under_way: VecDeque<(usize, Command)>,
    /// The log's end when this session began.
    replayed_at: usize,
    noted: BTreeMap<usize, BTreeSet<Dep>>,
    generations: Vec<Option<Gen>>,
    /// Bumps that found their stripe closed: they are carried out by its next opening, and not before.
    pending_bumps: BTreeSet<(usize, usize)>,
    published: Vec<Option<Snap>>,
    poll: Option<Poll>,
}

#[derive(Debug, Clone)]
struct Poll {
    time: u64,
    log_len: usize,
    snap: Snap,
}

pub struct World {
    neglected: Neglected,
    /// Redis suffers often.
    is_stormy: bool,
    universe: Universe,
    stripes: Vec<Stripe>,
    saved: Vec<Stripe>,
    txs: Vec<Tx>,
    log: Vec<usize>,
    clock: u64,
    applier: Applier,
    reader: [Reader; 2],
    old: Option<(Snap, Content)>,
    /// Every (transaction, dependency) that was ever carried out.
    done: BTreeSet<(usize, Dep)>,
    truths: BTreeMap<Id, Truth>,
    used: u32,
    /// How many fills went through, and how many entries were checked while they could be served.
    pub filled: usize,
    pub checked: usize,
    /// What everybody did, where it is wanted.
    pub story: Option<Vec<String>>,
}

impl World {
    pub fn new(universe: Universe, is_stormy: bool, neglected: Neglected) -> Self {
        let stripes = universe.empty();
        let mut world = Self {
            neglected,
            is_stormy,
            saved: stripes.clone(),
            stripes,
            universe,
            txs: Vec::new(),
            log: Vec::new(),
            clock: 1,
            applier: Applier::default(),
            reader: [Reader::Idle, Reader::Idle],
            old: None,
            done: BTreeSet::new(),
            truths: BTreeMap::new(),
            used: 0,
            filled: 0,
            checked: 0,
            story: None,
        };
        world.applier_starts();
        world
    }

    /// Lets somebody do the next thing, as the dice say.
    pub fn step(&mut self, [who, how, more]: [u8; 3]) {
        self.clock += 1;
        let (how, more) = (usize::from(how), usize::from(more));
        match who % 32 {
            0..3 => self.begin(how, more),
            3..7 => self.move_on(how),
            7..13 => self.apply_next(),
            13..15 => self.applier.poll = Some(self.polled()),
            15..18 => self.publish(how % self.stripes.len()),
            18 => self.settle(how % self.stripes.len()),
            19 => self.acknowledge(),
            20 => self.applier_starts(),
            21 => self.blow(how, more),
            22 => self.old = Some((self.snapshot(), self.seen())),
            23 => self.expire(how),
            24..27 if self.is_stormy => self.blow(how, more),
            _ => self.read(how % 2, how / 2, more),
        }
    }

    fn fresh(&mut self) -> u32 {
        self.used += 1;
        self.used
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    fn skips(&self, duty: Neglected) -> bool {
        self.neglected == duty
    }
}
