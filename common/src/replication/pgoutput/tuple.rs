//! The rows within messages: a byte for which row it is, the number of columns, and for each a byte and perhaps a value.

use super::{cursor::Cursor, error::DecodeError};
use crate::change::{NotText, Relation, Row, Value};

/// Which row a message brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKind {
    /// `N`: the row after.
    New,
    /// `O`: the row before, whole.
    Old,
    /// `K`: the key of the row before.
    OldKey,
}

/// A row and which one it is.
pub(super) struct Tuple {
    pub(super) kind: RowKind,
    pub(super) row: Row,
}

/// Reads a row of one of the kinds that may stand here.
pub(super) fn read(cursor: &mut Cursor<'_>, relation: &Relation, expected: &[RowKind]) -> Result<Tuple, DecodeError> {
    let kind = kind(cursor, expected)?;
    let values = values(cursor, relation)?;
    let row = Row::new(cursor.bytes().clone(), values)
        .map_err(|NotText { offset }| DecodeError::NotUtf8 { message: cursor.message(), offset })?;
    Ok(match kind {
        RowKind::New | RowKind::Old => Tuple { kind, row },
        // All columns come, those outside the key as null.
        RowKind::OldKey => Tuple { kind, row: row.leaving_out(|column| !relation.columns[column].in_identity) },
    })
}

fn kind(cursor: &mut Cursor<'_>, expected: &[RowKind]) -> Result<RowKind, DecodeError> {
    let offset = cursor.offset();
    let found = cursor.u8()?;
    let kind = match found {
        b'N' => Some(RowKind::New),
        b'O' => Some(RowKind::Old),
        b'K' => Some(RowKind::OldKey),
        _ => None,
    };
    let kind = kind.filter(|kind| expected.contains(kind));
    kind.ok_or(DecodeError::Byte { message: cursor.message(), offset, what: "row that may stand there", found })
}

fn values(cursor: &mut Cursor<'_>, relation: &Relation) -> Result<Box<[Value]>, DecodeError> {
    let offset = cursor.offset();
    let (found, expected) = (usize::from(cursor.u16()?), relation.columns.len());
    if found != expected {
        let table = format!("{}.{}", relation.schema, relation.name);
        return Err(DecodeError::ColumnCount { message: cursor.message(), offset, table, expected, found });
    }
    // Bounded by what has come: the Relation message brought as many columns.
    let mut values = Vec::with_capacity(found);
    for _ in 0..found {
        values.push(value(cursor)?);
    }
    Ok(values.into_boxed_slice())
}

fn value(cursor: &mut Cursor<'_>) -> Result<Value, DecodeError> {
    let offset = cursor.offset();
    match cursor.u8()? {
        b'n' => Ok(Value::Null),
        b'u' => Ok(Value::Unchanged),
        b't' => text(cursor),
        b'b' => Err(DecodeError::Binary { message: cursor.message(), offset }),
        found => Err(DecodeError::Byte { message: cursor.message(), offset, what: "value", found }),
    }
}

// Whether it is UTF-8 is asked once, of the whole row.
fn text(cursor: &mut Cursor<'_>) -> Result<Value, DecodeError> {
    let len = cursor.length()?;
    let start = cursor.offset();
    cursor.skip(len)?;
    let narrow = |n: usize| u32::try_from(n).map_err(|_| DecodeError::TooLong { message: cursor.message(), len: n });
    Ok(Value::Text { start: narrow(start)?, len: narrow(len)? })
}
