//! Each kind of call, made so that it meets what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::Maker;
use crate::model::{
    call::{At, Call, Place},
    compare::{Proof, unseen},
    operations::{Change, Opening, Touch},
    state::{Cell, Dep, Id, Key, Src, Token, Value},
    universe::XIDS,
};

impl Maker<'_> {
    pub(super) fn tag(&mut self) -> Call {
        let at = self.stripe_with(|stripe| !stripe.tags.is_empty());
        if let Some(open) = self.open_first(at) {
            return open;
        }
        let all = self.tags(at);
        Call::Tag(at, self.some_of(&all))
    }

    pub(super) fn lease(&mut self) -> Call {
        let at = self.stripe_with(|stripe| !stripe.values.is_empty());
        if let Some(open) = self.open_first(at) {
            return open;
        }
        let all = self.keys(at);
        let keys = self.some_of(&all);
        Call::Lease(at, keys.into_iter().map(|key| self.wanted(at, key)).collect())
    }

    pub(super) fn wanted(&mut self, at: At, key: Key) -> (Key, Option<Id>, Token) {
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
    pub(super) fn fill(&mut self) -> Call {
        let at = self.stripe_with(|stripe| stripe.leases.values().any(|lease| lease.held().is_some()));
        let leased: Vec<Key> =
            self.keys(at).into_iter().filter(|key| self.state.stripes[at].leases[key].held().is_some()).collect();
        if leased.is_empty() && !self.once_in(6) || self.keys(at).is_empty() {
            return self.lease();
        }
        let all = if leased.is_empty() { self.keys(at) } else { leased };
        let keys = if self.once_in(3) { self.some_of(&all) } else { vec![self.one_of(&all)] };
        let source = self.source(self.ctl(at).map(|ctl| ctl.source));
        let fillings: Vec<_> = keys.into_iter().map(|key| self.filling(at, key)).collect();
        if self.once_in(10) {
            return Call::GiveBack(at, fillings.into_iter().map(|(key, token, _)| (key, token)).collect());
        }
        Call::Fill(at, source, fillings)
    }

    pub(super) fn filling(&mut self, at: At, key: Key) -> (Key, Token, Value) {
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

    pub(super) fn apply(&mut self) -> Call {
        let at =
            if self.below(2) == 0 { self.stripe_with(|stripe| stripe.values.values().any(Cell::exists)) } else { self.stripe() };
        let mut change = self.change(at);
        let deps = self.universe.deps_in(at);
        let filled = self.state.stripes[at].values.iter().filter(|(_, value)| value.exists()).map(|(key, _)| Dep::Key(*key));
        let filled: Vec<_> = filled.collect();
        if self.once_in(2) {
            change.xid = self.uncovered(at).unwrap_or(change.xid);
        }
        let deps = if filled.is_empty() || self.once_in(3) { self.some_of(&deps) } else { self.some_of(&filled) };
        Call::Apply(at, change, deps.into_iter().map(|dep| self.touch(dep, change)).collect())
    }

    /// A transaction that some entry's snapshot does not see.
    pub(super) fn uncovered(&mut self, at: At) -> Option<u64> {
        let snaps: Vec<_> =
            self.state.stripes[at].values.values().filter_map(|value| Some(value.held()?.proof.snap()?.clone())).collect();
        let snap = (!snaps.is_empty()).then(|| self.below(snaps.len())).map(|which| &snaps[which])?;
        let hidden: Vec<_> = unseen(self.universe.xid_base..self.universe.xid(XIDS), snap).into_iter().collect();
        (!hidden.is_empty()).then(|| self.one_of(&hidden))
    }

    pub(super) fn touch(&mut self, dep: Dep, change: Change) -> Touch {
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

    pub(super) fn unlink(&mut self) -> Call {
        let at = self.stripe();
        let (keys, tags) = (self.keys(at), self.tags(at));
        let keys = if keys.is_empty() { keys } else { self.some_of(&keys) };
        let tags = tags.into_iter().filter(|_| self.below(2) == 0).collect::<Vec<_>>();
        Call::Unlink(at, keys, tags.into_iter().map(|tag| (tag, self.new_version())).collect())
    }

    pub(super) fn publish(&mut self) -> Call {
        let at = self.stripe();
        let generation = self.own_or_other(at);
        let snap = self.snap_around(self.fences(at).map(|fences| &fences.snap));
        let time = (!self.once_in(5)).then(|| self.universe.at_base + self.below(9) as u64);
        Call::Publish(at, generation, snap, self.lsn(), time)
    }

    pub(super) fn settle(&mut self) -> Call {
        let at = self.stripe_with(|stripe| stripe.fences.held().is_some_and(|fences| !fences.xids.is_empty()));
        let all = self.universe.deps_in(at);
        let deps: BTreeSet<Dep> = self.some_of(&all).into_iter().filter(|dep| *dep != Dep::All || self.once_in(4)).collect();
        Call::Settle(at, self.own_or_other(at), deps.into_iter().collect())
    }

    /// Mostly opens what is closed, before anything else is tried there.
    pub(super) fn open_first(&mut self, at: At) -> Option<Call> {
        let is_closed = self.state.stripes[at].open_parts().is_none();
        (is_closed && !self.once_in(3)).then(|| self.open_at(at))
    }

    pub(super) fn open(&mut self) -> Call {
        let at = self.stripe_with(|stripe| stripe.open_parts().is_none());
        self.open_at(at)
    }

    pub(super) fn open_at(&mut self, at: At) -> Call {
        let standing = self.ctl(at);
        let expected = if self.once_in(6) {
            Some(self.any_generation()).filter(|_| standing.is_none())
        } else {
            standing.map(|ctl| ctl.generation)
        };
        let source = if self.once_in(2) { self.source(None) } else { standing.map_or(Src(0), |ctl| ctl.source) };
        let snap = self.snap_around(self.fences(at).map(|fences| &fences.snap));
        let all = self.universe.deps_in(at);
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

    pub(super) fn place(&mut self) -> Place {
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
