//! Rows as JSON: each type's form, both ways of printing it, and that nothing makes the object anything but JSON.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn encode(columns: &[(&str, u32)], values: &[Datum<'_>]) -> Result<String, NoImage> {
    let mut out = Vec::new();
    RowEncoder::new(columns.iter().copied()).push(&mut out, values.iter().copied())?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

fn one(type_id: u32, text: &str) -> String {
    encode(&[("c", type_id)], &[Datum::Text(text)]).expect("a row")
}

#[rstest::rstest]
#[case::int2(21, "-32768", "-32768")]
#[case::int8(20, "9223372036854775807", "9223372036854775807")]
#[case::oid(26, "4294967295", "4294967295")]
#[case::float(701, "-1.5e-07", "-1.5e-07")]
#[case::float_exponent(701, "1e+20", "1e+20")]
#[case::float_zero(700, "-0", "-0")]
#[case::nan(701, "NaN", "\"NaN\"")]
#[case::infinity(701, "-Infinity", "\"-Infinity\"")]
#[case::numeric_keeps_its_scale(1700, "12.50", "\"12.50\"")]
#[case::bool_of_the_stream(16, "t", "true")]
#[case::bool_of_a_cast(16, "false", "false")]
#[case::jsonb(3802, r#"{"a": [1, null]}"#, r#"{"a": [1, null]}"#)]
#[case::json_verbatim(114, "{\"a\" :1,\n\"a\":2}", "{\"a\" :1,\n\"a\":2}")]
#[case::json_that_is_none(114, r#"{"a":1},"b":2"#, r#""{\"a\":1},\"b\":2""#)]
#[case::timestamptz(1184, "2024-02-29 17:30:00+05:30", "\"2024-02-29T12:00:00Z\"")]
#[case::timestamp(1114, "2024-02-29 17:30:00", "\"2024-02-29 17:30:00\"")]
#[case::bytea(17, "\\x00ff", "\"\\\\x00ff\"")]
#[case::char_of_the_stream(1042, "ab   ", "\"ab\"")]
#[case::char_of_a_cast(1042, "ab", "\"ab\"")]
#[case::inet_of_the_stream(869, "10.0.0.1", "\"10.0.0.1\"")]
#[case::inet_of_a_cast(869, "10.0.0.1/32", "\"10.0.0.1\"")]
#[case::inet_6_of_a_cast(869, "::1/128", "\"::1\"")]
#[case::inet_network(869, "10.0.0.0/8", "\"10.0.0.0/8\"")]
#[case::array(1007, "{1,NULL}", "\"{1,NULL}\"")]
#[case::a_type_of_somebody(99_999, "anything", "\"anything\"")]
#[case::text(25, "a\"b\\c\n\u{1}ü\u{2028}", "\"a\\\"b\\\\c\\n\\u0001ü\u{2028}\"")]
#[case::a_number_that_is_none(23, "1]", "\"1]\"")]
#[case::a_number_with_zeros(23, "01", "\"01\"")]
fn a_value_has_the_form_of_its_type(#[case] type_id: u32, #[case] printed: &str, #[case] written: &str) {
    assert_eq!(one(type_id, printed), format!("{{\"c\":{written}}}"));
}

#[test]
fn a_row_is_an_object_in_the_order_of_its_columns() {
    let columns = [("id", 23), ("na\"me", 25), ("gone", 25)];
    let row = encode(&columns, &[Datum::Text("7"), Datum::Text("x"), Datum::Null]);
    assert_eq!(row.as_deref(), Ok(r#"{"id":7,"na\"me":"x","gone":null}"#));
    assert_eq!(encode(&[], &[]).as_deref(), Ok("{}"));
}

#[test]
fn a_row_that_is_not_whole_has_no_json_and_leaves_nothing_behind() {
    let encoder = RowEncoder::new([("id", 23), ("body", 25)]);
    let mut out = b"before".to_vec();
    let mut push = |values: &[Datum<'_>]| encoder.push(&mut out, values.iter().copied());
    assert_eq!(push(&[Datum::Text("7"), Datum::Unchanged]), Err(NoImage::Unchanged { column: 1 }));
    assert_eq!(push(&[Datum::Text("7")]), Err(NoImage::OtherColumns { columns: 2 }));
    assert_eq!(push(&[Datum::Text("7"), Datum::Null, Datum::Null]), Err(NoImage::OtherColumns { columns: 2 }));
    assert_eq!(out, b"before");
}

/// A float as it is printed. What it has to become is what serde_json reads, which is not always the nearest float.
fn finite() -> impl Strategy<Value = String> {
    any::<f64>().prop_filter("a number", |n| n.is_finite()).prop_map(|n| format!("{n:e}"))
}

/// A value of a type: its id, the text that Postgres prints, and the JSON that it has to become.
fn values() -> impl Strategy<Value = (u32, Option<String>, Value)> {
    prop_oneof![
        any::<i64>().prop_map(|n| (20, Some(n.to_string()), json!(n))),
        finite().prop_map(|printed| (701, Some(printed.clone()), serde_json::from_str(&printed).expect("a number"))),
        any::<bool>().prop_map(|b| (16, Some((if b { "t" } else { "f" }).to_owned()), json!(b))),
        any::<String>().prop_map(|s| (25, Some(s.clone()), json!(s))),
        (any::<String>(), any::<i32>()).prop_map(|(s, n)| (
            3802,
            Some(json!({s.clone(): [n, null]}).to_string()),
            json!({s: [n, null]})
        )),
        Just((25, None, Value::Null)),
    ]
}

proptest! {
    #[test]
    fn a_row_reads_back_as_its_values(row in proptest::collection::btree_map(any::<String>(), values(), 0..8)) {
        let columns: Vec<_> = row.iter().map(|(name, (type_id, ..))| (name.as_str(), *type_id)).collect();
        let data: Vec<_> = row.values().map(|(_, text, _)| text.as_deref().map_or(Datum::Null, Datum::Text)).collect();
        let expected: serde_json::Map<_, _> = row.iter().map(|(name, (.., value))| (name.clone(), value.clone())).collect();
        let encoded = encode(&columns, &data).expect("a whole row");
        prop_assert_eq!(serde_json::from_str::<Value>(&encoded).expect("JSON"), Value::Object(expected));
    }

    #[test]
    fn whatever_a_text_is_the_object_is_json(type_id in prop_oneof![0_u32..4000, Just(3802), Just(1184)], text in ".*") {
        let encoded = one(type_id, &text);
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&encoded).is_ok(), "{}", encoded);
    }

    #[test]
    fn what_looks_like_a_number_or_a_document_is_one(text in r#"-?[0-9.eE+\-]{0,9}|[\[\]{}",:0-9a-z\\]{0,9}"#) {
        for type_id in [23, 701, 3802] {
            let encoded = one(type_id, &text);
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&encoded).is_ok(), "{}", encoded);
        }
    }
}
