//! The coherence protocol: what is compared, what lies in Redis, and the scripts that change it.

mod key;
mod snapshot;
mod xid;

pub use key::{CacheKey, Dependency, Stripe, Stripes, Tag, push_value};
pub use snapshot::{Snapshot, SnapshotSyntax};
pub use xid::{EXACT_MAX, Lsn, LsnSyntax, NarrowXid, Xid};
