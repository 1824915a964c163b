//! Throws of the dice, and what they choose of: stripes, numbers, identities.

use super::Maker;
use crate::model::{
    call::At,
    compare::Lsn,
    operations::Change,
    state::{Ctl, Fences, Gen, Id, Key, Src, Stripe, Tag, Version},
    universe::{LSNS, SOURCES, XIDS},
};

impl<'a> Maker<'a> {
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.dice.next().map_or(0, |die| usize::from(*die) % count)
    }

    /// Seldom: once in `count`.
    pub(super) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) + 1 == count
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// One to three of `all`, perhaps one of them twice.
    pub(super) fn some_of<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        (0..=self.below(3)).map(|_| self.one_of(all)).collect()
    }

    pub(super) fn stripe(&mut self) -> At {
        self.below(self.state.stripes.len())
    }

    pub(super) fn stripe_with(&mut self, has: impl Fn(&Stripe) -> bool) -> At {
        let fitting: Vec<At> = (0..self.state.stripes.len()).filter(|at| has(&self.state.stripes[*at])).collect();
        if fitting.is_empty() { self.stripe() } else { self.one_of(&fitting) }
    }

    pub(super) fn keys(&self, at: At) -> Vec<Key> {
        self.state.stripes[at].values.keys().copied().collect()
    }

    pub(super) fn tags(&self, at: At) -> Vec<Tag> {
        self.state.stripes[at].tags.keys().copied().collect()
    }

    pub(super) fn ctl(&self, at: At) -> Option<&'a Ctl> {
        self.state.stripes[at].ctl.held()
    }

    pub(super) fn fences(&self, at: At) -> Option<&'a Fences> {
        self.state.stripes[at].fences.held()
    }

    pub(super) fn xid(&mut self) -> u64 {
        self.universe.xid(self.below(XIDS as usize) as u64)
    }

    pub(super) fn lsn(&mut self) -> Lsn {
        self.universe.lsn(self.below(LSNS as usize) as u64)
    }

    pub(super) fn new_generation(&mut self) -> Gen {
        self.memory.generations += 1;
        Gen(self.memory.generations)
    }

    pub(super) fn any_generation(&mut self) -> Gen {
        Gen(self.below(usize::from(self.memory.generations) + 1) as u8)
    }

    /// The generation of the stripe, or of its fences, or another one.
    pub(super) fn own_or_other(&mut self, at: At) -> Gen {
        let standing = self.ctl(at).map(|ctl| ctl.generation).or(self.fences(at).map(|fences| fences.generation));
        match standing {
            Some(standing) if !self.once_in(8) => standing,
            _ => self.any_generation(),
        }
    }

    pub(super) fn new_id(&mut self) -> Id {
        self.memory.ids += 1;
        Id(self.memory.ids)
    }

    pub(super) fn new_version(&mut self) -> Version {
        self.memory.versions += 1;
        Version(u128::from(self.memory.versions).to_be_bytes())
    }

    pub(super) fn source(&mut self, standing: Option<Src>) -> Src {
        match standing {
            Some(standing) if !self.once_in(10) => standing,
            _ if self.below(3) == 0 => Src(2), // the one that deposes others
            _ => Src(self.below(SOURCES.len()) as u8),
        }
    }

    pub(super) fn change(&mut self, at: At) -> Change {
        let generation = if self.once_in(12) { None } else { Some(self.own_or_other(at)) };
        Change { generation, xid: self.xid(), end: self.lsn() }
    }
}
