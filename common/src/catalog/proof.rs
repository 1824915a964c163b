//! What a read or a write of Postgres proves.

use crate::coherence::{Lsn, Snapshot, Xid};

/// What a read of the primary has seen. It belongs to the very statement that read the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadProof {
    /// The snapshot that the statement read under.
    pub snapshot: Snapshot,
    /// The history that its session belongs to, as `freshline.source()` told it when the session began. `None`: the session began
    /// on a standby, or nobody may tell; nothing that it reads may be cached.
    pub source: Option<Box<str>>,
}

/// What a reader has to see in order to see a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteProof {
    /// The history in which the next two mean something.
    pub source: Box<str>,
    /// The transaction that wrote.
    pub xid: Xid,
    /// The log's insert position after the commit returned: the commit lies below it.
    pub lsn: Lsn,
}
