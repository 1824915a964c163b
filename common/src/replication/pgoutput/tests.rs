//! The decoder against an encoder of its own, against each way to break the protocol, and against arbitrary bytes.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use rstest::rstest;

use super::{
    DecodeError, Decoder, MessageKind,
    encode::{Cell, Sent},
};
use crate::change::{Column, Datum, Event, Operation, Relation, ReplicaIdentity, Row};

const TABLE: u32 = 16_385;

fn table(columns: usize) -> Relation {
    let column = |n| Column { name: format!("c{n}").into(), type_id: 25, type_modifier: -1, in_identity: n == 0 };
    Relation {
        id: TABLE,
        schema: "public".into(),
        name: "things".into(),
        identity: ReplicaIdentity::Full,
        columns: (0..columns).map(column).collect(),
    }
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

/// A decoder inside a transaction that knows a table of two columns.
fn inside() -> Decoder {
    let mut decoder = Decoder::new();
    for message in [Sent::Begin { xid: 700 }, Sent::Relation(table(2))] {
        decoder.decode(&message.bytes()).expect("a good message");
    }
    decoder
}

fn cells(row: &Row) -> Vec<Cell> {
    let cell = |column| match row.get(column).expect("a column of the row") {
        Datum::Null => Cell::Null,
        Datum::Unchanged => Cell::Unchanged,
        Datum::Text(value) => text(value),
    };
    (0..row.len()).map(cell).collect()
}

fn broken(message: impl Into<Bytes>) -> DecodeError {
    inside().decode(&message.into()).expect_err("a broken message")
}

fn insert() -> Sent {
    Sent::Insert { relation: TABLE, new: vec![text("1"), Cell::Null] }
}

#[test]
fn every_message_that_ends_too_early_is_an_error() {
    let whole = [
        Sent::Commit { end: 900 },
        Sent::Origin { name: "there".into() },
        Sent::Relation(table(2)),
        Sent::Type { id: 17_000, name: "mood".into() },
        insert(),
        Sent::Update { relation: TABLE, old: Some((b'O', vec![text("1"), Cell::Null])), new: vec![text("1"), Cell::Unchanged] },
        Sent::Delete { relation: TABLE, old: (b'K', vec![text("1"), Cell::Null]) },
        Sent::Truncate { relations: vec![TABLE], options: 3 },
        Sent::Message { transactional: true, prefix: "freshline".into(), content: b"any".to_vec() },
    ];
    for message in whole.map(|message| message.bytes()) {
        inside().decode(&message).expect("the whole message");
        for len in 1..message.len() {
            let error = broken(message.slice(..len));
            assert!(matches!(error, DecodeError::Truncated { .. }), "{len} bytes of {message:?}: {error}");
        }
    }
}

#[test]
fn what_is_left_over_is_an_error() {
    let mut message = insert().bytes().to_vec();
    let offset = message.len();
    message.extend([0, 0]);
    assert_eq!(broken(message), DecodeError::Trailing { message: MessageKind::Insert, offset, len: 2 });
}

#[rstest]
#[case::empty(b"", "empty message")]
#[case::unknown(b"S\0\0\0\x01", "unknown message type 0x53")]
#[case::binary(b"I\0\0\x40\x01N\0\x02b\0\0\0\x01xn", "Insert message has a binary value at byte 8; only text is asked for")]
#[case::no_such_value(b"I\0\0\x40\x01N\0\x02zn", "Insert message has 0x7a at byte 8, which is no value")]
#[case::negative_length(b"I\0\0\x40\x01N\0\x02t\xff\xff\xff\xffn", "Insert message gives the length -1 at byte 9")]
#[case::length_beyond_the_end(b"I\0\0\x40\x01N\0\x02t\x7f\xff\xff\xffn", "Insert message ends too early")]
#[case::not_utf8(b"I\0\0\x40\x01N\0\x02nt\0\0\0\x02a\xff", "Insert message is not UTF-8 at byte 15")]
#[case::fewer_columns(b"I\0\0\x40\x01N\0\x01n", "Insert message has a row of 1 columns at byte 6; public.things has 2")]
#[case::more_columns(b"I\0\0\x40\x01N\xff\xffn", "Insert message has a row of 65535 columns")]
#[case::unknown_table(b"I\0\0\x40\x02N\0\x01n", "Insert message names table 16386 at byte 1")]
#[case::old_row_in_an_insert(b"I\0\0\x40\x01O\0\x02nn", "Insert message has 0x4f at byte 5, which is no row")]
#[case::new_row_in_a_delete(b"D\0\0\x40\x01N\0\x02nn", "Delete message has 0x4e at byte 5, which is no row")]
#[case::two_old_rows(b"U\0\0\x40\x01K\0\x02nnO\0\x02nn", "Update message has 0x4f at byte 10, which is no row")]
#[case::unknown_table_emptied(b"T\0\0\0\x01\0\0\0\0\x07", "Truncate message names table 7 at byte 6")]
#[case::more_tables_than_bytes(b"T\x7f\xff\xff\xff\0\0\0\x40\x01", "Truncate message ends too early")]
#[case::flags(b"C\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "Commit message has 0x01 at byte 1, which is no flags")]
#[case::identity(b"R\0\0\x40\x01p\0t\0q\0\0", "Relation message has 0x71 at byte 9, which is no replica identity")]
#[case::name(b"R\0\0\x40\x01p\0\xc3\0d\0\0", "Relation message is not UTF-8 at byte 7")]
#[case::more_columns_than_bytes(b"R\0\0\x40\x01p\0t\0d\xff\xff", "Relation message ends too early")]
fn a_broken_message_is_refused_with_its_kind_and_place(#[case] message: &'static [u8], #[case] said: &str) {
    let error = broken(message).to_string();
    assert!(error.contains(said), "{error:?} does not say {said:?}");
}

#[test]
fn a_position_that_lua_cannot_hold_is_an_error() {
    assert_eq!(broken(Sent::Commit { end: u64::MAX }.bytes()), DecodeError::Position { position: u64::MAX });
}

#[test]
fn only_what_belongs_together_makes_a_transaction() {
    let outside = |sent: Sent| Decoder::new().decode(&sent.bytes()).expect_err("outside a transaction");
    let alone = |message| DecodeError::OutsideTransaction { message };
    assert_eq!(outside(Sent::Commit { end: 900 }), alone(MessageKind::Commit));
    assert_eq!(outside(insert()), alone(MessageKind::Insert));
    assert_eq!(outside(Sent::Truncate { relations: vec![], options: 0 }), alone(MessageKind::Truncate));
    assert_eq!(outside(Sent::Origin { name: "there".into() }), alone(MessageKind::Origin));
    let message = Sent::Message { transactional: true, prefix: "p".into(), content: vec![] };
    assert_eq!(outside(message), alone(MessageKind::Message));
    assert_eq!(broken(Sent::Begin { xid: 701 }.bytes()), DecodeError::BeginInTransaction { xid: 701 });
    assert_eq!(outside(Sent::Begin { xid: 2 }), DecodeError::Xid { xid: 2 });
}

#[test]
fn a_message_that_is_not_transactional_is_dropped_and_counted() {
    let mut decoder = Decoder::new();
    let message = Sent::Message { transactional: false, prefix: "p".into(), content: vec![1] };
    assert!(decoder.decode(&message.bytes()).expect("a good message").is_none());
    assert_eq!(decoder.messages_dropped(), 1);
}

#[test]
fn a_table_described_anew_has_its_new_columns_from_then_on() {
    let mut decoder = inside();
    let width = |decoder: &mut Decoder, new: Vec<Cell>| match decoder.decode(&Sent::Insert { relation: TABLE, new }.bytes()) {
        Ok(Some(Event::Row(change))) => change.relation.columns.len(),
        other => panic!("{other:?} is no row"),
    };
    assert_eq!(width(&mut decoder, vec![Cell::Null; 2]), 2);
    decoder.decode(&Sent::Relation(table(3)).bytes()).expect("a good message");
    assert_eq!(width(&mut decoder, vec![Cell::Null; 3]), 3);
}

#[test]
fn an_old_key_says_nothing_of_the_other_columns() {
    let message = Sent::Delete { relation: TABLE, old: (b'K', vec![text("1"), Cell::Null]) };
    let Ok(Some(Event::Row(change))) = inside().decode(&message.bytes()) else { panic!("no row") };
    assert_eq!(cells(&change.before.expect("the key")), [text("1"), Cell::Unchanged]);
}

#[test]
fn rows_share_the_memory_of_their_message() {
    let message = Sent::Insert { relation: TABLE, new: vec![text("1"), text("a long value, as long as you like")] }.bytes();
    let Ok(Some(Event::Row(change))) = inside().decode(&message) else { panic!("no row") };
    let row = change.after.expect("the new row");
    let Some(Datum::Text(value)) = row.get(1) else { panic!("no text") };
    assert!(message.as_ptr_range().contains(&value.as_ptr()));
}

fn any_cell() -> impl Strategy<Value = Cell> {
    prop_oneof![Just(Cell::Null), Just(Cell::Unchanged), ".{0,12}".prop_map(Cell::Text)]
}

fn any_name() -> impl Strategy<Value = String> {
    "[^\0]{1,10}"
}

prop_compose! {
    fn any_table(id: u32)(
        schema in any_name(),
        name in any_name(),
        identity in prop::sample::select(vec![
            ReplicaIdentity::Default, ReplicaIdentity::Nothing, ReplicaIdentity::Full, ReplicaIdentity::Index,
        ]),
        columns in vec((any_name(), any::<u32>(), any::<i32>(), any::<bool>()), 0..8),
    ) -> Relation {
        let columns = columns
            .into_iter()
            .map(|(name, type_id, type_modifier, in_identity)| Column { name: name.into(), type_id, type_modifier, in_identity })
            .collect();
        Relation { id, schema: schema.into(), name: name.into(), identity, columns }
    }
}

fn any_change(table: &Relation) -> impl Strategy<Value = Sent> + use<> {
    let (relation, width) = (table.id, table.columns.len());
    let row = move || vec(any_cell(), width);
    let old = move || (prop::sample::select(b"OK".to_vec()), row());
    let message = (any::<bool>(), any_name(), vec(any::<u8>(), 0..20));
    prop_oneof![
        row().prop_map(move |new| Sent::Insert { relation, new }),
        (option::of(old()), row()).prop_map(move |(old, new)| Sent::Update { relation, old, new }),
        old().prop_map(move |old| Sent::Delete { relation, old }),
        (0_u8..4).prop_map(move |options| Sent::Truncate { relations: vec![relation; usize::from(options)], options }),
        message.prop_map(|(transactional, prefix, content)| Sent::Message { transactional, prefix, content }),
        (any::<u32>(), any_name()).prop_map(|(id, name)| Sent::Type { id, name }),
        any_name().prop_map(|name| Sent::Origin { name }),
    ]
}

/// The row that must come out for a row before: a key's nulls outside the key are left out.
fn expected_before(table: &Relation, (kind, old): &(u8, Vec<Cell>)) -> Vec<Cell> {
    let left_out = |n: usize| *kind == b'K' && !table.columns[n].in_identity;
    let cell = |(n, cell): (usize, &Cell)| if *cell == Cell::Null && left_out(n) { Cell::Unchanged } else { cell.clone() };
    old.iter().enumerate().map(cell).collect()
}

/// Whether `event` is what `sent` means.
fn means(table: &Relation, sent: &Sent, event: Option<&Event>) -> bool {
    let row = |event: &Event, operation, before: Option<Vec<Cell>>, after: Option<&Vec<Cell>>| match event {
        Event::Row(change) => {
            *change.relation == *table
                && change.operation == operation
                && change.before.as_ref().map(cells) == before
                && change.after.as_ref().map(cells).as_ref() == after
        }
        _ => false,
    };
    match (sent, event) {
        (Sent::Insert { new, .. }, Some(event)) => row(event, Operation::Insert, None, Some(new)),
        (Sent::Update { old, new, .. }, Some(event)) => {
            row(event, Operation::Update, old.as_ref().map(|old| expected_before(table, old)), Some(new))
        }
        (Sent::Delete { old, .. }, Some(event)) => row(event, Operation::Delete, Some(expected_before(table, old)), None),
        (Sent::Truncate { relations, .. }, Some(Event::Truncate { relations: emptied })) => {
            relations.len() == emptied.len() && emptied.iter().all(|relation| **relation == *table)
        }
        (Sent::Message { transactional: true, prefix, content }, Some(Event::Message { prefix: named, content: held })) => {
            **prefix == **named && **content == **held
        }
        (Sent::Message { transactional: false, .. } | Sent::Type { .. } | Sent::Origin { .. } | Sent::Relation(_), None) => true,
        (Sent::Begin { xid }, Some(Event::Begin { xid: begun, .. })) => begun.0 == *xid,
        (Sent::Commit { end }, Some(Event::Commit { end: ended, .. })) => ended.get() == *end,
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        (table, changes) in any_table(TABLE).prop_flat_map(|table| (Just(table.clone()), vec(any_change(&table), 0..8))),
        xid in 3_u32..,
        end in 0_u64..1 << 53,
    ) {
        let mut sent = vec![Sent::Begin { xid }, Sent::Relation(table.clone())];
        sent.extend(changes);
        sent.push(Sent::Commit { end });
        let mut decoder = Decoder::new();
        for message in sent {
            let event = decoder.decode(&message.bytes()).expect("a good message");
            prop_assert!(means(&table, &message, event.as_ref()), "{message:?} became {event:?}");
        }
        prop_assert!(!decoder.in_transaction());
    }
}

/// The things an event holds, none of which may outnumber the bytes that it came in.
fn held(event: &Event) -> usize {
    let values = |row: &Option<Row>| row.as_ref().map_or(0, Row::len);
    match event {
        Event::Row(change) => values(&change.before) + values(&change.after),
        Event::Truncate { relations } => relations.len(),
        Event::Message { prefix, content } => prefix.len() + content.len(),
        Event::Begin { .. } | Event::Commit { .. } | Event::Reached { .. } | Event::CaughtUp | Event::Hole { .. } => 0,
    }
}

fn survives(decoder: &mut Decoder, message: &Bytes) {
    if let Ok(Some(event)) = decoder.decode(message) {
        assert!(held(&event) <= message.len(), "{} things held from {} bytes", held(&event), message.len());
    }
}

/// Any bytes at all, as a session of messages.
///
/// Runs for a second with every `cargo test`. Longer, with coverage: `cargo install cargo-bolero`, then
/// `cargo bolero test -p freshline replication::pgoutput::tests::arbitrary_bytes_never_break_the_decoder -T 1h`.
#[test]
fn arbitrary_bytes_never_break_the_decoder() {
    bolero::check!().with_test_time(std::time::Duration::from_secs(1)).with_type::<Vec<Vec<u8>>>().for_each(|messages| {
        let mut decoder = inside();
        for message in messages {
            survives(&mut decoder, &Bytes::copy_from_slice(message));
        }
    });
}

/// Good messages with some bytes changed, cut or added: these get further into the decoder than arbitrary bytes do.
#[test]
fn damaged_messages_never_break_the_decoder() {
    let whole = [
        Sent::Relation(table(3)),
        Sent::Update { relation: TABLE, old: Some((b'O', vec![text("1"), Cell::Null])), new: vec![text("ü"), Cell::Unchanged] },
        Sent::Delete { relation: TABLE, old: (b'K', vec![text("1"), Cell::Null]) },
        Sent::Truncate { relations: vec![TABLE, TABLE], options: 3 },
        Sent::Message { transactional: true, prefix: "freshline".into(), content: b"any".to_vec() },
        Sent::Commit { end: 900 },
    ]
    .map(|message| message.bytes());
    type Damage = (u8, Vec<(u8, u8)>, u8, Vec<u8>);
    bolero::check!().with_test_time(std::time::Duration::from_secs(1)).with_type::<Vec<Damage>>().for_each(|damages| {
        let mut decoder = inside();
        for (which, changed, kept, added) in damages {
            let mut message = whole[usize::from(*which) % whole.len()].to_vec();
            for (at, value) in changed {
                let at = usize::from(*at) % message.len();
                message[at] = *value;
            }
            message.truncate(1 + usize::from(*kept));
            message.extend(added);
            survives(&mut decoder, &message.into());
        }
    });
}
