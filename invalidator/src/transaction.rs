//! Transactions put together from planned steps: held until their commit, or let through as they come where they are too large.

use std::sync::Arc;

use freshline::{
    change::{Beginning, Place},
    coherence::{CacheKey, Lsn, NarrowXid, Stripes, Tag},
    shard::Shard,
    telemetry::trace::SpanContext,
};

use crate::plan::Image;

/// A transaction with more dependencies than this is not held: its xid goes into the wildcard fence, and it only removes.
pub const HELD_MAX: usize = 1_000;

/// The bytes of rows that are held for one transaction, to replace entries with. Further entries are removed, and not replaced.
const IMAGE_BYTES_MAX: usize = 4 << 20;

/// What one change does to one dependency.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Remove the value of a key, or replace an older one by this image.
    Key(CacheKey, Option<Arc<Image>>),
    /// Give a tag a new version.
    Tag(Tag),
}

impl Effect {
    fn drop_image(&mut self) {
        if let Self::Key(_, image) = self {
            *image = None;
        }
    }
}

/// The end of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// The end of its commit record, or a later position.
    pub lsn: Lsn,
    /// Whether it is its own.
    pub is_exact: bool,
    /// To be acknowledged.
    pub place: Place,
}

/// How a transaction came about. It is told of, and nothing is decided by it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written {
    /// When it was committed, in µs since 1970 by Postgres's clock.
    pub at_us: Option<i64>,
    /// When its end, or what is known of it so far, was taken from the source, in µs since 1970 by this process's clock.
    pub received_us: Option<i64>,
    /// The span that wrote it, where that is traced.
    pub by: Option<SpanContext>,
}

/// One planned step.
#[derive(Debug, Clone)]
pub enum Step {
    /// A transaction begins, that was committed at this time: see [`Written`].
    Begin(NarrowXid, Option<i64>),
    /// This span wrote it.
    WrittenBy(SpanContext),
    /// It touches a dependency.
    Touch(Effect),
    /// It touches everything.
    Bump,
    /// It ends here.
    Commit(End),
    /// Everything below this has been delivered. Outside transactions only.
    Reached(Lsn, Place),
    /// Everything that the log held when the session began has been delivered. Outside transactions only.
    CaughtUp,
    /// Something before this may never be delivered. Outside transactions only.
    Hole(Beginning),
}

/// Work for the applier, in the order of the stream.
#[derive(Debug)]
pub enum Work {
    /// A whole transaction.
    Whole {
        /// Its id.
        xid: NarrowXid,
        /// The end of its commit.
        end: End,
        /// What it touches.
        effects: Vec<Effect>,
        /// Whether it touches everything besides.
        bumps: bool,
        /// How it came about.
        written: Written,
    },
    /// A transaction is too large to be held: fence everything before the first of its parts.
    GiantBegins(NarrowXid),
    /// Some of what it touches.
    GiantPart(Vec<Effect>),
    /// It ends.
    GiantEnds {
        /// The end of its commit.
        end: End,
        /// Whether it touches everything besides.
        bumps: bool,
        /// How it came about.
        written: Written,
    },
    /// Everything below this has been delivered.
    Reached(Lsn, Place),
    /// Everything that the log held when the session began has been delivered.
    CaughtUp,
    /// Something before this may never be delivered.
    Hole(Beginning),
}

/// Puts steps together.
#[derive(Debug)]
pub struct Assembler {
    stripes: Stripes,
    shard: Shard,
    open: Option<Open>,
    received_us: Option<i64>,
}

#[derive(Debug)]
struct Open {
    xid: NarrowXid,
    effects: Vec<Effect>,
    image_bytes: usize,
    is_giant: bool,
    bumps: bool,
    written: Written,
}

impl Assembler {
    /// An assembler for the share of these stripes that is ours; what touches others is left to their shards.
    pub fn new(stripes: Stripes, shard: Shard) -> Self {
        Self { stripes, shard, open: None, received_us: None }
    }

    /// What is taken from now on came from the source at this time, in µs since 1970.
    pub fn received(&mut self, at_us: Option<i64>) {
        self.received_us = at_us;
    }

    /// Takes one step, and adds the work that it completes.
    pub fn take(&mut self, step: Step, work: &mut Vec<Work>) {
        match (step, &mut self.open) {
            (Step::Begin(xid, at_us), open) => {
                let written = Written { at_us, received_us: None, by: None };
                *open = Some(Open { xid, effects: Vec::new(), image_bytes: 0, is_giant: false, bumps: false, written })
            }
            (Step::WrittenBy(span), Some(open)) => open.written.by = Some(span),
            (Step::Touch(effect), Some(_)) if !self.shard.has(self.stripes.of(effect.name())) => {}
            (Step::Touch(effect), Some(open)) => open.touch(effect, work),
            (Step::Bump, Some(open)) => open.bumps = true,
            (Step::Commit(end), open) => {
                let received_us = self.received_us;
                work.extend(open.take().map(|open| open.commit(end, received_us)).into_iter().flatten());
            }
            (Step::Reached(position, place), None) => work.push(Work::Reached(position, place)),
            (Step::CaughtUp, None) => work.push(Work::CaughtUp),
            (Step::Hole(beginning), None) => work.push(Work::Hole(beginning)),
            // The decoder refuses rows outside transactions; a position inside one says nothing yet.
            (Step::Touch(_) | Step::Bump | Step::WrittenBy(_), None)
            | (Step::Reached(..) | Step::CaughtUp | Step::Hole(_), Some(_)) => {}
        }
    }

    /// Hands on what has come of a giant, so that nothing of it is held between batches.
    pub fn flush(&mut self, work: &mut Vec<Work>) {
        if let Some(open) = self.open.as_mut().filter(|open| open.is_giant && !open.effects.is_empty()) {
            work.push(Work::GiantPart(std::mem::take(&mut open.effects)));
        }
    }
}

impl Open {
    fn touch(&mut self, effect: Effect, work: &mut Vec<Work>) {
        let effect = self.lightened(effect);
        self.effects.push(effect);
        if self.effects.len() > HELD_MAX {
            if !std::mem::replace(&mut self.is_giant, true) {
                work.push(Work::GiantBegins(self.xid));
            }
            work.push(Work::GiantPart(std::mem::take(&mut self.effects)));
        }
    }

    /// A giant only removes, and no transaction holds more rows than fit.
    fn lightened(&mut self, effect: Effect) -> Effect {
        let Effect::Key(key, Some(image)) = effect else { return effect };
        self.image_bytes = self.image_bytes.saturating_add(image.size());
        let is_kept = !self.is_giant && self.image_bytes <= IMAGE_BYTES_MAX;
        Effect::Key(key, is_kept.then_some(image))
    }

    fn commit(self, end: End, received_us: Option<i64>) -> Vec<Work> {
        let Self { xid, mut effects, is_giant, bumps, written, .. } = self;
        let written = Written { received_us, ..written };
        if !end.is_exact {
            // Proven by a later position, an image would hide the next change.
            effects.iter_mut().for_each(Effect::drop_image);
        }
        if !is_giant {
            return vec![Work::Whole { xid, end, effects, bumps, written }];
        }
        vec![Work::GiantPart(effects), Work::GiantEnds { end, bumps, written }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(position: u64) -> Lsn {
        Lsn::new(position).expect("small")
    }

    fn end(position: u64) -> End {
        End { lsn: lsn(position), is_exact: true, place: Place(position) }
    }

    fn assemble(steps: impl IntoIterator<Item = Step>) -> Vec<Work> {
        let (mut assembler, mut work) =
            (Assembler::new(Stripes::new("t", 1).expect("a layout"), "1/1".parse().expect("all")), Vec::new());
        for step in steps {
            assembler.take(step, &mut work);
        }
        work
    }

    fn touches(count: usize) -> impl Iterator<Item = Step> {
        (0..count).map(|n| Step::Touch(Effect::Key(CacheKey::new(format!("k{n}")), None)))
    }

    #[test]
    fn a_transaction_is_held_until_its_commit() {
        let begin = [Step::Begin(NarrowXid(7), None)];
        assert_eq!(assemble(begin.clone().into_iter().chain(touches(HELD_MAX))).len(), 0);
        let work = assemble(begin.into_iter().chain(touches(HELD_MAX)).chain([Step::Commit(end(9))]));
        assert!(matches!(work.as_slice(), [Work::Whole { effects, bumps: false, .. }] if effects.len() == HELD_MAX));
    }

    #[test]
    fn a_giant_is_announced_before_its_first_part_and_loses_nothing() {
        let steps = [Step::Begin(NarrowXid(7), None)]
            .into_iter()
            .chain(touches(2 * HELD_MAX + 50))
            .chain([Step::Bump, Step::Commit(end(9))]);
        let work = assemble(steps);
        assert!(matches!(work.first(), Some(Work::GiantBegins(NarrowXid(7)))));
        assert!(matches!(work.last(), Some(Work::GiantEnds { bumps: true, .. })));
        let parts = work.iter().map(|work| if let Work::GiantPart(effects) = work { effects.len() } else { 0 });
        assert_eq!(parts.sum::<usize>(), 2 * HELD_MAX + 50);
    }

    #[test]
    fn a_position_inside_a_transaction_is_not_handed_on() {
        let work = assemble([
            Step::Begin(NarrowXid(7), None),
            Step::Reached(lsn(5), Place(5)),
            Step::Commit(end(9)),
            Step::Reached(lsn(12), Place(12)),
        ]);
        assert!(matches!(work.as_slice(), [Work::Whole { .. }, Work::Reached(position, _)] if *position == lsn(12)));
    }
}
