//! Envelopes as the real Debezium wrote them, envelopes of our own there and back, and arbitrary bytes.

mod arbitrary;
mod debezium;
mod poison;
mod there_and_back;
mod values;

use std::sync::Arc;

use super::{
    Numerics, Table,
    value::{Form, Typed},
};
use crate::change::{Column, Datum, Relation, ReplicaIdentity, Row};

/// Name, `pg_type.oid`, modifier, `pg_type.typtype`, and whether it cannot be null.
type Columns<'a> = &'a [(&'a str, u32, i32, char, bool)];

/// numeric(10,2).
const NUMERIC_10_2: i32 = (10 << 16 | 2) + 4;

/// The table of the captured events.
const ITEMS: Columns<'static> = &[
    ("id", 23, -1, 'b', true),
    ("name", 25, -1, 'b', true),
    ("price", 1700, NUMERIC_10_2, 'b', false),
    ("anynum", 1700, -1, 'b', false),
    ("at", 1184, -1, 'b', false),
    ("ts", 1114, -1, 'b', false),
    ("d", 1082, -1, 'b', false),
    ("t", 1083, -1, 'b', false),
    ("u", 2950, -1, 'b', false),
    ("j", 3802, -1, 'b', false),
    ("big", 25, -1, 'b', false),
    ("arr", 1007, -1, 'b', false),
    ("tags", 1009, -1, 'b', false),
    ("b", 17, -1, 'b', false),
    ("f8", 701, -1, 'b', false),
    ("i8", 20, -1, 'b', false),
    ("ok", 16, -1, 'b', false),
    ("m", 16_390, -1, 'e', false),
    ("iv", 1186, -1, 'b', false),
];

/// A table keyed by its first column.
fn table(name: &str, identity: ReplicaIdentity, columns: Columns<'_>) -> Table {
    let column = |(place, &(name, type_id, type_modifier, _, _)): (usize, &(&str, u32, i32, char, bool))| {
        let in_identity = identity == ReplicaIdentity::Full || (identity != ReplicaIdentity::Nothing && place == 0);
        Column { name: name.into(), type_id, type_modifier, in_identity }
    };
    let form = |&(_, id, modifier, kind, _): &(&str, u32, i32, char, bool)| Form::of(&Typed { id, modifier, kind, name: "" });
    Table {
        forms: columns.iter().map(form).collect(),
        required: columns.iter().map(|column| column.4).collect(),
        key: columns.iter().take(1).map(|column| column.0.into()).collect(),
        relation: Arc::new(Relation {
            id: 16_400,
            schema: "public".into(),
            name: name.into(),
            identity,
            columns: columns.iter().enumerate().map(column).collect(),
        }),
    }
}

/// A value as a short text: `∅` is null, `?` unknown.
fn cells(row: &Row) -> Vec<String> {
    let cell = |column| match row.get(column).expect("a column of the row") {
        Datum::Null => "∅".to_owned(),
        Datum::Unchanged => "?".to_owned(),
        Datum::Text(text) => text.to_owned(),
    };
    (0..row.len()).map(cell).collect()
}

/// What a value of a type becomes.
fn value(column: (u32, i32), json: &str, numerics: Numerics) -> Option<String> {
    use super::value::Written;
    let form = Form::of(&Typed { id: column.0, modifier: column.1, kind: 'b', name: "" });
    let mut out = b"before".to_vec();
    match form.push(&mut out, json, numerics) {
        Written::Text => String::from_utf8(out).ok()?.strip_prefix("before").map(str::to_owned),
        Written::Null => Some("∅".to_owned()),
        Written::Unknown => Some("?".to_owned()),
        Written::Wrong => {
            assert_eq!(out, b"before", "what is not used is left behind");
            None
        }
    }
}
