//! What the operations do (protocol.md §3): each a step on one stripe, written from that text and not from the scripts.
//!
//! Where the text is silent: what is garbled counts as lost, so garbled `ctl` or fences are closed, and a garbled entry, lease or
//! tag is a miss that the next writer replaces.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    compare::{Lsn, Proof, Snap, Xid, covers, includes, unseen, visible},
    state::{Cell, Ctl, Dep, Fences, Gen, Id, Key, Lease, RunId, Src, Stripe, Tag, Token, Value, Version},
    universe,
};

/// The Redis process that every caller's link leads to.
pub const RUN: RunId = RunId(0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// What `tag` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagGrant {
    pub generation: Gen,
    pub snap: Snap,
    pub hi: Lsn,
    pub tags: Vec<(Version, BTreeSet<Xid>)>,
}

/// What `lease` answers; its time is checked where Redis is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseGrant {
    pub generation: Gen,
    pub hi: Lsn,
    pub outcomes: Vec<Leased>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leased {
    Granted,
    Hit,
    Busy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FillOutcome {
    Filled,
    Lost,
    Closed,
    Old,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpenOutcome {
    Opened,
    Closed,
    Stop,
}

/// One dependency that a change touches.
#[derive(Debug, Clone)]
pub enum Touch {
    Key(Key, Option<Value>),
    Tag(Tag, Version),
    All,
}

/// A change, and the generation of the applier that brings it.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub generation: Option<Gen>,
    pub xid: Xid,
    pub end: Lsn,
}

/// What `open` is given.
#[derive(Debug, Clone)]
pub struct Opening {
    pub expected: Option<Gen>,
    pub generation: Gen,
    pub source: Src,
    pub snap: Snap,
    pub hi: Lsn,
    pub pos: Lsn,
    pub fences: BTreeMap<Dep, BTreeSet<Xid>>,
}

impl Stripe {
    /// `ctl` and fences, unless "ctl missing, ctl.run ≠ run or fences[.gen] ≠ ctl.gen: CLOSED".
    pub fn open_parts(&self) -> Option<(&Ctl, &Fences)> {
        let (ctl, fences) = (self.ctl.held()?, self.fences.held()?);
        (ctl.run == RUN && fences.generation == ctl.generation).then_some((ctl, fences))
    }

    /// `drawn`: for each tag, the version to set where it has none.
    pub fn grant_tags(&mut self, tags: &[Tag], drawn: &[Version]) -> Result<TagGrant, Closed> {
        let fences = self.open_parts().ok_or(Closed)?.1.clone();
        let mut granted = Vec::new();
        for (tag, drawn) in tags.iter().zip(drawn) {
            let cell = self.tag(*tag);
            let version = cell.held().copied().unwrap_or(*drawn);
            *cell = Cell::Holds(version);
            granted.push((version, unseen(fences.of(Dep::Tag(*tag)), &fences.snap)));
        }
        Ok(TagGrant { generation: fences.generation, snap: fences.snap, hi: fences.hi, tags: granted })
    }

    pub fn grant_leases(&mut self, wanted: &[(Key, Option<Id>, Token)]) -> Result<LeaseGrant, Closed> {
        let fences = self.open_parts().ok_or(Closed)?.1.clone();
        let outcomes = wanted.iter().map(|(key, seen, token)| self.lease_one(&fences, *key, *seen, *token)).collect();
        Ok(LeaseGrant { generation: fences.generation, hi: fences.hi, outcomes })
    }

    fn lease_one(&mut self, fences: &Fences, key: Key, seen: Option<Id>, token: Token) -> Leased {
        if self.values[&key].held().is_some_and(|value| value.generation == fences.generation && Some(value.id) != seen) {
            return Leased::Hit;
        }
        if self.leases[&key].held().is_some() {
            return Leased::Busy;
        }
        let xids = unseen(fences.of(Dep::Key(key)), &fences.snap);
        let (generation, snap, hi) = (fences.generation, fences.snap.clone(), fences.hi);
        *self.lease(key) = Cell::Holds(Lease { token, generation, snap, xids, hi });
        Leased::Granted
    }

    pub fn fill(&mut self, source: Src, key: Key, token: Token, entry: &Value) -> FillOutcome {
        let Some(lease) = self.leases[&key].held().filter(|lease| lease.token == token).cloned() else { return FillOutcome::Lost };
        *self.lease(key) = Cell::Absent;
        let fits = |ctl: &&Ctl| ctl.run == RUN && ctl.generation == lease.generation && ctl.source == source;
        if self.ctl.held().filter(fits).is_none() {
            return FillOutcome::Closed;
        }
        let is_proven = match &entry.proof {
            Proof::Snap(snap) => includes(snap, &lease.snap) && lease.xids.iter().all(|x| visible(*x, snap)),
            Proof::Lsn(lsn) => *lsn >= lease.hi,
        };
        if !is_proven {
            return FillOutcome::Old;
        }
        *self.value(key) = Cell::Holds(Value { generation: lease.generation, ..entry.clone() });
        FillOutcome::Filled
    }

    /// A lease that will not be used; its end is as if it had run out.
    pub fn give_back(&mut self, key: Key, token: Token) {
        if self.leases[&key].held().is_some_and(|lease| lease.token == token) {
            *self.lease(key) = Cell::Absent;
        }
    }

    /// How many values were removed, and how many replaced.
    pub fn apply(&mut self, change: Change, touched: &[Touch]) -> (u64, u64) {
        let (mut removed, mut replaced) = (0, 0);
        for touch in touched {
            match touch {
                Touch::Key(key, image) => {
                    let was = self.values[key].clone();
                    self.apply_to_value(change, *key, image.as_ref());
                    let now = &self.values[key];
                    removed += u64::from(was.exists() && !now.exists());
                    replaced += u64::from(now.exists() && was != *now);
                    if let Some(lease) = self.lease(*key).held_mut() {
                        lease.xids.insert(change.xid);
                        lease.hi = lease.hi.max(change.end);
                    }
                }
                Touch::Tag(tag, version) if self.tags[tag].exists() => *self.tag(*tag) = Cell::Holds(*version),
                Touch::Tag(..) | Touch::All => {}
            }
            self.fence(change, touch.dep());
        }
        (removed, replaced)
    }

    fn apply_to_value(&mut self, change: Change, key: Key, image: Option<&Value>) {
        let serves = self.ctl.held().is_some_and(|ctl| Some(ctl.generation) == change.generation);
        let cell = self.value(key);
        match (&*cell, image) {
            (Cell::Absent, _) => {}
            (Cell::Holds(value), _) if covers(&value.proof, change.xid, change.end) => {}
            // "same gen": the entry's own stays. An image of this generation over an entry of another would serve what it may not.
            (Cell::Holds(value), Some(image)) if serves && Some(value.generation) == change.generation => {
                *cell = Cell::Holds(Value { read_at: 0, ..image.clone() });
            }
            (Cell::Garbage | Cell::Holds(_), _) => *cell = Cell::Absent,
        }
    }

    fn fence(&mut self, change: Change, dep: Dep) {
        let Some(fences) = self.fences.held_mut().filter(|fences| Some(fences.generation) == change.generation) else { return };
        fences.hi = fences.hi.max(change.end);
        if !visible(change.xid, &fences.snap) {
            fences.add(dep, change.xid);
        }
    }

    /// The fast path's first step.
    pub fn raise(&mut self, generation: Gen, end: Lsn) {
        if let Some(fences) = self.fences.held_mut().filter(|fences| fences.generation == generation) {
            fences.hi = fences.hi.max(end);
        }
    }

    /// The fast path's second step: `UNLINK l:key v:key …`, then `touch`, which is `SET t:tag random XX KEEPTTL`.
    pub fn unlink(&mut self, keys: &[Key], tags: &[(Tag, Version)]) {
        for key in keys {
            *self.lease(*key) = Cell::Absent;
            *self.value(*key) = Cell::Absent;
        }
        for (tag, version) in tags {
            if self.tags[tag].exists() {
                *self.tag(*tag) = Cell::Holds(*version);
            }
        }
    }

    /// `ctl` and fences, unless "ctl.gen ≠ gen, ctl.run ≠ run or fences[.gen] ≠ gen: CLOSED".
    fn own_parts(&mut self, generation: Gen) -> Result<(&mut Ctl, &mut Fences), Closed> {
        let ctl = self.ctl.held_mut().filter(|ctl| ctl.generation == generation && ctl.run == RUN).ok_or(Closed)?;
        let fences = self.fences.held_mut().filter(|fences| fences.generation == generation).ok_or(Closed)?;
        Ok((ctl, fences))
    }

    pub fn publish(&mut self, generation: Gen, snap: &Snap, pos: Lsn, at: u64) -> Result<Snap, Closed> {
        let (ctl, fences) = self.own_parts(generation)?;
        if includes(snap, &fences.snap) {
            fences.snap = snap.clone();
        }
        ctl.pos = ctl.pos.max(pos);
        ctl.at = ctl.at.max(at);
        Ok(fences.snap.clone())
    }

    /// How many of these dependencies still hold something. `*` is settled whether it is among them or not.
    pub fn settle(&mut self, generation: Gen, deps: &[Dep]) -> Result<u64, Closed> {
        let (_, fences) = self.own_parts(generation)?;
        for dep in deps.iter().chain([&Dep::All]) {
            let left = unseen(fences.xids.remove(dep).unwrap_or_default(), &fences.snap);
            if !left.is_empty() {
                fences.xids.insert(*dep, left);
            }
        }
        Ok(deps.iter().filter(|dep| fences.xids.contains_key(dep)).count() as u64)
    }

    pub fn open(&mut self, opening: &Opening) -> OpenOutcome {
        if self.ctl.held().map(|ctl| ctl.generation) != opening.expected {
            return OpenOutcome::Closed;
        }
        if self.ctl.held().is_some_and(|ctl| universe::deposes(ctl.source, opening.source)) {
            return OpenOutcome::Stop;
        }
        let Opening { generation, source, ref snap, hi, pos, ref fences, .. } = *opening;
        self.fences = Cell::Holds(Fences { generation, snap: snap.clone(), hi, xids: fences.clone() });
        self.ctl = Cell::Holds(Ctl { generation, run: RUN, source, pos, at: 0 });
        OpenOutcome::Opened
    }

    pub fn bump(&mut self, new: Gen, change: Change) -> Result<(), Closed> {
        let (Some(ctl), Some(fences)) = (self.ctl.held_mut(), self.fences.held_mut()) else { return Err(Closed) };
        if Some(ctl.generation) != change.generation || Some(fences.generation) != change.generation {
            return Err(Closed);
        }
        (ctl.generation, fences.generation) = (new, new);
        if !visible(change.xid, &fences.snap) {
            fences.add(Dep::All, change.xid);
        }
        fences.hi = fences.hi.max(change.end);
        Ok(())
    }
}

impl Touch {
    pub fn dep(&self) -> Dep {
        match self {
            Self::Key(key, _) => Dep::Key(*key),
            Self::Tag(tag, _) => Dep::Tag(*tag),
            Self::All => Dep::All,
        }
    }
}
