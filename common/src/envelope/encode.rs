//! Events of the direct source → envelopes in Debezium's shape, without schemas.
//!
//! Numbers, floats and booleans are JSON literals; every other value is a string of what Postgres prints, but a `timestamptz` is
//! written as ISO writes it. A value that the log does not hold is Debezium's placeholder in the row after, and left out of the row
//! before, where Debezium writes nulls. A changed key is one update that brings the old key, not a delete and an insert.

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{UNAVAILABLE, moment, record::HEARTBEAT_KEY};
use crate::{
    change::{Column, Datum, Operation, Relation, Row, RowChange},
    coherence::{Lsn, Snapshot, Source, Xid},
    row_json::{is_integer, is_number, push_string},
};

/// A message to publish. Without a key it belongs to no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// The row, as a JSON object of its key's columns.
    pub key: Option<Vec<u8>>,
    /// The envelope.
    pub value: Vec<u8>,
}

/// What is stamped on an event: its transaction, and where it stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The transaction, whole.
    pub xid: Xid,
    /// When it was committed, in µs since 1970 by Postgres's clock, where that is known.
    pub committed_us: Option<i64>,
    /// The end of its commit; `None` where the writer could not wait for it. Then an END follows the last row.
    pub end: Option<Lsn>,
    /// The event's number in its transaction, from 1. A truncate counts once a table.
    pub ordinal: u64,
    /// Whether it is the transaction's last. Never, where the writer did not know; then an END follows it.
    pub is_last: bool,
}

/// Writes the envelopes of one history.
#[derive(Debug)]
pub struct Encoder {
    /// `"source":{…` up to the fields that change.
    source: Vec<u8>,
    history: String,
}

impl Encoder {
    /// An encoder that calls itself `name`, of a database and the history that it is in.
    pub fn new(name: &str, database: &str, history: Source) -> Self {
        let mut source = b"\"source\":{\"version\":".to_vec();
        push_string(&mut source, concat!("freshline ", env!("CARGO_PKG_VERSION")));
        source.extend_from_slice(b",\"connector\":\"postgresql\",\"name\":");
        push_string(&mut source, name);
        source.extend_from_slice(b",\"snapshot\":\"false\",\"db\":");
        push_string(&mut source, database);
        Self { source, history: history.to_string() }
    }

    /// The history that it writes of.
    pub fn history(&self) -> &str {
        &self.history
    }

    /// A change of a row; `key` are the places of the columns that it is keyed by ([`super::Relations::key_columns`]).
    pub fn row(&self, change: &RowChange, key: &[usize], stamp: Stamp) -> Posting {
        let relation = &change.relation;
        let mut value = b"{\"before\":".to_vec();
        push_row(&mut value, relation, change.before.as_ref(), &[]);
        value.extend_from_slice(b",\"after\":");
        push_row(&mut value, relation, change.after.as_ref(), UNAVAILABLE.as_bytes());
        value.push(b',');
        self.push_source(&mut value, (&relation.schema, &relation.name), stamp);
        let op = match change.operation {
            Operation::Insert => 'c',
            Operation::Update => 'u',
            Operation::Delete => 'd',
        };
        push(&mut value, format_args!(",\"op\":\"{op}\"}}"));
        let named = change.after.as_ref().or(change.before.as_ref());
        Posting { key: named.and_then(|row| key_of(relation, row, key)), value }
    }

    /// A table emptied, one message each.
    pub fn truncate(&self, relation: &Relation, stamp: Stamp) -> Posting {
        let mut value = b"{\"before\":null,\"after\":null,".to_vec();
        self.push_source(&mut value, (&relation.schema, &relation.name), stamp);
        value.extend_from_slice(b",\"op\":\"t\"}");
        Posting { key: None, value }
    }

    /// A transactional logical message.
    pub fn message(&self, prefix: &str, content: &[u8], stamp: Stamp) -> Posting {
        let mut key = b"{\"prefix\":".to_vec();
        push_string(&mut key, prefix);
        key.push(b'}');
        let mut value = b"{\"op\":\"m\",".to_vec();
        self.push_source(&mut value, ("", ""), stamp);
        value.extend_from_slice(b",\"message\":{\"prefix\":");
        push_string(&mut value, prefix);
        push(&mut value, format_args!(",\"content\":\"{}\"}}}}", BASE64_STANDARD.encode(content)));
        Posting { key: Some(key), value }
    }

    /// The end of a transaction whose events were written without it.
    pub fn end(&self, xid: Xid, end: Lsn, events: u64) -> Posting {
        let (whole, narrow, end) = (xid.get(), xid.get() & u64::from(u32::MAX), end.get());
        let mut value = Vec::with_capacity(200);
        push(
            &mut value,
            format_args!(
                "{{\"status\":\"END\",\"id\":\"{narrow}:{end}\",\"event_count\":{events},\"data_collections\":null,\
                 \"xid\":{whole},\"history\":\"{}\"}}",
                self.history
            ),
        );
        Posting { key: None, value }
    }

    /// Says that every change whose commit ends up to `position` has been written before this.
    pub fn heartbeat(&self, position: Lsn, now_ms: u64) -> Posting {
        let mut value = Vec::with_capacity(120);
        push(&mut value, format_args!("{{\"ts_ms\":{now_ms},\"position\":{},\"history\":\"{}\"}}", position.get(), self.history));
        Posting { key: Some(format!("{{\"{HEARTBEAT_KEY}\":\"freshline\"}}").into_bytes()), value }
    }

    /// Says that what comes before may never have been written: the log goes on at `position`, and all that will not come is in this
    /// snapshot, or had begun below `over`.
    pub fn hole(&self, position: Lsn, snapshot: Option<&Snapshot>, over: Option<Xid>) -> Posting {
        let mut value = b"{\"hole\":{\"snapshot\":".to_vec();
        match snapshot {
            Some(snapshot) => push_string(&mut value, &snapshot.to_string()),
            None => value.extend_from_slice(b"null"),
        }
        if let Some(over) = over {
            push(&mut value, format_args!(",\"over\":{over}"));
        }
        push(&mut value, format_args!("}},\"position\":{},\"history\":\"{}\"}}", position.get(), self.history));
        Posting { key: None, value }
    }

    fn push_source(&self, out: &mut Vec<u8>, (schema, table): (&str, &str), stamp: Stamp) {
        let Stamp { xid, committed_us, end, ordinal, is_last } = stamp;
        out.extend_from_slice(&self.source);
        out.extend_from_slice(b",\"schema\":");
        push_string(out, schema);
        out.extend_from_slice(b",\"table\":");
        push_string(out, table);
        let narrow = xid.get() & u64::from(u32::MAX);
        push(out, format_args!(",\"txId\":{narrow},\"xid\":{xid},\"ordinal\":{ordinal},\"last\":{is_last}"));
        if let Some(committed_us) = committed_us {
            push(out, format_args!(",\"ts_us\":{committed_us}"));
        }
        if let Some(end) = end.map(Lsn::get) {
            // Debezium has the position of the row's own record there. This one orders as well.
            push(out, format_args!(",\"sequence\":\"[null,\\\"{end}\\\"]\",\"lsn\":{end},\"end\":{end}"));
        }
        push(out, format_args!(",\"history\":\"{}\"}}", self.history));
    }
}

/// Appends formatted text. Writing to a Vec does not fail.
fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

/// A row as a JSON object. Of what is not known, `unknown` is written, or the column is left out where that is empty.
fn push_row(out: &mut Vec<u8>, relation: &Relation, row: Option<&Row>, unknown: &[u8]) {
    let Some(row) = row else { return out.extend_from_slice(b"null") };
    let mut before = b'{';
    for (place, column) in relation.columns.iter().enumerate() {
        let datum = row.get(place).unwrap_or(Datum::Unchanged);
        if datum == Datum::Unchanged && unknown.is_empty() {
            continue;
        }
        out.push(std::mem::replace(&mut before, b','));
        push_string(out, &column.name);
        out.push(b':');
        match datum {
            Datum::Null => out.extend_from_slice(b"null"),
            Datum::Text(text) => push_value(out, column, text),
            Datum::Unchanged => {
                out.push(b'"');
                out.extend_from_slice(unknown);
                out.push(b'"');
            }
        }
    }
    out.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
}

/// By `pg_type.oid`; these of the built-in types never change.
fn push_value(out: &mut Vec<u8>, column: &Column, text: &str) {
    match (column.type_id, text) {
        (16, "t") => out.extend_from_slice(b"true"),
        (16, "f") => out.extend_from_slice(b"false"),
        (20 | 21 | 23 | 26, _) if is_integer(text) => out.extend_from_slice(text.as_bytes()),
        (700 | 701, _) if is_number(text) => out.extend_from_slice(text.as_bytes()),
        (1184, _) => match moment::to_iso(text) {
            Some(iso) => push_string(out, &iso),
            None => push_string(out, text),
        },
        _ => push_string(out, text),
    }
}

/// The key of a row, where all of it is known.
fn key_of(relation: &Relation, row: &Row, columns: &[usize]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(64);
    for (n, place) in columns.iter().enumerate() {
        let (column, Some(Datum::Text(text))) = (relation.columns.get(*place)?, row.get(*place)) else { return None };
        key.push(if n == 0 { b'{' } else { b',' });
        push_string(&mut key, &column.name);
        key.push(b':');
        push_value(&mut key, column, text);
    }
    key.push(b'}');
    (!columns.is_empty()).then_some(key)
}
