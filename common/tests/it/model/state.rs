//! The state behind the scripts (protocol.md §2), one stripe at a time. Times to live are left out: whatever has one may be gone at
//! any moment, which the histories bring about themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::compare::{Lsn, Proof, Snap, Xid};

macro_rules! small_name {
    ($($(#[$doc:meta])* $name:ident($number:ty) = $letter:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $number);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $letter, self.0)
            }
        }
    )*};
}

small_name! {
    /// A generation.
    Gen(u8) = "g",
    /// A Redis process: 0 is the one that the link leads to.
    RunId(u8) = "run",
    /// A Postgres history: an index into the sources of the universe.
    Src(u8) = "source",
    /// The id of an entry.
    Id(u32) = "e",
    /// The token of a lease.
    Token(u32) = "lease",
    /// A key of the universe.
    Key(u8) = "k",
    /// A tag of the universe.
    Tag(u8) = "t",
}

/// A tag's version: drawn by the callers, so that the model has to take it from them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u8; 16]);

/// What can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dep {
    Key(Key),
    Tag(Tag),
    /// `*`: any.
    All,
}

/// What lies under one key of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<T> {
    Absent,
    /// Something that none of ours wrote: another type, another format, a part of something.
    Garbage,
    Holds(T),
}

/// `{s}ctl`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ctl {
    pub generation: Gen,
    pub run: RunId,
    pub source: Src,
    pub pos: Lsn,
    /// µs; 0 while nothing is proven.
    pub at: u64,
}

/// `{s}fences`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fences {
    pub generation: Gen,
    pub snap: Snap,
    pub hi: Lsn,
    /// Never an empty set.
    pub xids: BTreeMap<Dep, BTreeSet<Xid>>,
}

/// `{s}v:<key>`: what the scripts know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    pub id: Id,
    pub generation: Gen,
    pub proof: Proof,
    /// µs; 0 for one that is never young.
    pub read_at: u64,
}

/// `{s}l:<key>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub token: Token,
    pub generation: Gen,
    pub snap: Snap,
    pub xids: BTreeSet<Xid>,
    pub hi: Lsn,
}

/// All that shares a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stripe {
    pub ctl: Cell<Ctl>,
    pub fences: Cell<Fences>,
    pub values: BTreeMap<Key, Cell<Value>>,
    pub leases: BTreeMap<Key, Cell<Lease>>,
    pub tags: BTreeMap<Tag, Cell<Version>>,
}

impl<T> Cell<T> {
    pub fn held(&self) -> Option<&T> {
        if let Self::Holds(held) = self { Some(held) } else { None }
    }

    pub fn held_mut(&mut self) -> Option<&mut T> {
        if let Self::Holds(held) = self { Some(held) } else { None }
    }

    pub fn exists(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl Fences {
    /// What was applied to `dep`, or to everything.
    pub fn of(&self, dep: Dep) -> BTreeSet<Xid> {
        [dep, Dep::All].iter().filter_map(|dep| self.xids.get(dep)).flatten().copied().collect()
    }

    pub fn add(&mut self, dep: Dep, xid: Xid) {
        self.xids.entry(dep).or_default().insert(xid);
    }
}

impl Stripe {
    /// Nothing at all, under the names of these keys and tags.
    pub fn empty(keys: &[Key], tags: &[Tag]) -> Self {
        Self {
            ctl: Cell::Absent,
            fences: Cell::Absent,
            values: keys.iter().map(|key| (*key, Cell::Absent)).collect(),
            leases: keys.iter().map(|key| (*key, Cell::Absent)).collect(),
            tags: tags.iter().map(|tag| (*tag, Cell::Absent)).collect(),
        }
    }

    pub fn value(&mut self, key: Key) -> &mut Cell<Value> {
        self.values.get_mut(&key).expect("a key of this stripe")
    }

    pub fn lease(&mut self, key: Key) -> &mut Cell<Lease> {
        self.leases.get_mut(&key).expect("a key of this stripe")
    }

    pub fn tag(&mut self, tag: Tag) -> &mut Cell<Version> {
        self.tags.get_mut(&tag).expect("a tag of this stripe")
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{:x}", u32::from_be_bytes(*self.0.last_chunk().expect("16 bytes")))
    }
}
