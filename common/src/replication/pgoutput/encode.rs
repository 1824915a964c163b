//! A small encoder for the tests of the decoder: what a walsender would send, written from the manual and not from the decoder.

use bytes::{BufMut, Bytes, BytesMut};

use crate::change::{Relation, ReplicaIdentity};

/// A value to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Unchanged,
    Text(String),
}

/// One message to send.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    Begin { xid: u32 },
    Commit { end: u64 },
    Origin { name: String },
    Relation(Relation),
    Type { id: u32, name: String },
    Insert { relation: u32, new: Vec<Cell> },
    Update { relation: u32, old: Option<(u8, Vec<Cell>)>, new: Vec<Cell> },
    Delete { relation: u32, old: (u8, Vec<Cell>) },
    Truncate { relations: Vec<u32>, options: u8 },
    Message { transactional: bool, prefix: String, content: Vec<u8> },
}

impl Sent {
    pub(super) fn bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Begin { xid } => {
                out.put_slice(b"B");
                out.put_u64(7);
                out.put_i64(8);
                out.put_u32(*xid);
            }
            Self::Commit { end } => {
                out.put_slice(b"C\0");
                out.put_u64(end.wrapping_sub(1));
                out.put_u64(*end);
                out.put_i64(9);
            }
            Self::Origin { name } => {
                out.put_slice(b"O");
                out.put_u64(1);
                text(&mut out, name);
            }
            Self::Relation(relation) => put_relation(&mut out, relation),
            Self::Type { id, name } => {
                out.put_slice(b"Y");
                out.put_u32(*id);
                text(&mut out, "public");
                text(&mut out, name);
            }
            Self::Insert { relation, new } => {
                out.put_slice(b"I");
                out.put_u32(*relation);
                row(&mut out, b'N', new);
            }
            Self::Update { relation, old, new } => {
                out.put_slice(b"U");
                out.put_u32(*relation);
                if let Some((kind, old)) = old {
                    row(&mut out, *kind, old);
                }
                row(&mut out, b'N', new);
            }
            Self::Delete { relation, old: (kind, old) } => {
                out.put_slice(b"D");
                out.put_u32(*relation);
                row(&mut out, *kind, old);
            }
            Self::Truncate { relations, options } => {
                out.put_slice(b"T");
                out.put_u32(relations.len() as u32);
                out.put_u8(*options);
                relations.iter().for_each(|relation| out.put_u32(*relation));
            }
            Self::Message { transactional, prefix, content } => {
                out.put_slice(b"M");
                out.put_u8((*transactional).into());
                out.put_u64(3);
                text(&mut out, prefix);
                out.put_u32(content.len() as u32);
                out.put_slice(content);
            }
        }
        out.freeze()
    }
}

fn put_relation(out: &mut BytesMut, relation: &Relation) {
    out.put_slice(b"R");
    out.put_u32(relation.id);
    text(out, &relation.schema);
    text(out, &relation.name);
    out.put_u8(match relation.identity {
        ReplicaIdentity::Default => b'd',
        ReplicaIdentity::Nothing => b'n',
        ReplicaIdentity::Full => b'f',
        ReplicaIdentity::Index => b'i',
    });
    out.put_u16(relation.columns.len() as u16);
    for column in &relation.columns {
        out.put_u8(column.in_identity.into());
        text(out, &column.name);
        out.put_u32(column.type_id);
        out.put_i32(column.type_modifier);
    }
}

fn row(out: &mut BytesMut, kind: u8, cells: &[Cell]) {
    out.put_u8(kind);
    out.put_u16(cells.len() as u16);
    for cell in cells {
        match cell {
            Cell::Null => out.put_u8(b'n'),
            Cell::Unchanged => out.put_u8(b'u'),
            Cell::Text(value) => {
                out.put_u8(b't');
                out.put_u32(value.len() as u32);
                out.put_slice(value.as_bytes());
            }
        }
    }
}

fn text(out: &mut BytesMut, value: &str) {
    out.put_slice(value.as_bytes());
    out.put_u8(0);
}
