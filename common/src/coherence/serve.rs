//! Whether an entry may be served: `valid`, `proven` and `own` of protocol.md, decided without I/O.

use std::{fmt, time::Duration};

use super::{
    control::Control,
    entry::{Entry, RedisTime},
    identity::{Run, TagVersion},
    token::Token,
};

/// What one read asked for and found, all of it in one MGET.
pub struct Reading<'a> {
    /// The Redis process that the connection leads to.
    pub run: Run,
    /// Redis's clock, bounded from above.
    pub now: RedisTime,
    /// How old a value may be.
    pub max_staleness: Duration,
    /// The write that the value has to include.
    pub token: Option<&'a Token>,
    /// The control record of the key's stripe.
    pub control: Option<&'a Control>,
    /// For each tag that the value depends on, in order: its stripe, that stripe's control record, its version now.
    pub tags: &'a [TagReading<'a>],
}

/// What a read found of one tag.
#[derive(Debug, Clone, Copy)]
pub struct TagReading<'a> {
    /// The number of its stripe.
    pub stripe: u16,
    /// The control record of that stripe.
    pub control: Option<&'a Control>,
    /// Its version; `None` where it is lost.
    pub version: Option<TagVersion>,
}

/// Why an entry was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No control record: the invalidator has not opened the cache, or somebody cleared it.
    Closed,
    /// The control record was written in another Redis process: an old file came back.
    OtherRun,
    /// Nothing is cached under the key.
    Missing,
    /// What is cached is not an entry of this version, or damaged.
    Garbled,
    /// The entry was filled in an earlier generation.
    OtherGeneration,
    /// A tag that the value depends on has changed.
    TagChanged,
    /// Nobody can say that the value was true within the bound.
    Unproven,
    /// The entry is not known to include the write that the token names.
    NotOwn,
    /// Redis did not answer in time, or there is no connection to it.
    Unreachable,
}

impl Refusal {
    /// Every rule, for metrics that start at zero.
    pub const ALL: [Self; 9] = [
        Self::Closed,
        Self::OtherRun,
        Self::Missing,
        Self::Garbled,
        Self::OtherGeneration,
        Self::TagChanged,
        Self::Unproven,
        Self::NotOwn,
        Self::Unreachable,
    ];

    /// A word for metrics and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::OtherRun => "other-run",
            Self::Missing => "missing",
            Self::Garbled => "garbled",
            Self::OtherGeneration => "other-generation",
            Self::TagChanged => "tag-changed",
            Self::Unproven => "unproven",
            Self::NotOwn => "not-own",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an entry may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grounds {
    /// How long ago the value was true at the latest.
    pub age: Duration,
    /// What proves that age.
    pub proven_by: ProvenBy,
}

/// What bounds the age of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvenBy {
    /// The stream: nothing visible before `at` is missing.
    Stream,
    /// The entry itself: it was read that short a time ago.
    ReadTime,
}

impl Reading<'_> {
    /// Whether this entry may be served, and why or why not.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn judge(&self, entry: Option<&Entry>) -> Result<Grounds, Refusal> {
        let control = self.open(self.control)?;
        let entry = entry.ok_or(Refusal::Missing)?;
        if entry.generation != control.generation {
            return Err(Refusal::OtherGeneration);
        }
        self.check_tags(entry)?;
        let grounds = self.proven(entry, control)?;
        self.own(entry, control)?;
        Ok(grounds)
    }

    /// Whether the stripe of the key serves at all.
    ///
    /// # Errors
    /// [`Refusal::Closed`] or [`Refusal::OtherRun`].
    pub fn open<'c>(&self, control: Option<&'c Control>) -> Result<&'c Control, Refusal> {
        let control = control.ok_or(Refusal::Closed)?;
        if control.run == self.run { Ok(control) } else { Err(Refusal::OtherRun) }
    }

    fn check_tags(&self, entry: &Entry) -> Result<(), Refusal> {
        if entry.tags.len() != self.tags.len() {
            return Err(Refusal::TagChanged);
        }
        for (stored, now) in entry.tags.iter().zip(self.tags) {
            let generation = self.open(now.control)?.generation;
            if stored.stripe != now.stripe || stored.generation != generation || Some(stored.version) != now.version {
                return Err(Refusal::TagChanged);
            }
        }
        Ok(())
    }

    fn proven(&self, entry: &Entry, control: &Control) -> Result<Grounds, Refusal> {
        let oldest_at = self.controls(control).map(|control| control.at).min().unwrap_or(control.at);
        let stream = Grounds { age: oldest_at.age_at(self.now), proven_by: ProvenBy::Stream };
        let read = entry.read_at.map(|at| Grounds { age: at.age_at(self.now), proven_by: ProvenBy::ReadTime });
        let best = read.into_iter().fold(stream, |best, read| if read.age < best.age { read } else { best });
        if best.age <= self.max_staleness { Ok(best) } else { Err(Refusal::Unproven) }
    }

    fn own(&self, entry: &Entry, control: &Control) -> Result<(), Refusal> {
        let Some(token) = self.token else { return Ok(()) };
        let same_history = self.controls(control).all(|control| control.source == token.source);
        let passed = || self.controls(control).all(|control| control.position >= token.lsn);
        if same_history && (entry.proof.covers(token.xid, token.lsn) || passed()) { Ok(()) } else { Err(Refusal::NotOwn) }
    }

    fn controls<'c>(&'c self, own: &'c Control) -> impl Iterator<Item = &'c Control> {
        std::iter::once(own).chain(self.tags.iter().filter_map(|tag| tag.control))
    }
}
