//! What can be wrong with a message of the stream, and where.

use std::fmt;

use crate::fault::{Classified, Kind};

/// The kind of a message, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// `B`
    Begin,
    /// `C`
    Commit,
    /// `O`
    Origin,
    /// `R`
    Relation,
    /// `Y`
    Type,
    /// `I`
    Insert,
    /// `U`
    Update,
    /// `D`
    Delete,
    /// `T`
    Truncate,
    /// `M`, a logical message
    Message,
}

impl MessageKind {
    /// The kind that a message's first byte names.
    pub(super) fn of(tag: u8) -> Option<Self> {
        Some(match tag {
            b'B' => Self::Begin,
            b'C' => Self::Commit,
            b'O' => Self::Origin,
            b'R' => Self::Relation,
            b'Y' => Self::Type,
            b'I' => Self::Insert,
            b'U' => Self::Update,
            b'D' => Self::Delete,
            b'T' => Self::Truncate,
            b'M' => Self::Message,
            _ => return None,
        })
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A stream that breaks the protocol. Offsets count from the message's first byte.
///
/// What follows in the stream cannot be trusted, so the session ends with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A message without a byte.
    #[error("empty message")]
    Empty,
    /// A first byte that names no message of protocol 1.
    #[error("unknown message type 0x{tag:02x}")]
    UnknownMessage {
        /// The first byte.
        tag: u8,
    },
    /// A message beyond 4 GB.
    #[error("{message} message of {len} bytes: too long")]
    TooLong {
        /// What was read.
        message: MessageKind,
        /// Its length in bytes.
        len: usize,
    },
    /// The message ends within a field.
    #[error("{message} message ends too early: {needed} more bytes are needed for what begins at byte {offset}")]
    Truncated {
        /// What was read.
        message: MessageKind,
        /// Where the field begins.
        offset: usize,
        /// How many bytes are missing.
        needed: usize,
    },
    /// Bytes are left over.
    #[error("{message} message has {len} bytes too many from byte {offset} on")]
    Trailing {
        /// What was read.
        message: MessageKind,
        /// Where it should have ended.
        offset: usize,
        /// How many bytes are left.
        len: usize,
    },
    /// A length or number below zero.
    #[error("{message} message gives the length {len} at byte {offset}")]
    Length {
        /// What was read.
        message: MessageKind,
        /// Where it stands.
        offset: usize,
        /// What stands there.
        len: i32,
    },
    /// A byte that has no meaning at its place.
    #[error("{message} message has 0x{found:02x} at byte {offset}, which is no {what}")]
    Byte {
        /// What was read.
        message: MessageKind,
        /// Where it stands.
        offset: usize,
        /// What was expected there.
        what: &'static str,
        /// What stands there.
        found: u8,
    },
    /// A value in binary form, which is never asked for.
    #[error("{message} message has a binary value at byte {offset}; only text is asked for")]
    Binary {
        /// What was read.
        message: MessageKind,
        /// Where it stands.
        offset: usize,
    },
    /// Text that is not UTF-8.
    #[error("{message} message is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// What was read.
        message: MessageKind,
        /// The first byte that is wrong.
        offset: usize,
    },
    /// A table that the stream has not described.
    #[error("{message} message names table {relation} at byte {offset}, which no Relation message has described")]
    UnknownRelation {
        /// What was read.
        message: MessageKind,
        /// Where the table's id stands.
        offset: usize,
        /// The table's object id.
        relation: u32,
    },
    /// A row that does not fit its table.
    #[error("{message} message has a row of {found} columns at byte {offset}; {table} has {expected}")]
    ColumnCount {
        /// What was read.
        message: MessageKind,
        /// Where the row's number of columns stands.
        offset: usize,
        /// The table's schema and name.
        table: String,
        /// How many columns the table has.
        expected: usize,
        /// How many the row has.
        found: usize,
    },
    /// Something that belongs to a transaction came outside one.
    #[error("{message} message outside a transaction")]
    OutsideTransaction {
        /// What was read.
        message: MessageKind,
    },
    /// A transaction began within another.
    #[error("Begin message of transaction {xid} inside another transaction")]
    BeginInTransaction {
        /// The one that began.
        xid: u32,
    },
    /// A transaction id that Postgres never gives to a transaction.
    #[error("Begin message with the transaction id {xid}, which no transaction has")]
    Xid {
        /// The id.
        xid: u32,
    },
    /// A log position that a script could not hold exactly.
    #[error("log position {position} is beyond 2^53")]
    Position {
        /// The position.
        position: u64,
    },
}

impl Classified for DecodeError {
    fn kind(&self) -> Kind {
        Kind::Bug
    }
}
