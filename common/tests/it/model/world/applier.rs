//! The applier: replays the log from what was acknowledged, applies, polls, publishes, opens, settles, acknowledges, dies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Applier, Command, Kind, Neglected, PAGE, Poll, Truth, World};
use crate::model::{
    compare::{Proof, Xid, visible},
    operations::{Change, OpenOutcome, Opening, Touch},
    state::{Dep, Gen, Id, Key, Src, Stripe, Value, Version},
};

impl World {
    pub(super) fn applier_starts(&mut self) {
        self.tell(|| "an applier starts".into());
        let acknowledged = self.applier.acknowledged;
        let adopted = |stripe: &Stripe| stripe.open_parts().map(|(ctl, _)| ctl.generation);
        self.applier = Applier {
            acknowledged,
            applied: acknowledged,
            replayed_at: self.log.len(),
            generations: self.stripes.iter().map(adopted).collect(),
            published: vec![None; self.stripes.len()],
            ..Applier::default()
        };
    }

    pub(super) fn polled(&self) -> Poll {
        Poll { time: self.clock, log_len: self.log.len(), snap: self.snapshot() }
    }

    /// Notes the next transaction and all it touches, or sends the next command of the one under way.
    pub(super) fn apply_next(&mut self) {
        let Some(tx) = self.log.get(self.applier.applied).copied() else { return };
        if self.applier.under_way.is_empty() {
            let deps = self.txs[tx].deps.iter().copied().chain((self.txs[tx].kind != Kind::Plain).then_some(Dep::All)).collect();
            self.applier.noted.insert(tx, deps);
            self.applier.under_way = self.commands(tx);
        }
        if let Some((at, command)) = self.applier.under_way.pop_front() {
            self.carry_out(tx, at, command);
        }
        if self.applier.under_way.is_empty() {
            self.applier.applied += 1;
        }
    }

    pub(super) fn commands(&self, tx: usize) -> VecDeque<(usize, Command)> {
        let mut commands = VecDeque::new();
        for (at, stripe) in self.stripes.iter().enumerate() {
            let touches = |dep: &Dep| match dep {
                Dep::Key(key) => stripe.values.contains_key(key),
                Dep::Tag(tag) => stripe.tags.contains_key(tag),
                Dep::All => false,
            };
            let deps: Vec<_> = self.txs[tx].deps.iter().copied().filter(touches).collect();
            let polled = self.applier.poll.as_ref().map(|poll| &poll.snap).filter(|_| self.skips(Neglected::FastPublished));
            let is_visible = polled.or(self.applier.published[at].as_ref()).is_some_and(|snap| visible(self.xid(tx), snap));
            match self.txs[tx].kind {
                Kind::Truncate => commands.push_back((at, Command::Bump)),
                _ if deps.is_empty() => {}
                Kind::Plain if is_visible && self.applier.generations[at].is_some() => {
                    commands.extend([(at, Command::Raise), (at, Command::Unlink(deps))]);
                }
                Kind::Plain => commands.push_back((at, Command::Apply(deps))),
                Kind::Giant => {
                    let fence = (at, Command::Apply(vec![Dep::All]));
                    let removals = (at, Command::Apply(deps));
                    commands.extend(if self.skips(Neglected::GiantFencesFirst) { [removals, fence] } else { [fence, removals] });
                }
            }
        }
        commands
    }

    pub(super) fn carry_out(&mut self, tx: usize, at: usize, command: Command) {
        let change = self.change(tx, self.applier.generations[at]);
        self.tell(|| format!("applier: {command:?} in {at} for {change:?}"));
        match command {
            Command::Raise => {
                if let Some(generation) = change.generation {
                    self.stripes[at].raise(generation, change.end);
                }
            }
            Command::Bump => {
                let new = self.new_generation();
                if self.stripes[at].bump(new, change).is_ok() {
                    self.applier.generations[at] = Some(new);
                    self.emptied(tx, at);
                } else {
                    self.applier.pending_bumps.insert((at, tx));
                }
            }
            Command::Unlink(deps) => {
                let keys: Vec<_> = deps.iter().filter_map(|dep| if let Dep::Key(key) = dep { Some(*key) } else { None }).collect();
                let tags: Vec<_> = deps
                    .iter()
                    .filter_map(|dep| if let Dep::Tag(tag) = dep { Some((*tag, self.new_version())) } else { None })
                    .collect();
                self.stripes[at].unlink(&keys, &tags);
                self.done.extend(deps.into_iter().map(|dep| (tx, dep)));
            }
            Command::Apply(deps) => {
                let is_giant = self.txs[tx].kind == Kind::Giant;
                let mut touched = Vec::new();
                for dep in &deps {
                    touched.push(match dep {
                        Dep::Key(key) => Touch::Key(
                            *key,
                            change.generation.filter(|_| !is_giant).map(|generation| self.image(*key, change, generation)),
                        ),
                        Dep::Tag(tag) => Touch::Tag(*tag, self.new_version()),
                        Dep::All => Touch::All,
                    });
                }
                // A giant fences its keys by the wildcard alone: without a generation, the rest only removes.
                let change = if is_giant && deps != [Dep::All] { Change { generation: None, ..change } } else { change };
                self.stripes[at].apply(change, &touched);
                self.done.extend(deps.into_iter().map(|dep| (tx, dep)));
            }
        }
    }

    /// A new generation has emptied a stripe for this transaction.
    pub(super) fn emptied(&mut self, tx: usize, at: usize) {
        let deps = self.universe.deps_in(at);
        self.done.extend(deps.into_iter().filter(|dep| self.txs[tx].deps.contains(dep)).map(|dep| (tx, dep)));
    }

    /// The row as the event shows it, for one row in two: every change of it up to this one.
    pub(super) fn image(&mut self, key: Key, change: Change, generation: Gen) -> Value {
        let log_len = usize::try_from(change.end - self.universe.lsn_base).expect("a place in the log");
        let content = self.log[..log_len].iter().copied().collect();
        let id = Id(self.fresh());
        self.truths.insert(id, Truth { content, tags: Vec::new() });
        assert_ne!(key, PAGE, "a page has no image");
        Value { id, generation, proof: Proof::Lsn(change.end), read_at: 0 }
    }

    pub(super) fn new_generation(&mut self) -> Gen {
        Gen(u8::try_from(self.fresh() % 250).expect("below 250") + 1)
    }

    pub(super) fn new_version(&mut self) -> Version {
        Version(u128::from(self.fresh()).to_be_bytes())
    }

    pub(super) fn publish(&mut self, at: usize) {
        let Some(generation) = self.applier.generations[at] else { return self.open(at) };
        let Some(Poll { time, log_len, snap }) = self.applier.poll.clone() else { return };
        let (mut pos, reached) = (self.applier.applied, self.applier.applied >= log_len);
        if self.skips(Neglected::PublishReached) {
            pos = log_len;
        } else if !reached {
            return;
        }
        let pos = self.end(pos);
        match self.stripes[at].publish(generation, &snap, pos, time) {
            Ok(standing) => {
                self.tell(|| format!("applier: publishes {snap:?} in {at}, {standing:?} stands"));
                self.applier.published[at] = Some(standing);
            }
            Err(_) => self.applier.generations[at] = None,
        }
    }

    pub(super) fn open(&mut self, at: usize) {
        if self.applier.applied < self.applier.replayed_at && !self.skips(Neglected::ReplayBeforeOpen) {
            return;
        }
        let (snap, mut fences) = (self.snapshot(), BTreeMap::<Dep, BTreeSet<Xid>>::new());
        let local = self.universe.deps_in(at);
        for (tx, deps) in &self.applier.noted {
            let pending = !visible(self.xid(*tx), &snap) && !self.skips(Neglected::OpenWithPending);
            for dep in deps.iter().filter(|dep| pending && local.contains(dep)) {
                fences.entry(*dep).or_default().insert(self.xid(*tx));
            }
        }
        let begun = self.applier.applied + usize::from(!self.applier.under_way.is_empty());
        let hi = if self.skips(Neglected::OpenWithHi) { 0 } else { begun };
        let opening = Opening {
            expected: self.stripes[at].ctl.held().map(|ctl| ctl.generation),
            generation: self.new_generation(),
            source: Src(0),
            snap,
            hi: self.end(hi),
            pos: self.end(self.applier.applied),
            fences,
        };
        if self.stripes[at].open(&opening) == OpenOutcome::Opened {
            self.tell(|| format!("applier: opens {at} with {opening:?}"));
            self.applier.generations[at] = Some(opening.generation);
            let emptied = self.applier.pending_bumps.extract_if((at, 0)..(at + 1, 0), |_| true).collect::<Vec<_>>();
            emptied.into_iter().for_each(|(at, tx)| self.emptied(tx, at));
            self.applier.published[at] = None;
        }
    }

    pub(super) fn settle(&mut self, at: usize) {
        let local = self.universe.deps_in(at);
        if let Some(generation) = self.applier.generations[at]
            && self.stripes[at].settle(generation, &local).is_err()
        {
            self.applier.generations[at] = None;
        }
    }

    /// Acknowledges as much of the log as is applied and visible in a polled snapshot.
    pub(super) fn acknowledge(&mut self) {
        let Some(snap) = self.applier.poll.as_ref().map(|poll| poll.snap.clone()) else { return };
        let is_visible = |tx: &usize| visible(self.xid(*tx), &snap) || self.skips(Neglected::AcknowledgeVisible);
        let is_done = |tx: &&usize| is_visible(tx) && !self.applier.pending_bumps.iter().any(|(_, pending)| pending == *tx);
        let count = self.log[..self.applier.applied].iter().take_while(is_done).count();
        self.applier.acknowledged = self.applier.acknowledged.max(count);
        let acknowledged: BTreeSet<_> = self.log[..count].iter().copied().collect();
        self.applier.noted.retain(|tx, _| !acknowledged.contains(tx));
    }
}
