//! Where histories come from: generated intents, made into calls only when their turn comes, so that they hit what is there by then:
//! the lease that lives, the generation that stands, a snapshot just before or just after the one that counts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    call::{At, Blow, Call, Place, State},
    compare::{Lsn, Proof, Snap, unseen, visible},
    operations::{Change, Opening, Touch},
    state::{Cell, Ctl, Dep, Fences, Gen, Id, Key, Lease, Src, Tag, Token, Value, Version},
    universe::{LSNS, SOURCES, Universe, XIDS},
};

#[derive(Debug, Clone, Copy)]
enum Verb {
    Tag,
    Lease,
    Fill,
    Apply,
    Raise,
    Unlink,
    Publish,
    Settle,
    Open,
    Bump,
    Lose,
    Garble,
    FlushAll,
    OtherRun,
    Save,
    Restore,
}

/// What is to be tried, and the dice that decide how. All zeros is the most ordinary way, which shrinking tends to.
#[derive(Clone)]
pub struct Intent {
    verb: Verb,
    dice: Vec<u8>,
}

impl std::fmt::Debug for Intent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.dice.iter().rposition(|die| *die != 0).map_or(0, |last| last + 1);
        write!(f, "{:?} {:?}", self.verb, &self.dice[..used])
    }
}

fn intents() -> impl Strategy<Value = Intent> {
    let verb = prop_oneof![
        11 => Just(Verb::Lease),
        17 => Just(Verb::Fill),
        16 => Just(Verb::Apply),
        9 => Just(Verb::Publish),
        6 => Just(Verb::Tag),
        6 => Just(Verb::Settle),
        4 => Just(Verb::Open),
        3 => Just(Verb::Bump),
        3 => Just(Verb::Raise),
        2 => Just(Verb::Unlink),
        3 => Just(Verb::Lose),
        3 => Just(Verb::Garble),
        1 => Just(Verb::FlushAll),
        1 => Just(Verb::OtherRun),
        1 => Just(Verb::Save),
        1 => Just(Verb::Restore),
    ];
    // Four numbers rather than 32: as many trees for proptest to keep.
    (verb, any::<[u64; 4]>()).prop_map(|(verb, numbers)| Intent { verb, dice: numbers.map(u64::to_le_bytes).concat() })
}

/// A history: how many stripes, how large its numbers are, and what is tried.
#[derive(Debug, Clone)]
pub struct History {
    pub stripe_count: u16,
    /// The least xid, log position and time. Scripts hold whole numbers below 2^53, and text would round above 10^14.
    pub bases: (u64, u64, u64),
    pub intents: Vec<Intent>,
}

/// Histories of up to `steps` steps.
pub fn histories(steps: usize) -> impl Strategy<Value = History> {
    const LARGEST: u64 = (1 << 53) - 64;
    let xids = prop_oneof![Just(3), Just((1 << 32) - 4), Just(LARGEST)];
    let lsns = prop_oneof![Just(1), Just((1 << 32) - 6), Just(LARGEST)];
    let times = prop_oneof![Just(1), Just(1_763_719_200_123_456)];
    (prop_oneof![3 => Just(1), 1 => Just(3)], (xids, lsns, times), proptest::collection::vec(intents(), 1..=steps))
        .prop_map(|(stripe_count, bases, intents)| History { stripe_count, bases, intents })
}

/// What a history has used up, so that nothing is used twice unless it is meant to be.
#[derive(Debug, Default)]
pub struct Memory {
    generations: u8,
    ids: u32,
    tokens: u32,
    versions: u32,
    /// Every lease asked for.
    asked: Vec<(Key, Token)>,
}

/// Makes calls of intents.
pub struct Maker<'a> {
    pub universe: &'a Universe,
    pub state: &'a State,
    pub memory: &'a mut Memory,
    dice: std::slice::Iter<'a, u8>,
}

impl<'a> Maker<'a> {
    pub fn new(universe: &'a Universe, state: &'a State, memory: &'a mut Memory, intent: &'a Intent) -> Self {
        Self { universe, state, memory, dice: intent.dice.iter() }
    }

    /// The call that carries out the intent, in the state that there is now.
    pub fn call(mut self, intent: &Intent) -> Call {
        match intent.verb {
            Verb::Tag => self.tag(),
            Verb::Lease => self.lease(),
            Verb::Fill => self.fill(),
            Verb::Apply => self.apply(),
            Verb::Raise => {
                let at = self.stripe();
                Call::Raise(at, self.own_or_other(at), self.lsn())
            }
            Verb::Unlink => self.unlink(),
            Verb::Publish => self.publish(),
            Verb::Settle => self.settle(),
            Verb::Open => self.open(),
            Verb::Bump => {
                let at = self.stripe();
                let change = self.change(at);
                Call::Bump(at, self.new_generation(), change)
            }
            Verb::Lose => Call::Blow(Blow::Lose(self.place())),
            Verb::Garble => Call::Blow(Blow::Garble(self.place(), self.below(8) as u8)),
            Verb::FlushAll => Call::Blow(Blow::FlushAll),
            Verb::OtherRun => Call::Blow(Blow::OtherRun(self.stripe())),
            Verb::Save => Call::Blow(Blow::Save),
            Verb::Restore => Call::Blow(Blow::Restore),
        }
    }

    fn below(&mut self, count: usize) -> usize {
        self.dice.next().map_or(0, |die| usize::from(*die) % count)
    }

    /// Seldom: once in `count`.
    fn once_in(&mut self, count: usize) -> bool {
        self.below(count) + 1 == count
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// One to three of `all`, perhaps one of them twice.
    fn some_of<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        (0..=self.below(3)).map(|_| self.one_of(all)).collect()
    }

    fn stripe(&mut self) -> At {
        self.below(self.state.stripes.len())
    }

    fn stripe_with(&mut self, has: impl Fn(&super::state::Stripe) -> bool) -> At {
        let fitting: Vec<At> = (0..self.state.stripes.len()).filter(|at| has(&self.state.stripes[*at])).collect();
        if fitting.is_empty() { self.stripe() } else { self.one_of(&fitting) }
    }

    fn keys(&self, at: At) -> Vec<Key> {
        self.state.stripes[at].values.keys().copied().collect()
    }

    fn tags(&self, at: At) -> Vec<Tag> {
        self.state.stripes[at].tags.keys().copied().collect()
    }

    fn ctl(&self, at: At) -> Option<&'a Ctl> {
        self.state.stripes[at].ctl.held()
    }

    fn fences(&self, at: At) -> Option<&'a Fences> {
        self.state.stripes[at].fences.held()
    }

    fn xid(&mut self) -> u64 {
        self.universe.xid(self.below(XIDS as usize) as u64)
    }

    fn lsn(&mut self) -> Lsn {
        self.universe.lsn(self.below(LSNS as usize) as u64)
    }

    fn new_generation(&mut self) -> Gen {
        self.memory.generations += 1;
        Gen(self.memory.generations)
    }

    fn any_generation(&mut self) -> Gen {
        Gen(self.below(usize::from(self.memory.generations) + 1) as u8)
    }

    /// The generation of the stripe, or of its fences, or another one.
    fn own_or_other(&mut self, at: At) -> Gen {
        let standing = self.ctl(at).map(|ctl| ctl.generation).or(self.fences(at).map(|fences| fences.generation));
        match standing {
            Some(standing) if !self.once_in(8) => standing,
            _ => self.any_generation(),
        }
    }

    fn new_id(&mut self) -> Id {
        self.memory.ids += 1;
        Id(self.memory.ids)
    }

    fn new_version(&mut self) -> Version {
        self.memory.versions += 1;
        Version(u128::from(self.memory.versions).to_be_bytes())
    }

    /// Some of these xids, each by a throw.
    fn some_xids(&mut self, of: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
        let mask = self.below(256);
        of.into_iter().enumerate().filter(|(n, _)| mask >> (n % 8) & 1 == 1).map(|(_, xid)| xid).collect()
    }

    /// A snapshot with `xmax`, and with these running; its `xmin` is the least of them, or seldom less.
    fn snap(&mut self, xmax: u64, xip: BTreeSet<u64>) -> Snap {
        let least = xip.first().copied().unwrap_or(xmax);
        let lower = if self.once_in(3) { self.below(4) as u64 } else { 0 };
        Snap { xmin: least.saturating_sub(lower).max(self.universe.xid_base), xmax, xip }
    }

    fn any_snap(&mut self) -> Snap {
        let xmax = self.universe.xid(self.below(XIDS as usize + 1) as u64);
        let running = self.some_xids(self.universe.xid_base..xmax);
        self.snap(xmax, running)
    }

    /// A snapshot that includes `base`: it is later, and of what it does not see, `base` sees nothing.
    fn snap_after(&mut self, base: &Snap) -> Snap {
        let xmax = (base.xmax + self.below(4) as u64).min(self.universe.xid(XIDS)).max(base.xmax);
        let running = self.some_xids(base.xip.iter().copied().chain(base.xmax..xmax));
        self.snap(xmax, running)
    }

    /// A snapshot that suffices for a fill.
    fn snap_seeing(&mut self, lease: &Lease) -> Snap {
        let after = self.snap_after(&lease.snap);
        let xmax = lease.xids.last().map_or(after.xmax, |last| after.xmax.max(last + 1));
        let running = after.xip.iter().copied().chain(after.xmax..xmax).filter(|xid| !lease.xids.contains(xid)).collect();
        self.snap(xmax, running)
    }

    /// A snapshot that sees what the lease was told, and yet lacks one transaction that the lease's snapshot sees.
    fn snap_lacking(&mut self, lease: &Lease) -> Snap {
        let mut snap = self.snap_seeing(lease);
        let seen = |xid: &u64| visible(*xid, &lease.snap) && !lease.xids.contains(xid);
        let seen: Vec<_> = (self.universe.xid_base..lease.snap.xmax).filter(seen).collect();
        if !seen.is_empty() {
            snap.xip.insert(self.one_of(&seen));
            snap.xmin = snap.xmin.min(*snap.xip.first().expect("one at least"));
        }
        snap
    }

    fn snap_around(&mut self, base: Option<&Snap>) -> Snap {
        match base {
            Some(base) if !self.once_in(4) => self.snap_after(base),
            _ => self.any_snap(),
        }
    }

    fn source(&mut self, standing: Option<Src>) -> Src {
        match standing {
            Some(standing) if !self.once_in(10) => standing,
            _ if self.below(3) == 0 => Src(2), // the one that deposes others
            _ => Src(self.below(SOURCES.len()) as u8),
        }
    }

    fn change(&mut self, at: At) -> Change {
        let generation = if self.once_in(12) { None } else { Some(self.own_or_other(at)) };
        Change { generation, xid: self.xid(), end: self.lsn() }
    }

    fn tag(&mut self) -> Call {
        let at = self.stripe_with(|stripe| !stripe.tags.is_empty());
        if let Some(open) = self.open_first(at) {
            return open;
        }
        let all = self.tags(at);
        Call::Tag(at, self.some_of(&all))
    }

    fn lease(&mut self) -> Call {
        let at = self.stripe_with(|stripe| !stripe.values.is_empty());
        if let Some(open) = self.open_first(at) {
            return open;
        }
        let all = self.keys(at);
        let keys = self.some_of(&all);
        Call::Lease(at, keys.into_iter().map(|key| self.wanted(at, key)).collect())
    }

    fn wanted(&mut self, at: At, key: Key) -> (Key, Option<Id>, Token) {
        self.memory.tokens += 1;
        let token = Token(self.memory.tokens);
        self.memory.asked.push((key, token));
        let there = self.state.stripes[at].values[&key].held().map(|value| value.id);
        let seen = match self.below(6) {
            0..3 => there,
            5 => Some(Id(self.below(usize::try_from(self.memory.ids).expect("small") + 1) as u32)),
            _ => None,
        };
        (key, seen, token)
    }

    /// Fills of leases that live, mostly.
    fn fill(&mut self) -> Call {
        let at = self.stripe_with(|stripe| stripe.leases.values().any(|lease| lease.held().is_some()));
        let leased: Vec<Key> =
            self.keys(at).into_iter().filter(|key| self.state.stripes[at].leases[key].held().is_some()).collect();
        if leased.is_empty() && !self.once_in(6) || self.keys(at).is_empty() {
            return self.lease();
        }
        let all = if leased.is_empty() { self.keys(at) } else { leased };
        let keys = if self.once_in(3) { self.some_of(&all) } else { vec![self.one_of(&all)] };
        let source = self.source(self.ctl(at).map(|ctl| ctl.source));
        Call::Fill(at, source, keys.into_iter().map(|key| self.filling(at, key)).collect())
    }

    fn filling(&mut self, at: At, key: Key) -> (Key, Token, Value) {
        let lease = self.state.stripes[at].leases[&key].held();
        let past: Vec<Token> = self.memory.asked.iter().filter(|(asked, _)| *asked == key).map(|(_, token)| *token).collect();
        let token = match lease {
            Some(lease) if !self.once_in(8) => lease.token,
            _ if past.is_empty() => Token(0),
            _ => self.one_of(&past[past.len().saturating_sub(4)..]),
        };
        let generation = lease.map(|lease| lease.generation).unwrap_or_else(|| self.any_generation());
        let proof = match (self.below(5), lease) {
            (4, Some(lease)) => Proof::Snap(self.snap_lacking(lease)),
            (3, lease) => {
                Proof::Lsn(lease.map_or(self.universe.lsn_base, |lease| (lease.hi + self.below(3) as u64).saturating_sub(1)))
            }
            (0 | 1, Some(lease)) => Proof::Snap(self.snap_seeing(lease)),
            (_, lease) => Proof::Snap(self.snap_around(lease.map(|lease| &lease.snap))),
        };
        let read_at = if self.once_in(4) { 0 } else { self.universe.at_base + self.below(9) as u64 };
        (key, token, Value { id: self.new_id(), generation, proof, read_at })
    }

    fn apply(&mut self) -> Call {
        let at =
            if self.below(2) == 0 { self.stripe_with(|stripe| stripe.values.values().any(Cell::exists)) } else { self.stripe() };
        let mut change = self.change(at);
        let deps = self.universe.deps_in(self.universe.stripes.all().nth(at).expect("a stripe"));
        let filled = self.state.stripes[at].values.iter().filter(|(_, value)| value.exists()).map(|(key, _)| Dep::Key(*key));
        let filled: Vec<_> = filled.collect();
        if self.once_in(2) {
            change.xid = self.uncovered(at).unwrap_or(change.xid);
        }
        let deps = if filled.is_empty() || self.once_in(3) { self.some_of(&deps) } else { self.some_of(&filled) };
        Call::Apply(at, change, deps.into_iter().map(|dep| self.touch(dep, change)).collect())
    }

    /// A transaction that some entry's snapshot does not see.
    fn uncovered(&mut self, at: At) -> Option<u64> {
        let snaps: Vec<_> =
            self.state.stripes[at].values.values().filter_map(|value| Some(value.held()?.proof.snap()?.clone())).collect();
        let snap = (!snaps.is_empty()).then(|| self.below(snaps.len())).map(|which| &snaps[which])?;
        let hidden: Vec<_> = unseen(self.universe.xid_base..self.universe.xid(XIDS), snap).into_iter().collect();
        (!hidden.is_empty()).then(|| self.one_of(&hidden))
    }

    fn touch(&mut self, dep: Dep, change: Change) -> Touch {
        match dep {
            Dep::Key(key) => {
                let generation = change.generation.filter(|_| self.below(2) == 1);
                let image =
                    generation.map(|generation| Value { id: self.new_id(), generation, proof: Proof::Lsn(change.end), read_at: 0 });
                Touch::Key(key, image)
            }
            Dep::Tag(tag) => Touch::Tag(tag, self.new_version()),
            Dep::All => Touch::All,
        }
    }

    fn unlink(&mut self) -> Call {
        let at = self.stripe();
        let (keys, tags) = (self.keys(at), self.tags(at));
        let keys = if keys.is_empty() { keys } else { self.some_of(&keys) };
        let tags = tags.into_iter().filter(|_| self.below(2) == 0).collect::<Vec<_>>();
        Call::Unlink(at, keys, tags.into_iter().map(|tag| (tag, self.new_version())).collect())
    }

    fn publish(&mut self) -> Call {
        let at = self.stripe();
        let generation = self.own_or_other(at);
        let snap = self.snap_around(self.fences(at).map(|fences| &fences.snap));
        let time = (!self.once_in(5)).then(|| self.universe.at_base + self.below(9) as u64);
        Call::Publish(at, generation, snap, self.lsn(), time)
    }

    fn settle(&mut self) -> Call {
        let at = self.stripe_with(|stripe| stripe.fences.held().is_some_and(|fences| !fences.xids.is_empty()));
        let all = self.universe.deps_in(self.universe.stripes.all().nth(at).expect("a stripe"));
        let deps: BTreeSet<Dep> = self.some_of(&all).into_iter().filter(|dep| *dep != Dep::All || self.once_in(4)).collect();
        Call::Settle(at, self.own_or_other(at), deps.into_iter().collect())
    }

    /// Mostly opens what is closed, before anything else is tried there.
    fn open_first(&mut self, at: At) -> Option<Call> {
        let is_closed = self.state.stripes[at].open_parts().is_none();
        (is_closed && !self.once_in(3)).then(|| self.open_at(at))
    }

    fn open(&mut self) -> Call {
        let at = self.stripe_with(|stripe| stripe.open_parts().is_none());
        self.open_at(at)
    }

    fn open_at(&mut self, at: At) -> Call {
        let standing = self.ctl(at);
        let expected = if self.once_in(6) {
            Some(self.any_generation()).filter(|_| standing.is_none())
        } else {
            standing.map(|ctl| ctl.generation)
        };
        let source = if self.once_in(2) { self.source(None) } else { standing.map_or(Src(0), |ctl| ctl.source) };
        let snap = self.snap_around(self.fences(at).map(|fences| &fences.snap));
        let all = self.universe.deps_in(self.universe.stripes.all().nth(at).expect("a stripe"));
        let mut fences = BTreeMap::new();
        for dep in all {
            let noted = self.some_xids(self.universe.xid_base..self.universe.xid(XIDS));
            let pending = unseen(noted, &snap);
            if !pending.is_empty() {
                fences.insert(dep, pending);
            }
        }
        let generation = self.new_generation();
        Call::Open(at, Opening { expected, generation, source, snap, hi: self.lsn(), pos: self.lsn(), fences })
    }

    fn place(&mut self) -> Place {
        let at = self.stripe();
        let (keys, tags) = (self.keys(at), self.tags(at));
        match self.below(12) {
            0..3 if !keys.is_empty() => Place::Value(at, self.one_of(&keys)),
            3..6 if !keys.is_empty() => Place::Lease(at, self.one_of(&keys)),
            6 | 7 if !tags.is_empty() => Place::Tag(at, self.one_of(&tags)),
            8 => Place::Ctl(at),
            _ => Place::Fences(at),
        }
    }
}
