//! The Relation message: how the stream describes a table.

use super::{cursor::Cursor, error::DecodeError};
use crate::change::{Column, Relation, ReplicaIdentity};

/// The flag of a column that is part of the replica identity (`LOGICALREP_IS_REPLICA_IDENTITY`).
const IN_IDENTITY: u8 = 1;

/// Id, schema, name, replica identity, number of columns, columns.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Relation, DecodeError> {
    let id = cursor.u32()?;
    let schema = schema(cursor.text()?);
    let name = cursor.text()?.into();
    let identity = identity(cursor)?;
    let count = usize::from(cursor.u16()?);
    // Not allocated ahead by the number alone: each column has to come first.
    let columns = (0..count).map(|_| column(cursor)).collect::<Result<_, _>>()?;
    Ok(Relation { id, schema, name, identity, columns })
}

// Flags, name, type, type modifier.
fn column(cursor: &mut Cursor<'_>) -> Result<Column, DecodeError> {
    Ok(Column {
        in_identity: cursor.u8()? & IN_IDENTITY != 0,
        name: cursor.text()?.into(),
        type_id: cursor.u32()?,
        type_modifier: cursor.i32()?,
    })
}

fn identity(cursor: &mut Cursor<'_>) -> Result<ReplicaIdentity, DecodeError> {
    let offset = cursor.offset();
    Ok(match cursor.u8()? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        found => return Err(DecodeError::Byte { message: cursor.message(), offset, what: "replica identity", found }),
    })
}

// `pg_catalog` comes as the empty string.
fn schema(sent: &str) -> Box<str> {
    if sent.is_empty() { "pg_catalog".into() } else { sent.into() }
}
