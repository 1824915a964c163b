//! Decodes pgoutput, protocol 1: each message of Postgres's logical replication stream becomes at most one [`Event`].
//!
//! The message formats are those of the Postgres manual, chapter "Logical Replication Message Formats". What the outside decides
//! is checked against the message's end; a row keeps the message's bytes and copies nothing.

mod cursor;
#[cfg(test)]
mod encode;
mod error;
mod relation;
#[cfg(test)]
mod tests;
mod tuple;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

pub use self::error::{DecodeError, MessageKind};
use self::{
    cursor::Cursor,
    tuple::{RowKind, Tuple},
};
use crate::{
    change::{Event, Operation, Place, Relation, Row, RowChange},
    coherence::{Lsn, NarrowXid},
};

/// The first id that a transaction can have (`FirstNormalTransactionId`).
const XID_MIN: u32 = 3;

/// Where Postgres's timestamps begin, 2000-01-01, in µs since 1970.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// Decodes the messages of one session, in their order.
///
/// It remembers the tables that the stream has described, and whether a transaction is open. After an error the stream has a hole,
/// and the decoder is of no further use.
#[derive(Debug, Default)]
pub struct Decoder {
    relations: HashMap<u32, Arc<Relation>>,
    in_transaction: bool,
    messages_dropped: u64,
}

impl Decoder {
    /// A decoder for a new session, outside any transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a transaction has begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// How many logical messages were dropped because they were not transactional.
    pub fn messages_dropped(&self) -> u64 {
        self.messages_dropped
    }

    /// Decodes one message. `None` where it only describes what follows (a table, a type, an origin) or is a logical message that
    /// is not transactional.
    pub fn decode(&mut self, message: &Bytes) -> Result<Option<Event>, DecodeError> {
        let mut cursor = Cursor::open(message)?;
        let event = match cursor.message() {
            MessageKind::Begin => Some(self.decode_begin(&mut cursor)?),
            MessageKind::Commit => Some(self.decode_commit(&mut cursor)?),
            MessageKind::Relation => self.decode_relation(&mut cursor)?,
            MessageKind::Type => decode_type(&mut cursor)?,
            MessageKind::Origin => self.decode_origin(&mut cursor)?,
            MessageKind::Insert => Some(self.decode_insert(&mut cursor)?),
            MessageKind::Update => Some(self.decode_update(&mut cursor)?),
            MessageKind::Delete => Some(self.decode_delete(&mut cursor)?),
            MessageKind::Truncate => Some(self.decode_truncate(&mut cursor)?),
            MessageKind::Message => self.decode_message(&mut cursor)?,
        };
        cursor.finish()?;
        Ok(event)
    }

    /// A transaction begins whose commit record lies at `commit` and was written at `time`, in µs since 2000, as Begin says.
    pub fn begin(&mut self, xid: u32, commit: u64, time: i64) -> Result<Event, DecodeError> {
        if xid < XID_MIN {
            return Err(DecodeError::Xid { xid });
        }
        if self.in_transaction {
            return Err(DecodeError::BeginInTransaction { xid });
        }
        let commit = Lsn::new(commit).ok_or(DecodeError::Position { position: commit })?;
        self.in_transaction = true;
        Ok(Event::Begin { xid: NarrowXid(xid), commit, committed_us: time.checked_add(POSTGRES_EPOCH_US) })
    }

    /// The transaction ends with a commit record that ends at `end`, as Commit says.
    pub fn commit(&mut self, end: u64) -> Result<Event, DecodeError> {
        self.inside(MessageKind::Commit)?;
        let end = Lsn::new(end).ok_or(DecodeError::Position { position: end })?;
        self.in_transaction = false;
        Ok(Event::Commit { end, is_exact: true, place: Place::at(end) })
    }

    /// A logical message: an event if it is transactional, else dropped and counted.
    pub fn message(&mut self, transactional: bool, prefix: Box<str>, content: Bytes) -> Result<Option<Event>, DecodeError> {
        if !transactional {
            self.messages_dropped += 1;
            return Ok(None);
        }
        self.inside(MessageKind::Message)?;
        Ok(Some(Event::Message { prefix, content }))
    }

    // Begin: position of the commit record's start, time of the commit, xid.
    fn decode_begin(&mut self, cursor: &mut Cursor<'_>) -> Result<Event, DecodeError> {
        let (commit, time) = (cursor.u64()?, cursor.u64()?.cast_signed());
        self.begin(cursor.u32()?, commit, time)
    }

    // Commit: flags, start and end of the commit record, time of the commit.
    fn decode_commit(&mut self, cursor: &mut Cursor<'_>) -> Result<Event, DecodeError> {
        let (offset, flags) = (cursor.offset(), cursor.u8()?);
        if flags != 0 {
            return Err(DecodeError::Byte { message: MessageKind::Commit, offset, what: "flags", found: flags });
        }
        cursor.skip(8)?;
        let end = cursor.u64()?;
        cursor.skip(8)?;
        self.commit(end)
    }

    // Sent before the first row of a table in a session, and again whenever its definition has changed.
    fn decode_relation(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, DecodeError> {
        let relation = relation::read(cursor)?;
        self.relations.insert(relation.id, Arc::new(relation));
        Ok(None)
    }

    // Origin: the position of the commit on the server that the transaction was replicated from, the origin's name.
    fn decode_origin(&self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, DecodeError> {
        self.inside(MessageKind::Origin)?;
        cursor.skip(8)?;
        cursor.text()?;
        Ok(None)
    }

    fn decode_insert(&mut self, cursor: &mut Cursor<'_>) -> Result<Event, DecodeError> {
        let relation = self.changed_relation(cursor)?;
        let tuple = tuple::read(cursor, &relation, &[RowKind::New])?;
        Ok(row_change(relation, Operation::Insert, None, Some(tuple.row)))
    }

    // An update brings the row before only under full replica identity (whole) or where it changed the key (the key).
    fn decode_update(&mut self, cursor: &mut Cursor<'_>) -> Result<Event, DecodeError> {
        let relation = self.changed_relation(cursor)?;
        let first = tuple::read(cursor, &relation, &[RowKind::New, RowKind::OldKey, RowKind::Old])?;
        let (before, after) = match first {
            Tuple { kind: RowKind::New, row } => (None, row),
            Tuple { row, .. } => (Some(row), tuple::read(cursor, &relation, &[RowKind::New])?.row),
        };
        Ok(row_change(relation, Operation::Update, before, Some(after)))
    }

    fn decode_delete(&mut self, cursor: &mut Cursor<'_>) -> Result<Event, DecodeError> {
        let relation = self.changed_relation(cursor)?;
        let tuple = tuple::read(cursor, &relation, &[RowKind::OldKey, RowKind::Old])?;
        Ok(row_change(relation, Operation::Delete, Some(tuple.row), None))
    }

    // Truncate: number of tables, options (1 cascade, 2 restart identity), the tables.
    fn decode_truncate(&mut self, cursor: &mut Cursor<'_>) -> Result<Event, DecodeError> {
        self.inside(MessageKind::Truncate)?;
        let count = cursor.count(4, 1)?;
        cursor.skip(1)?;
        let relations = (0..count).map(|_| self.relation(cursor)).collect::<Result<_, _>>()?;
        Ok(Event::Truncate { relations })
    }

    // Message: flags (1 transactional), its position, prefix, content.
    fn decode_message(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, DecodeError> {
        let transactional = cursor.u8()? & 1 == 1;
        cursor.skip(8)?;
        let prefix = cursor.text()?.into();
        let len = cursor.length()?;
        let content = cursor.slice(len)?;
        self.message(transactional, prefix, content)
    }

    fn changed_relation(&self, cursor: &mut Cursor<'_>) -> Result<Arc<Relation>, DecodeError> {
        self.inside(cursor.message())?;
        self.relation(cursor)
    }

    fn relation(&self, cursor: &mut Cursor<'_>) -> Result<Arc<Relation>, DecodeError> {
        let (offset, id) = (cursor.offset(), cursor.u32()?);
        let known = self.relations.get(&id).cloned();
        known.ok_or(DecodeError::UnknownRelation { message: cursor.message(), offset, relation: id })
    }

    fn inside(&self, message: MessageKind) -> Result<(), DecodeError> {
        if self.in_transaction { Ok(()) } else { Err(DecodeError::OutsideTransaction { message }) }
    }
}

// Type: id, schema, name. Sent before a table that has a column of a type made by users; the id in the column is all we use.
fn decode_type(cursor: &mut Cursor<'_>) -> Result<Option<Event>, DecodeError> {
    cursor.skip(4)?;
    cursor.text()?;
    cursor.text()?;
    Ok(None)
}

fn row_change(relation: Arc<Relation>, operation: Operation, before: Option<Row>, after: Option<Row>) -> Event {
    Event::Row(RowChange { relation, operation, before, after })
}
