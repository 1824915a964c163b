//! Entries: a cached value with its proof, as bytes in Redis.
//!
//! The first 60 bytes are protocol.md §2's, and the scripts read them; then come the running xids, and then what only readers
//! of this library read: checksum u64, tag count u16, tags (stripe u16, generation 16, version 16), `ETag` 16, body.
//! The checksum covers all but itself and the body, and the `ETag` is a digest of the body, so that each byte is checked once.

use bytes::{BufMut, Bytes};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::{
    bytes::Fields,
    identity::{EntryId, Generation, TagVersion},
    snapshot::Snapshot,
    xid::{Lsn, Xid},
};

const FORMAT: u8 = 1;
const HEAD_LEN: usize = 60;
const FLAG_LSN: u8 = 1;
const FLAG_ABSENT: u8 = 2;

/// Redis's clock, in µs since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedisTime(u64);

impl RedisTime {
    /// This many µs since 1970; anything that a script could not hold exactly is cut to 2^53.
    pub fn from_micros(micros: u64) -> Self {
        Self(micros.min(super::xid::EXACT_MAX))
    }

    /// µs since 1970.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// How long before `now` this was; zero where it was not.
    pub fn age_at(self, now: RedisTime) -> std::time::Duration {
        std::time::Duration::from_micros(now.0.saturating_sub(self.0))
    }
}

/// Why an entry is known to hold a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It was read on the primary under this snapshot. On a standby a snapshot proves nothing: its running list is empty.
    Snapshot(Snapshot),
    /// It was read on a standby that had replayed up to here, or taken from a change that ends here.
    Lsn(Lsn),
}

impl Proof {
    /// Whether an entry of this proof holds the change of `xid`, whose commit ends at `end`.
    pub fn covers(&self, xid: Xid, end: Lsn) -> bool {
        match self {
            Self::Snapshot(snapshot) => snapshot.sees(xid),
            Self::Lsn(lsn) => *lsn >= end,
        }
    }
}

/// A strong validator of a body: a digest of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag(u128);

impl ETag {
    /// The validator of this body.
    pub fn of(body: &[u8]) -> Self {
        Self(xxh3_128(body))
    }
}

/// A text that is none of our validators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no validator that was made here")]
pub struct NoETag;

impl std::str::FromStr for ETag {
    type Err = NoETag;

    /// Takes what [`Display`](std::fmt::Display) writes, and nothing else: neither a weak one nor another's.
    fn from_str(text: &str) -> Result<Self, NoETag> {
        let digest = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(NoETag)?;
        let is_digest = digest.len() == 32 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u128::from_str_radix(digest, 16).ok().filter(|_| is_digest).map(Self).ok_or(NoETag)
    }
}

impl std::fmt::Display for ETag {
    /// With the quotes that HTTP wants (RFC 9110, 8.8.3).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{:032x}\"", self.0)
    }
}

/// The version of a tag that a value was read under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagStamp {
    /// The stripe of the tag.
    pub stripe: u16,
    /// The generation that the stripe had when the version was read: never the lease's.
    pub generation: Generation,
    /// The version.
    pub version: TagVersion,
}

/// A cached value with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its identity.
    pub id: EntryId,
    /// The generation it was filled in.
    pub generation: Generation,
    /// What it is known to hold.
    pub proof: Proof,
    /// The lease's time, before which nothing visible is missing; `None` for one that is never young.
    pub read_at: Option<RedisTime>,
    /// The tags it depends on, in the order that its reader names them.
    pub tags: Vec<TagStamp>,
    /// Its validator.
    pub etag: ETag,
    /// The value; `None` where the row does not exist, which is a value like any other.
    pub body: Option<Bytes>,
}

/// Bytes that are not an entry of this version: to be counted as a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Another format, or not an entry at all.
    #[error("not an entry of format {FORMAT}")]
    Format,
    /// A part is missing, or contradicts another.
    #[error("an entry that is cut short or contradicts itself")]
    Shape,
    /// The bytes are not those that were written.
    #[error("an entry whose checksum is wrong")]
    Checksum,
}

impl Entry {
    /// Its bytes; `None` where more transactions were running than 16 bits count, or more tags.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let (low, high, running) = match &self.proof {
            Proof::Snapshot(snapshot) => (snapshot.xmin().get(), snapshot.xmax().get(), snapshot.running()),
            Proof::Lsn(lsn) => (lsn.get(), 0, [].as_slice()),
        };
        let is_lsn = if matches!(self.proof, Proof::Lsn(_)) { FLAG_LSN } else { 0 };
        let is_absent = if self.body.is_none() { FLAG_ABSENT } else { 0 };
        let body = self.body.as_deref().unwrap_or_default();
        let mut out = Vec::with_capacity(HEAD_LEN + 8 * running.len() + 26 + 34 * self.tags.len() + body.len());
        out.put_u8(FORMAT);
        out.put_u8(is_lsn | is_absent);
        out.put_u16_le(running.len().try_into().ok()?);
        out.put_slice(self.id.as_bytes());
        out.put_slice(self.generation.as_bytes());
        out.put_u64_le(low);
        out.put_u64_le(high);
        out.put_u64_le(self.read_at.map_or(0, RedisTime::as_micros));
        for xid in running {
            out.put_u64_le(xid.get());
        }
        let checksum_at = out.len();
        out.put_u64_le(0);
        out.put_u16_le(self.tags.len().try_into().ok()?);
        for tag in &self.tags {
            out.put_u16_le(tag.stripe);
            out.put_slice(tag.generation.as_bytes());
            out.put_slice(tag.version.as_bytes());
        }
        out.put_u128_le(self.etag.0);
        let checksum = checksum(&out[..checksum_at], &out[checksum_at + 8..]);
        out[checksum_at..checksum_at + 8].copy_from_slice(&checksum.to_le_bytes());
        out.put_slice(body);
        Some(out)
    }

    /// The id that a lease would find in these bytes, whether or not they are an entry: it looks at nothing but the head.
    pub fn claimed_id(bytes: &Bytes) -> Option<EntryId> {
        let head = bytes.first_chunk::<HEAD_LEN>().filter(|head| head[0] == FORMAT)?;
        Fields(&head[4..]).array().map(EntryId::from_bytes)
    }

    /// The entry of these bytes. The body shares them.
    ///
    /// # Errors
    /// [`Garbled`] for anything that [`Entry::encode`] did not make.
    pub fn decode(bytes: &Bytes) -> Result<Self, Garbled> {
        let mut fields = Fields(bytes);
        if fields.u8() != Some(FORMAT) {
            return Err(Garbled::Format);
        }
        let (head, body_at) = Head::read(&mut fields, bytes.len()).ok_or(Garbled::Shape)?;
        let body = bytes.slice(body_at..);
        let split = HEAD_LEN + 8 * head.running_len;
        if checksum(&bytes[..split], &bytes[split + 8..body_at]) != head.checksum || ETag::of(&body) != head.entry.etag {
            return Err(Garbled::Checksum);
        }
        Ok(Self { body: (!head.is_absent).then_some(body), ..head.entry })
    }
}

/// All of an entry but its body, and what is needed to check it.
struct Head {
    entry: Entry,
    is_absent: bool,
    running_len: usize,
    checksum: u64,
}

impl Head {
    /// Reads what follows the format; answers with it the place where the body begins in `len` bytes.
    fn read(fields: &mut Fields<'_>, len: usize) -> Option<(Self, usize)> {
        let flags = fields.u8()?;
        let running_len = usize::from(fields.u16()?);
        let id = EntryId::from_bytes(fields.array()?);
        let generation = Generation::from_bytes(fields.array()?);
        let (low, high, read_at) = (fields.exact()?, fields.exact()?, fields.exact()?);
        let running = fields.xids(running_len)?;
        let proof = if flags & FLAG_LSN == 0 {
            Proof::Snapshot(Snapshot::new(Xid::new(low)?, Xid::new(high)?, running)?)
        } else {
            Proof::Lsn(Lsn::new(low)?)
        };
        let checksum = fields.u64()?;
        let tags = (0..fields.u16()?).map(|_| TagStamp::read(fields)).collect::<Option<_>>()?;
        let etag = ETag(u128::from_le_bytes(fields.array()?));
        let read_at = (read_at != 0).then(|| RedisTime::from_micros(read_at));
        let entry = Entry { id, generation, proof, read_at, tags, etag, body: None };
        let is_absent = flags & FLAG_ABSENT != 0;
        (!is_absent || fields.0.is_empty()).then_some((Self { entry, is_absent, running_len, checksum }, len - fields.0.len()))
    }
}

impl TagStamp {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            stripe: fields.u16()?,
            generation: Generation::from_bytes(fields.array()?),
            version: TagVersion::from_bytes(fields.array()?),
        })
    }
}

fn checksum(head: &[u8], middle: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(head);
    hash.update(middle);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proofs() -> impl Strategy<Value = Proof> {
        let snapshot = (1_u64..1 << 40, proptest::collection::vec(0_u64..1000, 0..4)).prop_map(|(xmin, offsets)| {
            let running = offsets.into_iter().filter_map(|offset| Xid::new(xmin + offset)).collect();
            let (xmin, xmax) = (Xid::new(xmin).expect("small"), Xid::new(xmin + 1000).expect("small"));
            Proof::Snapshot(Snapshot::new(xmin, xmax, running).expect("consistent"))
        });
        prop_oneof![snapshot, (0_u64..1 << 50).prop_map(|lsn| Proof::Lsn(Lsn::new(lsn).expect("small")))]
    }

    prop_compose! {
        fn entries()(
            proof in proofs(),
            read_at in proptest::option::of(1_u64..1 << 52),
            tags in proptest::collection::vec(0_u16..64, 0..3),
            body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        ) -> Entry {
            let stamp = |stripe| TagStamp { stripe, generation: Generation::random(), version: TagVersion::random() };
            Entry {
                id: EntryId::random(),
                generation: Generation::random(),
                proof,
                read_at: read_at.map(RedisTime::from_micros),
                tags: tags.into_iter().map(stamp).collect(),
                etag: ETag::of(body.as_deref().unwrap_or_default()),
                body: body.map(Bytes::from),
            }
        }
    }

    proptest! {
        #[test]
        fn an_entry_survives_its_bytes(entry in entries()) {
            let bytes = Bytes::from(entry.encode().expect("few tags"));
            prop_assert_eq!(Entry::decode(&bytes), Ok(entry));
        }

        #[test]
        fn a_changed_byte_is_noticed(entry in entries(), at in any::<proptest::sample::Index>(), by in 1_u8..) {
            let mut bytes = entry.encode().expect("few tags");
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert!(Entry::decode(&bytes.into()).is_err());
        }

        #[test]
        fn an_entry_that_is_cut_short_is_noticed(entry in entries(), at in any::<proptest::sample::Index>()) {
            let bytes = Bytes::from(entry.encode().expect("few tags"));
            prop_assert!(Entry::decode(&bytes.slice(..at.index(bytes.len()))).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Entry::decode(&bytes.into()).is_err());
        }
    }
}
