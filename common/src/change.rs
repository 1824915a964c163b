//! What a source delivers: transactions of row changes, in commit order, with the position that each ends at.

use std::sync::Arc;

use bytes::Bytes;

use crate::coherence::{Lsn, NarrowXid, Snapshot, Xid};

/// One thing that happened, as a source tells it. Between [`Event::Begin`] and [`Event::Commit`] everything belongs to that
/// transaction; nothing of an aborted transaction is ever delivered.
#[derive(Debug, Clone)]
pub enum Event {
    /// A committed transaction begins.
    Begin {
        /// The top-level transaction.
        xid: NarrowXid,
        /// Where its commit record begins, by which commits are ordered; [`Lsn::ZERO`] where the source does not know it.
        commit: Lsn,
        /// When it was committed, in µs since 1970 by Postgres's clock; `None` where the source does not tell.
        committed_us: Option<i64>,
    },
    /// A row was inserted, updated or deleted.
    Row(RowChange),
    /// Tables were emptied.
    Truncate {
        /// The tables, each as it was at that moment.
        relations: Vec<Arc<Relation>>,
    },
    /// A transactional logical message (`pg_logical_emit_message(true, …)`). One that is not transactional is never delivered: it
    /// comes before the commit, and even from a transaction that rolls back.
    Message {
        /// The prefix that names its kind.
        prefix: Box<str>,
        /// The content, any bytes.
        content: Bytes,
    },
    /// The transaction ends.
    Commit {
        /// The end of the commit record, which orders changes within one timeline; or where the source does not know it, a position
        /// known to be later.
        end: Lsn,
        /// Whether `end` is the commit's own. Else it says nothing of what came before it, and no entry may be proven by it.
        is_exact: bool,
        /// To be acknowledged when this and all before it are applied and visible.
        place: Place,
    },
    /// Everything below this position has been delivered. Comes outside transactions only.
    Reached {
        /// The position; [`Lsn::ZERO`] where only the place moves on.
        position: Lsn,
        /// To be acknowledged when all before it is applied and visible.
        place: Place,
    },
    /// Everything that the log held when this stream began has been delivered, where the log has no positions of Postgres's own to
    /// tell that by. Comes outside transactions only.
    CaughtUp,
    /// Something before this was lost, or may have been. Comes outside transactions only.
    Hole {
        /// What a snapshot has to hold so that nothing of it is missing.
        beginning: Beginning,
    },
}

/// A place in the order in which a source delivers. It means something to that source only; later places are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place(pub u64);

impl Place {
    /// The place of a source that delivers in the order of the log.
    pub fn at(position: Lsn) -> Self {
        Self(position.get())
    }
}

/// What a snapshot has to hold so that nothing is missing which a stream will never deliver.
#[derive(Debug, Clone)]
pub enum Beginning {
    /// All that this one sees: it was exported when the slot was made.
    Snapshot(Arc<Snapshot>),
    /// All that had begun below this, the X of protocol.md: the xmax of a snapshot taken after the start position was fixed.
    Over(Xid),
}

impl Beginning {
    /// Whether a snapshot holds it.
    pub fn is_in(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Snapshot(exported) => snapshot.includes(exported),
            Self::Over(xmax) => snapshot.xmin() >= *xmax,
        }
    }
}

/// A change of one row.
#[derive(Debug, Clone)]
pub struct RowChange {
    /// The table, with its columns as they were at that moment.
    pub relation: Arc<Relation>,
    /// What happened.
    pub operation: Operation,
    /// The row before: whole under full replica identity, under the others its key columns (the rest is left out:
    /// [`Datum::Unchanged`]); absent on insert and where an update kept the key.
    pub before: Option<Row>,
    /// The row after; absent on delete.
    pub after: Option<Row>,
}

impl RowChange {
    /// The same change, in which nothing is told of a column whose value is longer than this, in bytes, before or after; those of the key
    /// are told. A value that was left out after and told before would pass for one that did not change.
    pub fn without_longer(self, len_max: usize, key: &[usize]) -> Self {
        let rows = [&self.before, &self.after].into_iter().flatten();
        let columns: Vec<usize> = rows.flat_map(|row| row.longer(len_max)).filter(|column| !key.contains(column)).collect();
        let without = |row: Option<Row>| row.map(|row| row.without(&columns));
        Self { before: without(self.before), after: without(self.after), ..self }
    }
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It was inserted.
    Insert,
    /// It was updated.
    Update,
    /// It was deleted.
    Delete,
}

/// A table as the stream describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its object id.
    pub id: u32,
    /// Its schema.
    pub schema: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// What the old row of an update or delete consists of.
    pub identity: ReplicaIdentity,
    /// Its published columns, in order.
    pub columns: Box<[Column]>,
}

/// A column of a [`Relation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Box<str>,
    /// The object id of its type (`pg_type.oid`).
    pub type_id: u32,
    /// The type's modifier (`atttypmod`), -1 where it has none.
    pub type_modifier: i32,
    /// Whether it is part of the replica identity.
    pub in_identity: bool,
}

/// `pg_class.relreplident`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// `d`: the primary key.
    Default,
    /// `n`: nothing.
    Nothing,
    /// `f`: every column.
    Full,
    /// `i`: the columns of an index.
    Index,
}

/// The prefix of a logical message after which nothing that is cached of any table can be trusted: DDL writes it
/// (migrations/0005_ddl_messages.sql), and whoever cannot tell what a change touches.
pub const DDL_PREFIX: &str = "freshline.ddl";

/// The values of one row, in the order of the relation's columns, still in the bytes that they came in.
#[derive(Debug, Clone)]
pub struct Row {
    bytes: Bytes,
    values: Box<[Value]>,
}

/// Where a value lies in its row's bytes.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    /// SQL null.
    Null,
    /// Left out by the stream: a large value that an update did not change, or, in the row before, one outside the replica
    /// identity. It says nothing about the value.
    Unchanged,
    /// Text of this range of bytes.
    Text {
        /// First byte.
        start: u32,
        /// Number of bytes.
        len: u32,
    },
}

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datum<'a> {
    /// SQL null.
    Null,
    /// Left out by the stream: a large value that an update did not change, or, in the row before, one outside the replica
    /// identity. It says nothing about the value.
    Unchanged,
    /// The value as Postgres prints it.
    Text(&'a str),
}

/// A value that is not UTF-8 or lies outside its row's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the row's bytes hold no text at {offset}")]
pub struct NotText {
    /// The first byte that is wrong.
    pub offset: usize,
}

fn check_text(bytes: &Bytes, start: u32, len: u32) -> Result<(), NotText> {
    let start = start as usize;
    let text = bytes.get(start..).and_then(|rest| rest.get(..len as usize)).ok_or(NotText { offset: start })?;
    std::str::from_utf8(text).map(|_| ()).map_err(|wrong| NotText { offset: start + wrong.valid_up_to() })
}

impl Row {
    /// A row of these values, each of which is UTF-8 that lies within `bytes`.
    pub fn new(bytes: Bytes, values: Box<[Value]>) -> Result<Self, NotText> {
        for value in &values {
            if let Value::Text { start, len } = *value {
                check_text(&bytes, start, len)?;
            }
        }
        Ok(Self { bytes, values })
    }

    /// The same row, with the nulls of the columns that `left_out` picks marked as left out: an old row that holds only the key
    /// comes with nulls in all other columns, which are none.
    pub(crate) fn leaving_out(mut self, left_out: impl Fn(usize) -> bool) -> Self {
        for (column, value) in self.values.iter_mut().enumerate() {
            if matches!(value, Value::Null) && left_out(column) {
                *value = Value::Unchanged;
            }
        }
        self
    }

    /// Which of its values are longer than this.
    fn longer(&self, len_max: usize) -> impl Iterator<Item = usize> {
        let is_longer = move |value: &Value| matches!(value, Value::Text { len, .. } if *len as usize > len_max);
        self.values.iter().enumerate().filter(move |(_, value)| is_longer(value)).map(|(column, _)| column)
    }

    /// The same row without these values.
    fn without(mut self, columns: &[usize]) -> Self {
        for column in columns {
            self.values[*column] = Value::Unchanged;
        }
        self
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// How many bytes it keeps in memory.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of a column, or `None` where the row has no such column.
    pub fn get(&self, column: usize) -> Option<Datum<'_>> {
        Some(match *self.values.get(column)? {
            Value::Null => Datum::Null,
            Value::Unchanged => Datum::Unchanged,
            Value::Text { start, len } => {
                let text = self.bytes.get(start as usize..)?.get(..len as usize)?;
                Datum::Text(std::str::from_utf8(text).ok()?)
            }
        })
    }
}
