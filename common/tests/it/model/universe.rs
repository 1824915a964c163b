//! The little world that histories play in: three keys, two tags, eight transactions, a few log positions and Postgres histories,
//! and the library's own types for each of them.

use freshline::coherence::{self as real, CacheKey, EntryId, Generation, LeaseToken, Source, Stripes, TagVersion};

use super::{
    compare::{Lsn, Snap, Xid},
    state::{Dep, Gen, Id, Key, Src, Stripe, Tag, Token, Version},
};

/// How many transactions there are; a snapshot's `xmax` may be one past the last.
pub const XIDS: u64 = 8;
/// How many log positions there are.
pub const LSNS: u64 = 12;

/// The Postgres histories: a system, a timeline, a start of the checkpointer. The systems differ where a double cannot tell, and
/// the timelines where text is ordered otherwise than numbers.
pub const SOURCES: [Source; 5] = [source(7, 9, 5), source(7, 9, 6), source(7, 10, 5), source(8, 9, 5), source(8, 11, 7)];

const fn source(system: u64, timeline: u32, started: u64) -> Source {
    Source { system: 7_412_345_678_901_234_560 + system, timeline, started_us: 1_763_719_200_000_000 + started }
}

/// Whether `standing` is "of the same system on a higher timeline" than `coming`.
pub fn deposes(standing: Src, coming: Src) -> bool {
    let (standing, coming) = (SOURCES[usize::from(standing.0)], SOURCES[usize::from(coming.0)]);
    standing.system == coming.system && standing.timeline > coming.timeline
}

/// Where the numbers of one history begin, and how its names lie in Redis.
#[derive(Debug, Clone)]
pub struct Universe {
    pub stripes: Stripes,
    pub xid_base: u64,
    pub lsn_base: u64,
    pub at_base: u64,
}

const KEYS: [&str; 3] = ["row:0", "row:1", "row:2"];
const TAGS: [&str; 2] = ["page:0", "page:1"];

impl Universe {
    pub const KEYS: [Key; 3] = [Key(0), Key(1), Key(2)];
    pub const TAGS: [Tag; 2] = [Tag(0), Tag(1)];

    pub fn key_name(key: Key) -> CacheKey {
        CacheKey::new(KEYS[usize::from(key.0)])
    }

    pub fn tag_name(tag: Tag) -> real::Tag {
        real::Tag::new(TAGS[usize::from(tag.0)])
    }

    /// The field of a dependency in `fences`, as the library says it.
    pub fn field(dep: Dep) -> String {
        match dep {
            Dep::Key(key) => real::Dependency::Key(Self::key_name(key)).fence_field(),
            Dep::Tag(tag) => real::Dependency::Tag(Self::tag_name(tag)).fence_field(),
            Dep::All => real::WILDCARD_FIELD.to_owned(),
        }
    }

    pub fn stripe_of_key(&self, key: Key) -> real::Stripe {
        self.stripes.of(Self::key_name(key).as_str())
    }

    pub fn stripe_of_tag(&self, tag: Tag) -> real::Stripe {
        self.stripes.of(Self::tag_name(tag).as_str())
    }

    pub fn keys_in(&self, stripe: real::Stripe) -> Vec<Key> {
        Self::KEYS.into_iter().filter(|key| self.stripe_of_key(*key) == stripe).collect()
    }

    pub fn tags_in(&self, stripe: real::Stripe) -> Vec<Tag> {
        Self::TAGS.into_iter().filter(|tag| self.stripe_of_tag(*tag) == stripe).collect()
    }

    /// The stripe of this number.
    pub fn stripe(&self, at: usize) -> real::Stripe {
        self.stripes.all().nth(at).expect("a stripe")
    }

    /// Every dependency of a stripe, `*` first.
    pub fn deps_in(&self, at: usize) -> Vec<Dep> {
        let stripe = self.stripe(at);
        let named = self.keys_in(stripe).into_iter().map(Dep::Key).chain(self.tags_in(stripe).into_iter().map(Dep::Tag));
        [Dep::All].into_iter().chain(named).collect()
    }

    /// Nothing in Redis.
    pub fn empty(&self) -> Vec<Stripe> {
        self.stripes.all().map(|stripe| Stripe::empty(&self.keys_in(stripe), &self.tags_in(stripe))).collect()
    }

    pub fn xid(&self, n: u64) -> Xid {
        self.xid_base + n
    }

    pub fn lsn(&self, n: u64) -> Lsn {
        self.lsn_base + n
    }
}

/// 16 bytes that say which they are, and that nothing may take for text.
fn id_bytes(kind: u8, number: u32) -> [u8; 16] {
    let [a, b, c, d] = number.to_be_bytes();
    [kind, 0, 10, 13, 255, 254, b'"', 0, 0, 128, 37, 0, a, b, c, d]
}

fn id_number(kind: u8, bytes: &[u8; 16]) -> Option<u32> {
    let number = u32::from_be_bytes(*bytes.last_chunk()?);
    (id_bytes(kind, number) == *bytes).then_some(number)
}

pub fn generation(generation: Gen) -> Generation {
    Generation::from_bytes(id_bytes(b'g', generation.0.into()))
}

pub fn generation_of(bytes: &[u8; 16]) -> Option<Gen> {
    id_number(b'g', bytes).and_then(|number| number.try_into().ok()).map(Gen)
}

pub fn entry_id(id: Id) -> EntryId {
    EntryId::from_bytes(id_bytes(b'e', id.0))
}

pub fn entry_id_of(bytes: &[u8; 16]) -> Option<Id> {
    id_number(b'e', bytes).map(Id)
}

pub fn token(token: Token) -> LeaseToken {
    LeaseToken::from_bytes(id_bytes(b'l', token.0))
}

pub fn token_of(bytes: &[u8; 16]) -> Option<Token> {
    id_number(b'l', bytes).map(Token)
}

pub fn version(version: Version) -> TagVersion {
    TagVersion::from_bytes(version.0)
}

pub fn xid(xid: Xid) -> real::Xid {
    real::Xid::new(xid).expect("an xid below 2^53")
}

pub fn lsn(lsn: Lsn) -> real::Lsn {
    real::Lsn::new(lsn).expect("a position below 2^53")
}

pub fn snapshot(snap: &Snap) -> real::Snapshot {
    real::Snapshot::new(xid(snap.xmin), xid(snap.xmax), snap.xip.iter().map(|x| xid(*x)).collect()).expect("a consistent snapshot")
}

pub fn snap_of(snapshot: &real::Snapshot) -> Snap {
    let xip = snapshot.running().iter().map(|xid| xid.get()).collect();
    Snap { xmin: snapshot.xmin().get(), xmax: snapshot.xmax().get(), xip }
}
