//! `Reading::judge` against the text of protocol.md's "read", over a small world in which every rule is met and missed often.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use freshline::coherence::{
    Control, ETag, Entry, Proof, ProvenBy, Reading, RedisTime, Refusal, Run, TagReading, TagStamp, TagVersion, Token,
};
use proptest::prelude::*;

use super::{
    compare::{self, Snap},
    runner,
    state::{Gen, Id},
    universe::{self, SOURCES},
};

const READINGS: u32 = 4000;

/// What one read asks for and finds.
#[derive(Debug, Clone)]
struct Found {
    now: u64,
    max_staleness: u64,
    token: Option<Token>,
    control: Option<Control>,
    tags: Vec<(TagStamp, Option<Control>, Option<TagVersion>, u16)>,
    entry: Option<Entry>,
    /// The entry names one tag less than its reader does.
    lacks_a_tag: bool,
}

fn run(n: u8) -> Run {
    Run::from_info(&format!("run_id:{n:040}\r\n")).expect("40 digits")
}

/// The first of some, mostly.
fn mostly<T: Clone + std::fmt::Debug + 'static>(usual: T, others: Vec<T>) -> impl Strategy<Value = T> {
    prop_oneof![4 => Just(usual), 1 => proptest::sample::select(others)]
}

prop_compose! {
    fn controls()(
        generation in mostly(1, vec![2]), process in mostly(0, vec![1]), position in 0_u64..6, at in 0_u64..12, source in mostly(0, vec![1, 2, 3]),
    ) -> Control {
        Control {
            generation: universe::generation(Gen(generation)),
            run: run(process),
            position: universe::lsn(position),
            at: RedisTime::from_micros(at),
            source: SOURCES[source],
        }
    }
}

fn maybe_control() -> impl Strategy<Value = Option<Control>> {
    prop_oneof![9 => controls().prop_map(Some), 1 => Just(None)]
}

fn proofs() -> impl Strategy<Value = Proof> {
    let snapshot = (0_u64..5, proptest::collection::btree_set(0_u64..5, 0..3)).prop_map(|(xmax, xip)| {
        let xip: std::collections::BTreeSet<_> = xip.into_iter().filter(|xid| *xid < xmax).collect();
        Proof::Snapshot(universe::snapshot(&Snap { xmin: xip.first().copied().unwrap_or(xmax), xmax, xip }))
    });
    prop_oneof![snapshot, (0_u64..6).prop_map(|lsn| Proof::Lsn(universe::lsn(lsn)))]
}

prop_compose! {
    fn tags()(
        stripe in mostly(0, vec![1]), generation in mostly(1, vec![2]), now in mostly(Some(1), vec![Some(2), None]), control in maybe_control(),
    ) -> (TagStamp, Option<Control>, Option<TagVersion>, u16) {
        let version = |n: u8| TagVersion::from_bytes([n; 16]);
        let stamp = TagStamp { stripe: 0, generation: universe::generation(Gen(generation)), version: version(1) };
        (stamp, control, now.map(version), stripe)
    }
}

prop_compose! {
    fn found()(
        now in 6_u64..12, max_staleness in 0_u64..6,
        token in proptest::option::of((0..5_u64, 0..6_u64, mostly(0, vec![1, 2, 3]))),
        control in maybe_control(),
        tags in proptest::collection::vec(tags(), 0..3),
        generation in mostly(1, vec![2]), proof in proofs(), read_at in proptest::option::of(1_u64..12),
        is_there in mostly(true, vec![false]), lacks_a_tag in mostly(false, vec![false, true]),
    ) -> Found {
        let entry = Entry {
            id: universe::entry_id(Id(1)),
            generation: universe::generation(Gen(generation)),
            proof,
            read_at: read_at.map(RedisTime::from_micros),
            tags: tags.iter().skip(usize::from(lacks_a_tag)).map(|(stamp, ..)| *stamp).collect(),
            etag: ETag::of(b"body"),
            body: Some(Bytes::from_static(b"body")),
        };
        let token = token.map(|(xid, lsn, source)| Token { source: SOURCES[source], xid: universe::xid(xid), lsn: universe::lsn(lsn) });
        let lacks_a_tag = lacks_a_tag && !tags.is_empty();
        Found { now, max_staleness, token, control, tags, entry: is_there.then_some(entry), lacks_a_tag }
    }
}

impl Found {
    fn judged(&self) -> Result<(Duration, ProvenBy), Refusal> {
        let tags: Vec<_> = self
            .tags
            .iter()
            .map(|(_, control, version, stripe)| TagReading { stripe: *stripe, control: control.as_ref(), version: *version })
            .collect();
        let reading = Reading {
            run: run(0),
            now: RedisTime::from_micros(self.now),
            max_staleness: Duration::from_micros(self.max_staleness),
            token: self.token.as_ref(),
            control: self.control.as_ref(),
            tags: &tags,
        };
        reading.judge(self.entry.as_ref()).map(|grounds| (grounds.age, grounds.proven_by))
    }

    /// The control records of the stripes used.
    fn controls(&self) -> impl Iterator<Item = Option<&Control>> {
        std::iter::once(self.control.as_ref()).chain(self.tags.iter().map(|(_, control, ..)| control.as_ref()))
    }

    /// `open = ctl present and ctl.run = run of my connection`
    fn is_open(control: Option<&Control>) -> bool {
        control.is_some_and(|control| control.run == run(0))
    }

    /// `valid = open and e.gen = ctl.gen and for each tag: its stripe open, its gen and version = those stored in e`
    fn is_valid(&self) -> bool {
        let (Some(entry), Some(control)) = (&self.entry, &self.control) else { return false };
        let tag_holds = |(stamp, control, version, stripe): &(TagStamp, Option<Control>, Option<TagVersion>, u16)| {
            let generation = control.as_ref().map(|control| control.generation);
            Self::is_open(control.as_ref())
                && stamp.stripe == *stripe
                && generation == Some(stamp.generation)
                && *version == Some(stamp.version)
        };
        Self::is_open(Some(control))
            && entry.generation == control.generation
            && !self.lacks_a_tag
            && self.tags.iter().all(tag_holds)
    }

    /// The age by `oldest ctl.at of the stripes used`, and by `e.read_at`.
    fn ages(&self) -> (Option<u64>, Option<u64>) {
        let oldest = self.controls().flatten().map(|control| control.at.as_micros()).min();
        let read_at = self.entry.as_ref().and_then(|entry| entry.read_at).map(RedisTime::as_micros);
        (oldest.map(|at| self.now.saturating_sub(at)), read_at.map(|at| self.now.saturating_sub(at)))
    }

    /// `proven = now − (oldest ctl.at of the stripes used) <= max_staleness or (e.read_at and now − e.read_at <= max_staleness)`
    fn is_proven(&self) -> bool {
        let (stream, read) = self.ages();
        [stream, read].into_iter().flatten().any(|age| age <= self.max_staleness)
    }

    /// `own = no token, or token.source = ctl.source and (covers(e, token) or ctl.pos >= token.lsn in every stripe used)`
    fn is_own(&self) -> bool {
        let Some(token) = &self.token else { return true };
        let covered = self.entry.as_ref().is_some_and(|entry| {
            let proof = match &entry.proof {
                Proof::Snapshot(snapshot) => compare::Proof::Snap(universe::snap_of(snapshot)),
                Proof::Lsn(lsn) => compare::Proof::Lsn(lsn.get()),
            };
            compare::covers(&proof, token.xid.get(), token.lsn.get())
        });
        let passed = self.controls().flatten().all(|control| control.position >= token.lsn);
        self.controls().flatten().all(|control| control.source == token.source) && (covered || passed)
    }

    /// Whether the rule that `refusal` names does refuse.
    fn is_refused_by(&self, refusal: Refusal) -> bool {
        match refusal {
            Refusal::Closed => self.controls().any(|control| control.is_none()),
            Refusal::OtherRun => self.controls().any(|control| control.is_some_and(|control| control.run != run(0))),
            Refusal::Missing => self.entry.is_none(),
            Refusal::OtherGeneration => {
                self.entry.as_ref().map(|entry| entry.generation) != self.control.as_ref().map(|control| control.generation)
            }
            Refusal::TagChanged => !self.tags.is_empty() && !self.is_valid(),
            Refusal::Unproven => !self.is_proven(),
            Refusal::NotOwn => !self.is_own(),
            Refusal::Garbled | Refusal::Unreachable => false,
        }
    }
}

#[test]
fn an_entry_is_served_exactly_when_protocol_md_says() {
    let seen = RefCell::new(BTreeMap::<String, u32>::new());
    let outcome = runner(READINGS, file!()).run(&found(), |found| {
        let judged = found.judged();
        prop_assert_eq!(judged.is_ok(), found.is_valid() && found.is_proven() && found.is_own(), "judged {:?}", judged);
        match judged {
            Ok((age, by)) => {
                let (stream, read) = found.ages();
                let best = [stream, read].into_iter().flatten().min().map(Duration::from_micros);
                prop_assert_eq!(Some(age), best, "the age is the least that is proven");
                let said = if by == ProvenBy::Stream { stream } else { read };
                prop_assert_eq!(said.map(Duration::from_micros), Some(age), "by what it is said to be proven");
                *seen.borrow_mut().entry(format!("{by:?}")).or_default() += 1;
            }
            Err(refusal) => {
                prop_assert!(found.is_refused_by(refusal), "refused as {refusal}, which it is not");
                *seen.borrow_mut().entry(refusal.to_string()).or_default() += 1;
            }
        }
        Ok(())
    });
    if let Err(wrong) = outcome {
        panic!("{wrong}");
    }
    let seen = seen.into_inner();
    println!("{seen:?}");
    // Garbled and unreachable are decided before there is anything to judge.
    let judged = Refusal::ALL.into_iter().filter(|refusal| !matches!(refusal, Refusal::Garbled | Refusal::Unreachable));
    let words = judged.map(|refusal| refusal.to_string()).chain([ProvenBy::Stream, ProvenBy::ReadTime].map(|by| format!("{by:?}")));
    let missed: Vec<_> = words.filter(|word| !seen.contains_key(word)).collect();
    assert!(missed.is_empty(), "nothing brought about {missed:?}, only {seen:?}");
}
