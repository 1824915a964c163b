//! The coherence protocol: what is compared, what lies in Redis, and the scripts that change it.
//!
//! A value may enter the cache, or stay, only if every change already applied to what it depends on is visible in the snapshot
//! that the value was read under. Everything here serves that one rule.

mod bytes;
mod control;
mod entry;
mod identity;
mod info;
mod inspect;
mod key;
mod link;
mod links;
mod scripts;
mod serve;
mod snapshot;
mod token;
mod xid;

pub use control::Control;
pub use entry::{ETag, Entry, Garbled, Proof, RedisTime, TagStamp};
pub use identity::{EntryId, Generation, LeaseToken, Run, Source, SourceSyntax, TagVersion};
pub use info::Info;
pub use inspect::{Fences, HeldLease, Standing, controls};
pub use key::{CacheKey, Dependency, NAME_LEN_MAX, Stripe, Stripes, Tag, pull_value, push_value};
pub use link::{Link, LinkError};
pub use links::{LinkKeeper, Links, Outage};
pub use scripts::{
    Applied, Closed, Fill, Filling, Lease, LeaseGrant, Open, Opening, Progress, Scripts, TagGrant, Touched, WILDCARD_FIELD, Wanted,
};
pub use serve::{Grounds, ProvenBy, Reading, Refusal, TagReading};
pub use snapshot::{Snapshot, SnapshotSyntax};
pub use token::{Token, TokenSyntax};
pub use xid::{EXACT_MAX, Lsn, LsnSyntax, NarrowXid, Xid};
