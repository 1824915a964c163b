//! The values of a change's two rows, each taken from wherever the change carries it.

use std::fmt;

use super::{TableName, TablePlan};
use crate::{
    change::{Datum, Operation, ReplicaIdentity, Row, RowChange},
    fault::{Classified, Kind},
};

/// One of the two rows of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The row before.
    Before,
    /// The row after.
    After,
}

/// A change does not carry a value that a name or an image is made of.
///
/// Where it was needed for a name, what the change touches cannot be told: the cache has to be bumped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a change of table {table} does not carry column {column} of the row {image}")]
pub struct Missing {
    /// The table.
    pub table: TableName,
    /// The column.
    pub column: Box<str>,
    /// The row that lacks it.
    pub image: Image,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

impl Classified for Missing {
    fn kind(&self) -> Kind {
        Kind::Permanent
    }

    fn remedy(&self) -> Option<String> {
        Some(format!("alter table {} replica identity full;", self.table))
    }
}

/// The two rows of a change, each value taken from wherever the change carries it. `Ok(None)` is SQL null.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub plan: &'a TablePlan,
    pub change: &'a RowChange,
}

impl<'a> Rows<'a> {
    /// A value of the row before.
    pub(super) fn before(self, column: usize) -> Result<Option<&'a str>, Missing> {
        self.known_before(column).ok_or_else(|| self.plan.missing(column, Image::Before))
    }

    /// A value of the row after. One that the stream left out because the update did not change it is in the row before, if that
    /// is whole: under full identity Postgres writes large values out there.
    pub(super) fn after(self, column: usize) -> Result<Option<&'a str>, Missing> {
        let after = self.change.after.as_ref().and_then(|row| row.get(column));
        let known = match after {
            Some(Datum::Unchanged) => self.known_before(column),
            Some(Datum::Text(text)) => Some(Some(text)),
            Some(Datum::Null) => Some(None),
            None => None,
        };
        known.ok_or_else(|| self.plan.missing(column, Image::After))
    }

    /// Whether the change changed a value, or may have. What is left out did not change: but where the row before should have it and has
    /// not, it was left out because it is long.
    pub(super) fn changed(self, column: usize) -> bool {
        let is_whole = self.plan.identity == ReplicaIdentity::Full && self.change.before.is_some();
        match self.change.after.as_ref().and_then(|row| row.get(column)) {
            Some(Datum::Unchanged) => is_whole && self.known_before(column).is_none(),
            after => self.known_before(column).is_none_or(|before| after != Some(before.map_or(Datum::Null, Datum::Text))),
        }
    }

    /// A value of the row before, where the change carries it.
    fn known_before(self, column: usize) -> Option<Option<&'a str>> {
        let whole = self.plan.identity == ReplicaIdentity::Full;
        let row = match &self.change.before {
            // The columns outside the identity are null in it, whatever they were.
            Some(row) => (whole || self.plan.columns.get(column)?.in_identity).then_some(row),
            // An update that kept the identity leaves its row before out: those columns are as they are after.
            None => (!whole && self.kept_identity(column)).then_some(self.change.after.as_ref()).flatten(),
        };
        value(row?, column)
    }

    fn kept_identity(self, column: usize) -> bool {
        let in_identity = self.plan.columns.get(column).is_some_and(|column| column.in_identity);
        self.change.operation == Operation::Update && in_identity
    }
}

fn value(row: &Row, column: usize) -> Option<Option<&str>> {
    match row.get(column)? {
        Datum::Text(text) => Some(Some(text)),
        Datum::Null => Some(None),
        Datum::Unchanged => None,
    }
}
