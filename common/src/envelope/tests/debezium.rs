//! Events captured from Debezium 3.7 on Postgres 15 (`tests/golden/debezium.json`): key and value of each message, by what was done.

use std::collections::BTreeMap;

use super::{ITEMS, cells, table};
use crate::{
    change::ReplicaIdentity,
    envelope::{Numerics, Record, decode},
};

type Captured = BTreeMap<String, Vec<(Option<String>, Option<String>)>>;

fn captured() -> Captured {
    serde_json::from_str(include_str!("../../../tests/golden/debezium.json")).expect("the captured events")
}

/// Each message of a kind as one line.
fn told(kind: &str) -> Vec<String> {
    let numerics = if kind.contains("precise") { Numerics::Precise } else { Numerics::Text };
    captured()[kind].iter().map(|(key, value)| told_one(key.as_deref(), value.as_deref(), numerics)).collect()
}

fn told_one(key: Option<&str>, value: Option<&str>, numerics: Numerics) -> String {
    let record = decode(key.map(str::as_bytes), value.map(str::as_bytes)).expect("an event of Debezium");
    match record {
        Record::Change(envelope) => {
            let origin = &envelope.origin;
            let place = format!(
                "{:?} {} xid {} lsn {} #{}",
                envelope.operation,
                origin.table,
                origin.xid.expect("a transaction").0,
                origin.lsn.expect("a position").get(),
                origin.ordinal.unwrap_or(0)
            );
            let full = if origin.table == "items_full" { ReplicaIdentity::Full } else { ReplicaIdentity::Default };
            let rows = envelope.change(&table(&origin.table, full, ITEMS), numerics).map(|(change, notes)| {
                let row = |row: &Option<_>| row.as_ref().map_or("-".to_owned(), |row| cells(row).join(","));
                let unknown = if notes.has_unknown_column { " +column" } else { "" };
                format!(" | {} | {}{unknown}", row(&change.before), row(&change.after))
            });
            place + &rows.unwrap_or_default()
        }
        Record::Message(message) => {
            let xid = message.origin.xid.map_or("-".to_owned(), |xid| xid.0.to_string());
            format!("Message {} xid {xid} {}", message.prefix, String::from_utf8_lossy(&message.content))
        }
        Record::Begin(begin) => format!("Begin {} {}", begin.xid.0, begin.position.get()),
        Record::End(end) => format!("End {} {} of {}", end.xid.0, end.position.get(), end.events.unwrap_or(0)),
        Record::Heartbeat(heartbeat) => format!("Heartbeat {:?}", heartbeat.position),
        Record::Hole(_) => "Hole".to_owned(),
        Record::Tombstone => "Tombstone".to_owned(),
    }
}

const ITEM_1: &str = "2026-01-02 03:04:05.678901+00,2026-01-02 03:04:05.678901,2026-01-02,03:04:05.678901,\
                      00000000-0000-4000-8000-000000000001,{\"a\": \"x\", \"b\": [1, 2.50, null]},xxxx,?,?,\\xdeadbeef,0.1,\
                      9007199254740993,t,ok,?";
const NULLS: &str = "∅,∅,∅,∅,∅,∅,∅,∅,∅,∅,∅,∅,∅,∅,∅";

#[test]
fn every_column_comes_as_postgres_prints_it() {
    let [first, _, _]: [String; 3] = told("snapshot-read").try_into().expect("three rows");
    assert_eq!(first, format!("Read items xid 735 lsn 22240936 #0 | - | 1,item 1,10.50,1.5,{ITEM_1}"));
    let [precise]: [String; 1] = told("snapshot-read-precise-isostring").try_into().expect("one row");
    assert_eq!(precise, format!("Read items xid 734 lsn 22235712 #0 | - | 1,item 1,10.50,1.5,{ITEM_1}"));
}

#[test]
fn a_row_before_holds_what_its_identity_has() {
    assert_eq!(
        told("delete-identity-default-and-tombstone"),
        ["Delete items xid 743 lsn 22277528 #1 | 11,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,? | -".to_owned(), "Tombstone".to_owned()]
    );
    let full = told("delete-identity-full-and-tombstone");
    assert!(full[0].starts_with("Delete items_full xid 744 lsn 22277736 #1 | 12,item 2,99.99,1.5,2026-01-02 03:04:05"), "{full:?}");
    let updated = told("update-identity-default");
    assert!(
        updated[0].starts_with("Update items xid 739 lsn 22275336 #1 | - | 10,ten,99.99,∅,2026-01-02 01:04:05+00,∅"),
        "{updated:?}"
    );
    let full = told("update-identity-full");
    assert!(full[0].contains("| 2,item 2,21.00,1.5,") && full[0].contains("| 2,item 2,99.99,1.5,"), "{full:?}");
}

#[test]
fn a_changed_key_is_a_delete_and_an_insert() {
    for kind in ["update-primary-key-identity-default", "update-primary-key-identity-full"] {
        let lines = told(kind);
        assert!(
            lines[0].starts_with("Delete items") && lines[1] == "Tombstone" && lines[2].starts_with("Create items"),
            "{lines:?}"
        );
    }
}

#[test]
fn what_the_log_left_out_is_unknown() {
    let row = |kind: &str| told(kind).remove(0).rsplit(" | ").next().expect("a row after").to_owned();
    assert_eq!(row("toast-unchanged-text-identity-default"), "20,toasted 2,∅,∅,∅,∅,∅,∅,∅,∅,?,∅,∅,∅,∅,∅,∅,∅,∅");
    assert_eq!(row("toast-unchanged-jsonb-bytea-intarray"), "21,toast other 2,∅,∅,∅,∅,∅,∅,∅,?,∅,?,∅,?,∅,∅,∅,∅,∅");
    assert_eq!(row("toast-unchanged-numeric-textarray"), "621,big2,∅,?,∅,∅,∅,∅,∅,∅,∅,∅,?,∅,∅,∅,∅,∅,∅");
    assert!(row("toast-unchanged-text-identity-full").contains(&"t".repeat(3000)));
}

#[test]
fn special_values_are_exact_or_unknown() {
    assert_eq!(
        told("special-values"),
        [
            "Create items xid 757 lsn 22382280 #1 | - | 30,special,-1.05,NaN,infinity,?,∅,∅,∅,∅,∅,∅,∅,∅,Infinity,-9223372036854775808,∅,∅,∅",
            "Create items xid 757 lsn 22382464 #2 | - | 31,special 2,0.00,12345678901234567890.123456789,0044-03-15 00:00:00+00 BC,?,\
             ∅,∅,∅,∅,∅,∅,∅,∅,NaN,9223372036854775807,∅,∅,∅",
        ]
    );
    // NaN came as null, so a null is unknown; the far year came as text, so it is known.
    assert_eq!(
        told("special-values-precise-isostring"),
        [
            "Create items xid 757 lsn 22382280 #0 | - | 30,special,-1.05,?,infinity,?,∅,∅,∅,∅,∅,∅,∅,∅,Infinity,-9223372036854775808,∅,∅,∅",
            "Create items xid 757 lsn 22382464 #0 | - | 31,special 2,0.00,12345678901234567890.123456789,0044-03-15 00:00:00+00 BC,\
             9999-12-31 00:00:00,∅,∅,∅,∅,∅,∅,∅,∅,NaN,9223372036854775807,∅,∅,∅",
        ]
    );
}

#[test]
fn one_topic_holds_a_transaction_from_its_begin_to_its_end() {
    let lines: Vec<_> =
        told("one-topic-whole-transaction").into_iter().map(|line| line.split(" | ").next().expect("a place").to_owned()).collect();
    assert_eq!(
        lines,
        [
            "Begin 761 22393304",
            "Create items xid 761 lsn 22393304 #1",
            "Create items_full xid 761 lsn 22393536 #2",
            "Update items xid 761 lsn 22393768 #3",
            "Message freshline-mark xid 761 x",
            "Delete items xid 761 lsn 22393920 #5",
            "Create items xid 761 lsn 22393920 #6",
            "End 761 22394136 of 6",
        ]
    );
}

#[test]
fn messages_heartbeats_and_boundaries_are_told_apart() {
    assert_eq!(
        told("logical-message"),
        [
            "Message freshline-mark xid 755 {\"mark\": 1}",
            "Message freshline-mark xid - hello nontx",
            "Message freshline-mark xid 756 only a message",
        ]
    );
    assert_eq!(told("heartbeat"), ["Heartbeat None", "Heartbeat None"]);
    assert_eq!(told("transaction-begin-end"), ["Begin 738 22275000", "End 738 22275248 of 1"]);
    assert_eq!(told("transaction-end-with-message").len(), 1);
    assert_eq!(told("truncate"), ["Truncate items xid 760 lsn 22392496 #1", "Truncate items_full xid 760 lsn 22392496 #2"]);
}

#[test]
fn a_column_that_the_catalogue_lacked_is_noticed() {
    assert_eq!(told("after-add-column"), [format!("Update items xid 767 lsn 22426920 #1 | - | 610,copy1 b,∅,∅,{NULLS} +column")]);
}

#[test]
fn every_captured_event_is_decoded() {
    for kind in captured().keys() {
        assert!(!told(kind).is_empty(), "{kind}");
    }
}

#[test]
fn a_schema_around_the_message_changes_nothing() {
    let whole = captured();
    for (kind, messages) in &whole {
        let numerics = if kind.contains("precise") { Numerics::Precise } else { Numerics::Text };
        for (key, value) in messages {
            let Some(value) = value else { continue };
            let with_schema = |payload: &str| format!("{{\"schema\":{{\"type\":\"struct\",\"fields\":[]}},\"payload\":{payload}}}");
            let (outer_key, outer) = (key.as_deref().map(with_schema), with_schema(value));
            assert_eq!(
                told_one(outer_key.as_deref(), Some(&outer), numerics),
                told_one(key.as_deref(), Some(value), numerics),
                "{kind}"
            );
        }
    }
}

#[test]
fn a_writer_that_knows_of_no_commit_before_began_anew() {
    let began_anew = |kind: &str| {
        captured()[kind].iter().any(|(key, value)| {
            let record = decode(key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes));
            matches!(record, Ok(Record::Change(envelope)) if envelope.origin.begins_anew)
        })
    };
    // Captured right after the connector had been made, and later.
    assert!(began_anew("insert"));
    assert!(!["update-identity-full", "multi-row-transaction", "truncate"].into_iter().any(began_anew));
}
