//! What cannot be used, and what is read of it all the same.

use super::{ITEMS, cells, table};
use crate::{
    change::{Operation, ReplicaIdentity},
    envelope::{Numerics, Partial, Poison, Reason, Record, decode},
};

fn poison(key: &str, value: &[u8]) -> Poison {
    decode(Some(key.as_bytes()), Some(value)).map(|record| format!("{record:?}")).expect_err("poison")
}

const SOURCE: &str = r#""source":{"schema":"public","table":"items","txId":761,"lsn":100}"#;

#[rstest::rstest]
#[case::no_json(b"\x00\x01", "undecodable")]
#[case::not_utf8(b"{\"a\":\"\xff\"}", "undecodable")]
#[case::cut(br#"{"before":null,"after":{"id":1"#, "undecodable")]
#[case::two_documents(b"{}{}", "undecodable")]
#[case::another_shape(br#"{"id":1,"name":"unwrapped"}"#, "other-shape")]
#[case::another_shape_without_id(br#"{"name":"unwrapped"}"#, "other-shape")]
#[case::an_array(b"[1,2]", "undecodable")]
#[case::nothing(b"", "undecodable")]
#[case::no_source(br#"{"op":"c","after":{}}"#, "other-shape")]
#[case::unknown_op(br#"{"op":"x","source":{"table":"t","txId":5}}"#, "wrong-type")]
#[case::no_xid(br#"{"op":"d","source":{"table":"t"}}"#, "other-shape")]
#[case::a_bootstrap_xid(br#"{"op":"d","source":{"table":"t","txId":2}}"#, "wrong-type")]
#[case::content_that_is_no_base64(br#"{"op":"m","source":{},"message":{"prefix":"p","content":"%"}}"#, "wrong-type")]
#[case::boundary_without_end(br#"{"status":"END","id":"700"}"#, "wrong-type")]
#[case::lsn_beyond_lua(br#"{"status":"END","id":"700:18446744073709551615"}"#, "wrong-type")]
fn a_message_that_is_no_envelope_is_poison(#[case] value: &[u8], #[case] word: &str) {
    let poison = poison("{}", value);
    assert_eq!(poison.reason.word(), word, "{poison}");
}

#[test]
fn the_transaction_and_the_key_are_told_where_they_can_be_read() {
    let value = format!(r#"{{"op":7,"after":[],{SOURCE}}}"#);
    let partial = poison(r#"{"id":5}"#, value.as_bytes()).partial;
    assert_eq!(partial.xid, Some(761));
    assert_eq!(partial.table, Some(("public".into(), "items".into())));
    let change = partial.change(&table("items", ReplicaIdentity::Full, ITEMS), Numerics::Text).expect("a key");
    assert_eq!(change.operation, Operation::Delete);
    assert_eq!(cells(&change.before.expect("the key"))[..3], ["5", "?", "?"]);
}

#[test]
fn a_key_of_something_else_names_no_row() {
    let table = table("items", ReplicaIdentity::Default, ITEMS);
    for key in [&b"{\"other\":1}"[..], b"{\"id\":null}", b"{\"id\":\"x\"}", b"5", b"\xff"] {
        let partial = Partial { key: Some(key.into()), ..Partial::default() };
        assert!(partial.change(&table, Numerics::Text).is_none(), "{key:?}");
    }
}

#[test]
fn a_value_of_another_type_names_its_column_transaction_and_key() {
    let value = format!(r#"{{"op":"c","after":{{"id":5,"name":7}},{SOURCE}}}"#);
    let Ok(Record::Change(envelope)) = decode(Some(br#"{"id":5}"#), Some(value.as_bytes())) else { panic!("no change") };
    let poison = envelope.change(&table("items", ReplicaIdentity::Default, ITEMS), Numerics::Text).expect_err("poison");
    assert_eq!(poison.reason, Reason::WrongType { column: "name".into() });
    assert_eq!((poison.partial.xid, poison.partial.key.as_deref()), (Some(761), Some(&br#"{"id":5}"#[..])));
}

#[test]
fn a_delete_without_the_row_before_is_named_by_its_key() {
    let value = format!(r#"{{"op":"d","before":null,{SOURCE}}}"#);
    let table = table("items", ReplicaIdentity::Nothing, ITEMS);
    let Ok(Record::Change(envelope)) = decode(Some(br#"{"id":5}"#), Some(value.as_bytes())) else { panic!("no change") };
    let (change, _) = envelope.change(&table, Numerics::Text).expect("a change");
    assert_eq!(cells(&change.before.expect("the key"))[..2], ["5", "?"]);
    let Ok(Record::Change(envelope)) = decode(None, Some(value.as_bytes())) else { panic!("no change") };
    assert_eq!(envelope.change(&table, Numerics::Text).expect_err("poison").reason, Reason::Shape { lacks: "before" });
}

#[test]
fn a_row_that_was_written_under_another_identity_says_only_its_key() {
    // A whole row would have a name; this one was written when the identity was the key.
    let columns: Vec<_> = ITEMS
        .iter()
        .map(|column| if column.0 == "price" { (column.0, column.1, column.2, column.3, true) } else { *column })
        .collect();
    let value = format!(r#"{{"op":"d","before":{{"id":5,"name":"","price":null}},{SOURCE}}}"#);
    let Ok(Record::Change(envelope)) = decode(Some(br#"{"id":5}"#), Some(value.as_bytes())) else { panic!("no change") };
    let (change, _) = envelope.change(&table("items", ReplicaIdentity::Full, &columns), Numerics::Text).expect("a change");
    assert_eq!(cells(&change.before.expect("the key"))[..3], ["5", "?", "?"]);
}
