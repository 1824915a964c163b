//! One step of a history: an operation or a blow from outside, and what it answers. [`State::step`] is the model's side of it.

use std::collections::BTreeSet;

use super::{
    compare::{Lsn, Snap},
    operations::{Change, Closed, FillOutcome, LeaseGrant, Leased, OpenOutcome, Opening, TagGrant, Touch},
    state::{Cell, Dep, Gen, Id, Key, RunId, Src, Stripe, Tag, Token, Value, Version},
    universe::Universe,
};

/// The number of a stripe.
pub type At = usize;

#[derive(Debug, Clone)]
pub enum Call {
    Tag(At, Vec<Tag>),
    Lease(At, Vec<(Key, Option<Id>, Token)>),
    Fill(At, Src, Vec<(Key, Token, Value)>),
    GiveBack(At, Vec<(Key, Token)>),
    Apply(At, Change, Vec<Touch>),
    Raise(At, Gen, Lsn),
    Unlink(At, Vec<Key>, Vec<(Tag, Version)>),
    /// The last is `at` in µs.
    Publish(At, Gen, Snap, Lsn, Option<u64>),
    Settle(At, Gen, Vec<Dep>),
    Open(At, Opening),
    Bump(At, Gen, Change),
    Blow(Blow),
}

/// What the world does to Redis.
#[derive(Debug, Clone)]
pub enum Blow {
    /// A key is evicted, runs out, or is removed by somebody.
    Lose(Place),
    /// Something else lies under a key; the number says what.
    Garble(Place, u8),
    FlushAll,
    /// The control record says that another Redis process was opened.
    OtherRun(At),
    /// A file is written, and is put back later (or emptied Redis is, where there was none).
    Save,
    Restore,
}

/// A key of Redis.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    Ctl(At),
    Fences(At),
    Value(At, Key),
    Lease(At, Key),
    Tag(At, Tag),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Tags(Result<TagGrant, Closed>),
    Leases(Result<LeaseGrant, Closed>),
    Fills(Vec<FillOutcome>),
    Applied { removed: u64, replaced: u64 },
    Published(Result<Snap, Closed>),
    Settled(Result<u64, Closed>),
    Opened(OpenOutcome),
    Bumped(Result<(), Closed>),
    Done,
}

/// All of Redis, and the file that was written of it.
#[derive(Debug, Clone)]
pub struct State {
    pub stripes: Vec<Stripe>,
    saved: Option<Vec<Stripe>>,
}

impl State {
    pub fn empty(universe: &Universe) -> Self {
        Self { stripes: universe.empty(), saved: None }
    }

    /// Carries out a call. `drawn`: the versions that `tag` set, which its caller draws.
    pub fn step(&mut self, call: &Call, drawn: &[Version], universe: &Universe) -> Reply {
        match call {
            Call::Tag(at, tags) => Reply::Tags(self.stripes[*at].grant_tags(tags, drawn)),
            Call::Lease(at, wanted) => Reply::Leases(self.stripes[*at].grant_leases(wanted)),
            Call::Fill(at, source, fillings) => {
                let fill = |(key, token, entry): &(_, _, _)| self.stripes[*at].fill(*source, *key, *token, entry);
                Reply::Fills(fillings.iter().map(fill).collect())
            }
            Call::GiveBack(at, leases) => {
                leases.iter().for_each(|(key, token)| self.stripes[*at].give_back(*key, *token));
                Reply::Done
            }
            Call::Apply(at, change, touched) => {
                let (removed, replaced) = self.stripes[*at].apply(*change, touched);
                Reply::Applied { removed, replaced }
            }
            Call::Raise(at, generation, end) => {
                self.stripes[*at].raise(*generation, *end);
                Reply::Done
            }
            Call::Unlink(at, keys, tags) => {
                self.stripes[*at].unlink(keys, tags);
                Reply::Done
            }
            Call::Publish(at, generation, snap, pos, time) => {
                Reply::Published(self.stripes[*at].publish(*generation, snap, *pos, time.unwrap_or(0)))
            }
            Call::Settle(at, generation, deps) => Reply::Settled(self.stripes[*at].settle(*generation, deps)),
            Call::Open(at, opening) => Reply::Opened(self.stripes[*at].open(opening)),
            Call::Bump(at, new, change) => Reply::Bumped(self.stripes[*at].bump(*new, *change)),
            Call::Blow(blow) => {
                self.suffer(blow, universe);
                Reply::Done
            }
        }
    }

    /// Another process comes back with all of this; of an older file nobody knows any more.
    pub fn restart(&mut self) {
        self.saved = None;
        self.stripes.iter_mut().filter_map(|stripe| stripe.ctl.held_mut()).for_each(|ctl| ctl.run = RunId(1));
    }

    /// Every version that a tag has.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.stripes.iter().flat_map(|stripe| stripe.tags.values()).filter_map(Cell::held)
    }

    fn suffer(&mut self, blow: &Blow, universe: &Universe) {
        match blow {
            Blow::Lose(place) => self.put(*place, false),
            Blow::Garble(place, _) => self.put(*place, true),
            Blow::FlushAll => self.stripes = universe.empty(),
            Blow::OtherRun(at) => {
                if let Some(ctl) = self.stripes[*at].ctl.held_mut() {
                    ctl.run = RunId(1);
                }
            }
            Blow::Save => self.saved = Some(self.stripes.clone()),
            Blow::Restore => self.stripes = self.saved.clone().unwrap_or_else(|| universe.empty()),
        }
    }

    fn put(&mut self, place: Place, is_garbage: bool) {
        fn cell<T>(is_garbage: bool) -> Cell<T> {
            if is_garbage { Cell::Garbage } else { Cell::Absent }
        }
        match place {
            Place::Ctl(at) => self.stripes[at].ctl = cell(is_garbage),
            Place::Fences(at) => self.stripes[at].fences = cell(is_garbage),
            Place::Value(at, key) => *self.stripes[at].value(key) = cell(is_garbage),
            Place::Lease(at, key) => *self.stripes[at].lease(key) = cell(is_garbage),
            Place::Tag(at, tag) => *self.stripes[at].tag(tag) = cell(is_garbage),
        }
    }
}

impl Reply {
    /// The versions that `tag` answered with.
    pub fn drawn(&self) -> Vec<Version> {
        if let Self::Tags(Ok(grant)) = self { grant.tags.iter().map(|(version, _)| *version).collect() } else { Vec::new() }
    }

    /// A word for each thing that happened, to see that histories make everything happen.
    pub fn outcomes(&self) -> BTreeSet<&'static str> {
        match self {
            Self::Tags(answer) => [if answer.is_ok() { "tag: granted" } else { "tag: closed" }].into(),
            Self::Leases(Err(Closed)) => ["lease: closed"].into(),
            Self::Leases(Ok(grant)) => grant.outcomes.iter().map(|outcome| outcome.word()).collect(),
            Self::Fills(outcomes) => outcomes.iter().map(|outcome| outcome.word()).collect(),
            Self::Applied { removed: 0, replaced: 0 } => ["apply: nothing there"].into(),
            Self::Applied { removed, replaced } => [("apply: removed", removed), ("apply: replaced", replaced)]
                .into_iter()
                .filter(|(_, n)| **n > 0)
                .map(|(word, _)| word)
                .collect(),
            Self::Published(answer) => [if answer.is_ok() { "publish: published" } else { "publish: closed" }].into(),
            Self::Settled(Ok(0)) => ["settle: nothing left"].into(),
            Self::Settled(answer) => [if answer.is_ok() { "settle: something left" } else { "settle: closed" }].into(),
            Self::Opened(OpenOutcome::Opened) => ["open: opened"].into(),
            Self::Opened(OpenOutcome::Closed) => ["open: closed"].into(),
            Self::Opened(OpenOutcome::Stop) => ["open: deposed"].into(),
            Self::Bumped(answer) => [if answer.is_ok() { "bump: bumped" } else { "bump: closed" }].into(),
            Self::Done => BTreeSet::new(),
        }
    }

    /// Every word of [`outcomes`](Self::outcomes).
    pub const OUTCOMES: [&str; 23] = [
        "tag: granted",
        "tag: closed",
        "lease: closed",
        "lease: granted",
        "lease: hit",
        "lease: busy",
        "fill: filled",
        "fill: lost",
        "fill: closed",
        "fill: old",
        "apply: nothing there",
        "apply: removed",
        "apply: replaced",
        "publish: published",
        "publish: closed",
        "settle: nothing left",
        "settle: something left",
        "settle: closed",
        "open: opened",
        "open: closed",
        "open: deposed",
        "bump: bumped",
        "bump: closed",
    ];
}

impl Leased {
    fn word(self) -> &'static str {
        match self {
            Self::Granted => "lease: granted",
            Self::Hit => "lease: hit",
            Self::Busy => "lease: busy",
        }
    }
}

impl FillOutcome {
    fn word(self) -> &'static str {
        match self {
            Self::Filled => "fill: filled",
            Self::Lost => "fill: lost",
            Self::Closed => "fill: closed",
            Self::Old => "fill: old",
        }
    }
}
