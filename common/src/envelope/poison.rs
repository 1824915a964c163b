//! Messages that cannot be used, and what can be read of them all the same.

use crate::fault::{Classified, Kind};

/// A message that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message of the log cannot be used: {reason}")]
pub struct Poison {
    /// Why.
    pub reason: Reason,
    /// What could be read of it.
    pub partial: Partial,
}

/// Why a message cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It is longer than a change can be.
    #[error("it has {len} bytes, more than {max}")]
    Oversized {
        /// Its length.
        len: usize,
        /// What is accepted.
        max: usize,
    },
    /// It is not UTF-8.
    #[error("it is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first byte that is wrong.
        offset: usize,
    },
    /// It is not JSON, or a field of an envelope has another type.
    #[error("it is no envelope: {problem}")]
    Undecodable {
        /// Where and what.
        problem: String,
    },
    /// It is JSON of another shape.
    #[error("it is JSON, but {lacks} is missing: write Debezium's envelope, without a transform that unwraps it")]
    Shape {
        /// What an envelope has.
        lacks: &'static str,
    },
    /// A field holds what it cannot hold.
    #[error("{field} is {found:?}, which it cannot be")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it holds, shortened.
        found: String,
    },
    /// There is no such table.
    #[error("there is no table {schema}.{table}")]
    UnknownTable {
        /// Its schema.
        schema: String,
        /// Its name.
        table: String,
    },
    /// A column has a value that its type does not have.
    #[error("column {column} has a value that its type does not have")]
    WrongType {
        /// The column.
        column: String,
    },
}

/// What can be read of a message that cannot be used. With the transaction and the key, what the message names can be invalidated;
/// without, nothing can be told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partial {
    /// The transaction, by its low 32 bits or whole.
    pub xid: Option<u64>,
    /// Schema and name of the table.
    pub table: Option<(Box<str>, Box<str>)>,
    /// The message's key.
    pub key: Option<Box<[u8]>>,
}

impl Reason {
    /// A word for it, for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Oversized { .. } => "oversized",
            Self::NotUtf8 { .. } | Self::Undecodable { .. } => "undecodable",
            Self::Shape { .. } => "other-shape",
            Self::Field { .. } | Self::WrongType { .. } => "wrong-type",
            Self::UnknownTable { .. } => "unknown-table",
        }
    }
}

impl Classified for Poison {
    fn kind(&self) -> Kind {
        Kind::Bug
    }

    fn remedy(&self) -> Option<String> {
        Some("look at it with `freshline dead-letters show`; mend what wrote it, then retry or drop it".to_owned())
    }
}
