//! What the encoder writes of an event is decoded to the same event.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

use super::{Columns, cells, table};
use crate::{
    change::{Datum, Operation, ReplicaIdentity, Row, RowChange, Value},
    coherence::{Lsn, Source, Xid},
    envelope::{Encoder, Numerics, Posting, Record, Relations, Stamp, Table, UNAVAILABLE, decode},
};

const COLUMNS: Columns<'static> = &[
    ("id", 20, -1, 'b', true),
    ("na\"me", 25, -1, 'b', true),
    ("ok", 16, -1, 'b', false),
    ("f8", 701, -1, 'b', false),
    ("price", 1700, -1, 'b', false),
    ("at", 1184, -1, 'b', false),
    ("arr", 1007, -1, 'b', false),
];

const HISTORY: Source = Source { system: 7_412_345_678_901_234_567, timeline: 2, started_us: 1_763_719_200_000_000 };

fn encoder() -> Encoder {
    Encoder::new("shop", "data \"base\"", HISTORY)
}

#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Null,
    Unchanged,
    Text(String),
}

fn row(cells: &[Cell]) -> Row {
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for cell in cells {
        values.push(match cell {
            Cell::Null => Value::Null,
            Cell::Unchanged => Value::Unchanged,
            Cell::Text(text) => {
                let start = u32::try_from(bytes.len()).expect("short");
                bytes.extend_from_slice(text.as_bytes());
                Value::Text { start, len: u32::try_from(text.len()).expect("short") }
            }
        });
    }
    Row::new(Bytes::from(bytes), values.into()).expect("text")
}

fn any_cell(type_id: u32) -> BoxedStrategy<Cell> {
    let text = match type_id {
        20 => any::<i64>().prop_map(|n| n.to_string()).boxed(),
        16 => any::<bool>().prop_map(|b| if b { "t" } else { "f" }.to_owned()).boxed(),
        701 => prop::sample::select(vec!["0.1", "1e+15", "-0", "NaN", "Infinity", "1.25e-05"]).prop_map(str::to_owned).boxed(),
        1700 => {
            prop::sample::select(vec!["10.50", "-0.05", "NaN", "12345678901234567890123456789"]).prop_map(str::to_owned).boxed()
        }
        1184 => prop::sample::select(vec![
            "2026-01-02 03:04:05.5+00",
            "infinity",
            "0044-03-15 00:00:00+00 BC",
            "12026-01-02 00:00:00+00",
        ])
        .prop_map(str::to_owned)
        .boxed(),
        _ => any::<String>().prop_filter("the placeholder", |text| text != UNAVAILABLE).boxed(),
    };
    prop_oneof![8 => text.prop_map(Cell::Text), 1 => Just(Cell::Null), 1 => Just(Cell::Unchanged)].boxed()
}

fn any_row() -> impl Strategy<Value = Vec<Cell>> {
    COLUMNS.iter().map(|column| any_cell(column.1)).collect::<Vec<_>>()
}

fn any_change() -> impl Strategy<Value = (Operation, Option<Vec<Cell>>, Option<Vec<Cell>>)> {
    prop_oneof![
        any_row().prop_map(|after| (Operation::Insert, None, Some(after))),
        (option::of(any_row()), any_row()).prop_map(|(before, after)| (Operation::Update, before, Some(after))),
        any_row().prop_map(|before| (Operation::Delete, Some(before), None)),
    ]
}

fn any_stamp() -> impl Strategy<Value = Stamp> {
    let end = option::of((1_u64..1 << 53).prop_map(|end| Lsn::new(end).expect("below 2^53")));
    let xid = (3_u64..1 << 52).prop_filter("a normal id", |xid| xid & u64::from(u32::MAX) >= 3);
    (xid, option::of(any::<i64>()), end, 1_u64.., any::<bool>()).prop_map(|(xid, committed_us, end, ordinal, is_last)| Stamp {
        xid: Xid::new(xid).expect("below 2^53"),
        committed_us,
        end,
        ordinal,
        is_last,
    })
}

fn things() -> Table {
    table("thi\"ngs", ReplicaIdentity::Full, COLUMNS)
}

fn decoded(posting: &Posting) -> Record<'_> {
    decode(posting.key.as_deref(), Some(&posting.value)).unwrap_or_else(|poison| panic!("{poison} {posting:?}"))
}

proptest! {
    #[test]
    fn a_change_of_a_row((operation, before, after) in any_change(), stamp in any_stamp()) {
        let table = things();
        let change = RowChange {
            relation: table.relation().clone(), operation, before: before.as_deref().map(row), after: after.as_deref().map(row),
        };
        let posting = encoder().row(&change, &[0], stamp);
        let Record::Change(envelope) = decoded(&posting) else { panic!("no change") };
        let origin = &envelope.origin;
        prop_assert_eq!(u64::from(origin.xid.expect("a transaction").0), stamp.xid.get() & u64::from(u32::MAX));
        prop_assert_eq!((origin.end, origin.ordinal, origin.is_last), (stamp.end, Some(stamp.ordinal), stamp.is_last));
        prop_assert_eq!((origin.history, origin.committed_us), (Some(HISTORY), stamp.committed_us));
        let (back, notes) = envelope.change(&table, Numerics::Text).expect("a change");
        prop_assert_eq!(back.operation, operation);
        prop_assert_eq!(back.before.as_ref().map(cells), change.before.as_ref().map(cells));
        prop_assert_eq!(back.after.as_ref().map(cells), change.after.as_ref().map(cells));
        prop_assert!(!notes.has_unknown_column);
        let named = change.after.as_ref().or(change.before.as_ref()).and_then(|row| row.get(0));
        prop_assert_eq!(posting.key.is_some(), matches!(named, Some(Datum::Text(_))));
    }

    #[test]
    fn a_message(prefix in any::<String>(), content in vec(any::<u8>(), 0..40), stamp in any_stamp()) {
        let posting = encoder().message(&prefix, &content, stamp);
        let Record::Message(message) = decoded(&posting) else { panic!("no message") };
        prop_assert_eq!(&*message.prefix, &*prefix);
        prop_assert_eq!(&*message.content, &*content);
        prop_assert_eq!((message.origin.end, message.origin.is_last), (stamp.end, stamp.is_last));
    }
}

#[test]
fn an_end_a_heartbeat_and_a_hole() {
    let (xid, position) = (Xid::new((7 << 32) + 761).expect("an id"), Lsn::new(900).expect("a position"));
    let posting = encoder().end(xid, position, 6);
    let Record::End(end) = decoded(&posting) else { panic!("no end") };
    assert_eq!((end.xid.0, end.position, end.events, end.history), (761, position, Some(6), Some(HISTORY)));
    let posting = encoder().heartbeat(position, 1_763_719_200_000);
    let Record::Heartbeat(heartbeat) = decoded(&posting) else { panic!("no heartbeat") };
    assert_eq!((heartbeat.position, heartbeat.history), (Some(position), Some(HISTORY)));
    let snapshot = "10:20:12,15".parse().expect("a snapshot");
    let posting = encoder().hole(position, Some(&snapshot), None);
    let Record::Hole(hole) = decoded(&posting) else { panic!("no hole") };
    assert_eq!((hole.snapshot, hole.over, hole.position, hole.history), (Some(snapshot), None, position, Some(HISTORY)));
    let posting = encoder().hole(position, None, Some(xid));
    let Record::Hole(hole) = decoded(&posting) else { panic!("no hole") };
    assert_eq!((hole.snapshot, hole.over), (None, Some(xid)));
}

#[test]
fn a_truncate() {
    let table = things();
    let stamp = Stamp { xid: Xid::new(761).expect("an id"), committed_us: None, end: None, ordinal: 2, is_last: false };
    let posting = encoder().truncate(table.relation(), stamp);
    let Record::Change(envelope) = decoded(&posting) else { panic!("no change") };
    assert_eq!(envelope.operation, crate::envelope::Operation::Truncate);
    assert_eq!((&*envelope.origin.schema, &*envelope.origin.table), ("public", "thi\"ngs"));
}

#[test]
fn a_row_is_keyed_by_its_primary_key_whatever_its_identity() {
    let table = things();
    let relation = table.relation().clone();
    let relations = Relations::new([table]);
    assert_eq!(*relations.key_columns(&relation), [0]);
    let after = [Cell::Text("7".into()), Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null];
    let change = RowChange { relation, operation: Operation::Insert, before: None, after: Some(row(&after)) };
    let stamp = Stamp { xid: Xid::new(761).expect("an id"), committed_us: None, end: None, ordinal: 1, is_last: false };
    assert_eq!(encoder().row(&change, &[0], stamp).key.as_deref(), Some(&b"{\"id\":7}"[..]));
}
