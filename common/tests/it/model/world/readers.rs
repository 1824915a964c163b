//! What happens to Redis, and those who read through it: ask for tags, lease, read, fill.

use super::{Content, Neglected, PAGE, Reader, Tagged, Truth, World};
use crate::model::{
    compare::{Proof, includes, visible},
    operations::{FillOutcome, LeaseGrant, Leased, TagGrant},
    state::{Cell, Gen, Id, Key, RunId, Src, Tag, Token, Value, Version},
    universe::Universe,
};

impl World {
    pub(super) fn blow(&mut self, how: usize, which: usize) {
        let at = which % self.stripes.len();
        self.tell(|| format!("blow {} in {at}", how % 12));
        match how % 12 {
            0 => self.stripes = self.universe.empty(),
            1..4 => self.saved = self.stripes.clone(),
            4..7 => {
                // Another process on the last file.
                self.stripes = self.saved.clone();
                self.stripes.iter_mut().filter_map(|stripe| stripe.ctl.held_mut()).for_each(|ctl| ctl.run = RunId(1));
            }
            7 => self.stripes[at].ctl = Cell::Absent,
            8 => self.stripes[at].fences = Cell::Absent,
            9 => self.stripes[at].values.values_mut().for_each(|value| *value = Cell::Absent),
            _ => self.stripes[at].tags.values_mut().for_each(|tag| *tag = Cell::Absent),
        }
    }

    pub(super) fn expire(&mut self, which: usize) {
        let key = Universe::KEYS[which % 3];
        let at = self.at_of(key);
        *self.stripes[at].lease(key) = Cell::Absent;
    }

    pub(super) fn at_of(&self, key: Key) -> usize {
        self.universe.stripe_of_key(key).number().into()
    }

    /// A reader's next step, for a row or for the page.
    pub(super) fn read(&mut self, who: usize, how: usize, more: usize) {
        let reader = std::mem::replace(&mut self.reader[who], Reader::Idle);
        self.reader[who] = match reader {
            Reader::Idle if how.is_multiple_of(2) => self.lease(Universe::KEYS[more % 2], Vec::new()),
            Reader::Idle => self.ask_tags().map_or(Reader::Idle, Reader::Tagged),
            Reader::Tagged(tagged) => self.lease(PAGE, tagged),
            Reader::Leased(key, token, grant, tagged) => self.select(key, token, &grant, tagged, more),
            Reader::Read(key, token, generation, proof, content, tagged) => {
                self.fill(key, token, generation, proof, content, tagged);
                Reader::Idle
            }
        };
    }

    pub(super) fn ask_tags(&mut self) -> Option<Tagged> {
        let mut tagged = Vec::new();
        for tag in Universe::TAGS {
            let at = usize::from(self.universe.stripe_of_tag(tag).number());
            let drawn = self.new_version();
            let grant = self.stripes[at].grant_tags(&[tag], &[drawn]).ok()?;
            tagged.push((tag, grant.generation, grant.tags[0].0, grant));
        }
        Some(tagged)
    }

    pub(super) fn lease(&mut self, key: Key, tagged: Tagged) -> Reader {
        let (at, token) = (self.at_of(key), Token(self.fresh()));
        let seen = self.stripes[at].values[&key].held().map(|value| value.id);
        match self.stripes[at].grant_leases(&[(key, seen, token)]) {
            Ok(grant) if grant.outcomes == [Leased::Granted] => {
                self.tell(|| format!("reader: {token:?} on {key:?}: {grant:?}, tags {tagged:?}"));
                Reader::Leased(key, token, grant, tagged)
            }
            _ => Reader::Idle,
        }
    }

    /// Reads the primary, seldom under a snapshot from before the lease, or a standby once it has replayed enough.
    pub(super) fn select(&mut self, key: Key, token: Token, grant: &LeaseGrant, tagged: Tagged, how: usize) -> Reader {
        let (proof, content) = match (how % 8, &self.old) {
            (0, Some((snap, content))) => (Proof::Snap(snap.clone()), content.clone()),
            (1 | 2, _) => {
                let replayed = how / 8 % (self.log.len() + 1);
                if self.end(replayed) < grant.hi && !self.skips(Neglected::StandbyWaits) {
                    return Reader::Leased(key, token, grant.clone(), tagged);
                }
                (Proof::Lsn(self.end(replayed)), self.log[..replayed].iter().copied().collect())
            }
            _ => (Proof::Snap(self.snapshot()), self.seen()),
        };
        Reader::Read(key, token, grant.generation, proof, content, tagged)
    }

    pub(super) fn fill(&mut self, key: Key, token: Token, generation: Gen, mut proof: Proof, content: Content, mut tagged: Tagged) {
        let allows = |(_, _, _, grant): &(Tag, Gen, Version, TagGrant)| match &proof {
            Proof::Snap(snap) => includes(snap, &grant.snap) && grant.tags[0].1.iter().all(|xid| visible(*xid, snap)),
            Proof::Lsn(lsn) => *lsn >= grant.hi,
        };
        if !self.skips(Neglected::PageTested) && !tagged.iter().all(allows) {
            return;
        }
        if self.skips(Neglected::StandbyWaits)
            && let Proof::Lsn(lsn) = &mut proof
        {
            *lsn = self.universe.lsn(100); // asked for after the read, when the standby had come further
        }
        if self.skips(Neglected::TagsBeforeRead) && key == PAGE {
            let Some(late) = self.ask_tags() else { return };
            tagged = late;
        }
        let (at, id) = (self.at_of(key), Id(self.fresh()));
        let standing =
            |tag: Tag| self.stripes[usize::from(self.universe.stripe_of_tag(tag).number())].ctl.held().map(|ctl| ctl.generation);
        let kept = |tag: Tag, answered: Gen| {
            if self.skips(Neglected::PageKeepsTagGeneration) { standing(tag).unwrap_or(answered) } else { answered }
        };
        let tags = tagged.into_iter().map(|(tag, answered, version, _)| (tag, kept(tag, answered), version)).collect();
        let value = Value { id, generation, proof, read_at: 0 };
        let outcome = self.stripes[at].fill(Src(0), key, token, &value);
        self.tell(|| format!("reader: fill of {key:?} with {value:?}, which holds {content:?}: {outcome:?}"));
        if outcome == FillOutcome::Filled {
            self.truths.insert(id, Truth { content, tags });
            self.filled += 1;
        }
    }
}
