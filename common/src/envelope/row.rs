//! The rows of an envelope → a row change of its table.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    poison::{Partial, Poison, Reason},
    record::{Envelope, Operation},
    table::Table,
    value::{Numerics, Written, push_verbatim},
    wire::{self, Text},
};
use crate::change::{self, Datum, ReplicaIdentity, Row, RowChange, Value};

/// What was noticed while rows were read: none of it is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// A column that the table as it is known does not have: it was added or dropped since.
    pub has_unknown_column: bool,
    /// Values that are there, and not exactly what Postgres prints.
    pub inexact: u32,
}

/// What the values of a row are read by.
#[derive(Clone, Copy)]
struct Reading<'t> {
    table: &'t Table,
    /// As our relay wrote them; else as Debezium did.
    is_verbatim: bool,
    numerics: Numerics,
}

struct Filled {
    bytes: Vec<u8>,
    values: Box<[Value]>,
    notes: Notes,
}

impl Envelope<'_> {
    /// The change of a row of this table. A row read for a snapshot counts as inserted. A truncate is none: see
    /// [`Operation::Truncate`].
    ///
    /// # Errors
    /// [`Poison`], where a value is none of its type, or a delete names no row.
    pub fn change(&self, table: &Table, numerics: Numerics) -> Result<(RowChange, Notes), Poison> {
        self.read(table, numerics).map_err(|reason| Poison { reason, partial: self.partial() })
    }

    fn read(&self, table: &Table, numerics: Numerics) -> Result<(RowChange, Notes), Reason> {
        let reading = Reading { table, is_verbatim: self.origin.history.is_some(), numerics };
        let operation = match self.operation {
            Operation::Create | Operation::Read => change::Operation::Insert,
            Operation::Update => change::Operation::Update,
            Operation::Delete => change::Operation::Delete,
            Operation::Truncate => return Err(Reason::Shape { lacks: "a row" }),
        };
        let mut notes = Notes::default();
        let mut fill = |json: Option<&RawValue>| json.map(|json| reading.fill(json.get(), &mut notes)).transpose();
        let (before, after) = (fill(self.before)?, fill(self.after)?);
        let before = before.filter(|before| reading.is_verbatim || !before.lacks_columns_of(table));
        let before = match (operation, before, self.key) {
            (change::Operation::Delete, None, Some(key)) => Some(reading.key_row(key)?),
            (_, before, _) => before.map(|before| reading.only_identity(before).finish()).transpose()?,
        };
        if operation == change::Operation::Delete && before.is_none() {
            return Err(Reason::Shape { lacks: "before" });
        }
        let after = after.filter(|_| operation != change::Operation::Delete).map(Filled::finish).transpose()?;
        Ok((RowChange { relation: table.relation.clone(), operation, before, after }, notes))
    }
}

impl Partial {
    /// A change that names the row of the key and no more: what depends on anything else cannot be told from it. `None` where the key
    /// is not that of the table.
    pub fn change(&self, table: &Table, numerics: Numerics) -> Option<RowChange> {
        let reading = Reading { table, is_verbatim: false, numerics };
        let row = reading.key_row(self.key.as_deref()?).ok()?;
        let names_a_row = (0..row.len()).any(|column| matches!(row.get(column), Some(Datum::Text(_))));
        let operation = change::Operation::Delete;
        names_a_row.then(|| RowChange { relation: table.relation.clone(), operation, before: Some(row), after: None })
    }
}

impl Filled {
    fn finish(self) -> Result<Row, Reason> {
        Row::new(Bytes::from(self.bytes), self.values).map_err(|wrong| Reason::NotUtf8 { offset: wrong.offset })
    }

    /// Whether a whole row lacks what cannot be null: then the table had another identity when it was written, and of the row before
    /// only the key is there. (A column of text that cannot be null comes as "".)
    fn lacks_columns_of(&self, table: &Table) -> bool {
        let is_null = |(value, required): (&Value, &bool)| *required && matches!(value, Value::Null);
        table.relation.identity == ReplicaIdentity::Full && self.values.iter().zip(&table.required).any(is_null)
    }
}

impl Reading<'_> {
    fn fill(self, json: &str, notes: &mut Notes) -> Result<Filled, Reason> {
        let mut from = serde_json::Deserializer::from_str(json);
        let filled = self.deserialize(&mut from).map_err(|error| refused(&error))?;
        notes.has_unknown_column |= filled.notes.has_unknown_column;
        notes.inexact += filled.notes.inexact;
        Ok(filled)
    }

    /// A row before as Debezium writes it has nulls, or even `""`, where the identity has no column.
    fn only_identity(self, mut before: Filled) -> Filled {
        let columns = self.table.relation.columns.iter();
        for (value, _) in before.values.iter_mut().zip(columns).filter(|(_, column)| !self.is_verbatim && !column.in_identity) {
            *value = Value::Unchanged;
        }
        before
    }

    /// The row that a message's key names, all else unknown.
    fn key_row(self, key: &[u8]) -> Result<Row, Reason> {
        let text = std::str::from_utf8(key).map_err(|wrong| Reason::NotUtf8 { offset: wrong.valid_up_to() })?;
        let wrapped: wire::Salvage<'_> = serde_json::from_str(text).map_err(|error| refused(&error))?;
        let has_payload = self.table.relation.columns.iter().any(|column| &*column.name == "payload");
        let columns = wrapped.payload.filter(|_| !has_payload).map_or(text, RawValue::get);
        self.fill(columns, &mut Notes::default())?.finish()
    }

    fn put(self, filled: &mut Filled, column: usize, json: &str) -> Written {
        let (start, form) = (filled.bytes.len(), self.table.forms[column]);
        let written = match self.is_verbatim {
            true => push_verbatim(&mut filled.bytes, json, form),
            false => form.push(&mut filled.bytes, json, self.numerics),
        };
        let len = filled.bytes.len() - start;
        filled.values[column] = match (written, u32::try_from(start), u32::try_from(len)) {
            (Written::Null, ..) => Value::Null,
            (Written::Text, Ok(start), Ok(len)) => Value::Text { start, len },
            _ => Value::Unchanged,
        };
        written
    }

    /// Columns mostly come in the order of the table.
    fn column(self, name: &str, expected: usize) -> Option<usize> {
        let columns = &self.table.relation.columns;
        let is_named = |column: &change::Column| *column.name == *name;
        if columns.get(expected).is_some_and(is_named) { Some(expected) } else { columns.iter().position(is_named) }
    }
}

/// What a column's value was, as the reader of JSON can carry it.
const WRONG_TYPE: &str = "column ";

fn refused(error: &serde_json::Error) -> Reason {
    let problem = error.to_string();
    match problem.strip_prefix(WRONG_TYPE).and_then(|rest| rest.split_once(" has another type")) {
        Some((column, _)) => Reason::WrongType { column: column.to_owned() },
        None => Reason::Undecodable { problem },
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Filled;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Filled, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Filled;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the columns of a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Filled, A::Error> {
        let columns = self.table.relation.columns.len();
        let values = vec![Value::Unchanged; columns].into_boxed_slice();
        let mut filled = Filled { bytes: Vec::with_capacity(256), values, notes: Notes::default() };
        let mut expected = 0;
        while let Some(Text(name)) = map.next_key()? {
            let Some(column) = self.column(&name, expected) else {
                filled.notes.has_unknown_column = true;
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            expected = column + 1;
            let json: &RawValue = map.next_value()?;
            match self.put(&mut filled, column, json.get()) {
                Written::Wrong => return Err(A::Error::custom(format_args!("{WRONG_TYPE}{name} has another type"))),
                Written::Unknown => filled.notes.inexact += 1,
                Written::Null | Written::Text => {}
            }
        }
        Ok(filled)
    }
}
