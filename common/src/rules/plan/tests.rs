//! What each kind of change touches, under each replica identity, and with large values left out.

use bytes::Bytes;

use super::*;
use crate::{
    change::{Relation, Row, Value},
    rules::{Rules, Unbound},
};

const RULES: &str = r#"
[[table]]
name = "public.products"
key = "products:{id}"
action = "refresh"
tags = [
  { name = "newest", on = ["insert", "delete", "id"] },
  { name = "category={category}" },
  { name = "by-price:category={category}", on = ["insert", "delete", "category", "price"] },
]
"#;

/// id int4, category text, price numeric, description text.
fn relation(identity: ReplicaIdentity) -> Relation {
    let column = |name: &str, type_id, key: bool| Column {
        name: name.into(),
        type_id,
        type_modifier: -1,
        in_identity: key || identity == ReplicaIdentity::Full,
    };
    let columns =
        [column("id", 23, true), column("category", 25, false), column("price", 1700, false), column("description", 25, false)];
    Relation { id: 1, schema: "public".into(), name: "products".into(), identity, columns: columns.into() }
}

fn plan(identity: ReplicaIdentity) -> TablePlan {
    let rules = Rules::parse(RULES).expect("rules");
    rules.bind(&relation(identity)).expect("columns that exist").expect("a table with rules")
}

/// A row as text: values between blanks, `-` is null and `…` unchanged.
fn row(text: &'static str) -> Row {
    let value = |word: &str| match word {
        "-" => Value::Null,
        "…" => Value::Unchanged,
        _ => {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            Value::Text { start: u32::try_from(start).expect("short"), len: u32::try_from(word.len()).expect("short") }
        }
    };
    let values = text.split(' ').map(value).collect();
    Row::new(Bytes::from_static(text.as_bytes()), values).expect("words of the text")
}

fn change(identity: ReplicaIdentity, before: Option<&'static str>, after: Option<&'static str>) -> RowChange {
    let operation = match (before, after) {
        (None, Some(_)) => Operation::Insert,
        (_, Some(_)) => Operation::Update,
        (_, None) => Operation::Delete,
    };
    RowChange { relation: relation(identity).into(), operation, before: before.map(row), after: after.map(row) }
}

/// An update whose row before was left out, because the identity kept its values.
fn keyless_update(identity: ReplicaIdentity, after: &'static str) -> RowChange {
    RowChange { operation: Operation::Update, ..change(identity, None, Some(after)) }
}

fn keys(change: &RowChange) -> Result<Vec<String>, Missing> {
    let keys = plan(change.relation.identity).keys(change)?;
    Ok([Some(keys.row), keys.former].into_iter().flatten().map(|key| key.to_string()).collect())
}

fn tags(change: &RowChange) -> Result<Vec<String>, Missing> {
    let mut touched = Vec::new();
    plan(change.relation.identity).tags(change, &mut touched)?;
    Ok(touched.iter().map(Tag::to_string).collect())
}

fn image(change: &RowChange) -> Result<String, Missing> {
    let mut out = Vec::new();
    plan(change.relation.identity).image(change, &mut out)?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

fn missing(column: &str, image: Image) -> Missing {
    Missing { table: TableName::parse("public.products").expect("a name"), column: column.into(), image }
}

use ReplicaIdentity::{Default, Full};

#[test]
fn an_insert_touches_its_row_and_the_tags_of_the_row_after() {
    let change = change(Full, None, Some("7 audio 9.50 text"));
    assert_eq!(keys(&change), Ok(vec!["products:7".to_owned()]));
    assert_eq!(tags(&change).expect("tags"), ["newest", "category=audio", "by-price:category=audio"]);
    assert_eq!(image(&change).expect("an image"), r#"{"id":7,"category":"audio","price":"9.50","description":"text"}"#);
}

#[test]
fn a_delete_touches_its_row_and_the_tags_of_the_row_before() {
    let change = change(Full, Some("7 - 9.50 text"), None);
    assert_eq!(keys(&change), Ok(vec!["products:7".to_owned()]));
    assert_eq!(tags(&change).expect("tags"), ["newest", "category=%N", "by-price:category=%N"]);
    assert_eq!(image(&change), Err(missing("id", Image::After)));
}

/// A relay leaves out what its broker does not take, in both rows.
#[test]
fn a_value_left_out_because_it_is_long_may_have_changed_and_one_that_did_not_change_has_not() {
    let long = change(Full, Some("7 audio … text"), Some("7 audio … text"));
    assert_eq!(tags(&long).expect("tags"), ["by-price:category=audio"]);
    assert_eq!(image(&long), Err(missing("price", Image::After)));
    let unchanged = change(Full, Some("7 audio 9.50 text"), Some("7 audio … text"));
    assert_eq!(tags(&unchanged).expect("tags"), [""; 0]);
    assert!(image(&unchanged).is_ok());
}

#[rstest::rstest]
#[case::nothing("7 audio 9.50 text", &[])]
#[case::a_column_of_no_tag("7 audio 9.50 other", &[])]
#[case::the_order_of_a_list("7 audio 8.00 text", &["by-price:category=audio"])]
#[case::who_is_in_a_list("7 video 9.50 text", &["category=audio", "category=video", "by-price:category=audio", "by-price:category=video"])]
#[case::to_null("7 - 9.50 text", &["category=audio", "category=%N", "by-price:category=audio", "by-price:category=%N"])]
fn an_update_touches_the_tags_whose_columns_it_changed(#[case] after: &'static str, #[case] touched: &[&str]) {
    let change = change(Full, Some("7 audio 9.50 text"), Some(after));
    assert_eq!(tags(&change).expect("tags"), touched);
    assert_eq!(keys(&change), Ok(vec!["products:7".to_owned()]));
}

#[rstest::rstest]
#[case::full(Full, "7 audio 9.50 text")]
#[case::by_default(Default, "7 - - -")]
fn a_row_that_changes_its_key_touches_both(#[case] identity: ReplicaIdentity, #[case] before: &'static str) {
    let change = change(identity, Some(before), Some("8 audio 9.50 text"));
    assert_eq!(keys(&change), Ok(vec!["products:8".to_owned(), "products:7".to_owned()]));
}

#[test]
fn a_large_value_that_was_left_out_is_taken_from_the_row_before() {
    let change = change(Full, Some("7 audio 9.50 text"), Some("7 … 8.00 …"));
    assert_eq!(tags(&change).expect("tags"), ["by-price:category=audio"]);
    assert_eq!(image(&change).expect("an image"), r#"{"id":7,"category":"audio","price":"8.00","description":"text"}"#);
    let columns: Vec<_> = plan(Full).changed_columns(&change).collect();
    assert_eq!(columns, [2]);
}

#[test]
fn without_the_row_before_a_large_value_that_was_left_out_is_missing() {
    let change = keyless_update(Default, "7 audio 8.00 …");
    assert_eq!(image(&change), Err(missing("description", Image::After)));
    assert_eq!(keys(&change), Ok(vec!["products:7".to_owned()]));
}

#[test]
fn under_the_default_identity_what_the_row_before_lacks_is_not_taken_for_null() {
    let deleted = change(Default, Some("7 - - -"), None);
    assert_eq!(keys(&deleted), Ok(vec!["products:7".to_owned()]));
    assert_eq!(tags(&deleted), Err(missing("category", Image::Before)));
    assert_eq!(tags(&keyless_update(Default, "7 audio 9.50 text")), Err(missing("category", Image::Before)));
}

#[test]
fn without_the_row_before_a_tag_is_touched_unless_its_columns_are_known_to_be_kept() {
    let text = r#"
[[table]]
name = "public.products"
key = "products:{id}"
action = "invalidate"
tags = [{ name = "by-price", on = ["price"] }, { name = "same={id}" }, { name = "new", on = ["insert", "delete"] }]
"#;
    let plan = Rules::parse(text).expect("rules").bind(&relation(Default)).expect("columns").expect("rules");
    let mut touched = Vec::new();
    plan.tags(&keyless_update(Default, "7 audio 9.50 text"), &mut touched).expect("tags");
    assert_eq!(touched, [Tag::new("by-price")]);
}

#[test]
fn under_full_identity_an_update_without_the_row_before_tells_too_little() {
    assert_eq!(tags(&keyless_update(Full, "7 audio 9.50 text")), Err(missing("category", Image::Before)));
}

#[test]
fn a_row_that_is_shorter_than_its_table_is_missing_a_value_and_nothing_breaks() {
    let change = change(Full, None, Some("7 audio"));
    assert_eq!(tags(&change).expect("tags"), ["newest", "category=audio", "by-price:category=audio"]);
    assert_eq!(image(&change), Err(missing("price", Image::After)));
}

#[test]
fn the_value_has_the_columns_of_the_rules_in_their_order() {
    let text = "[[table]]\nname = \"public.products\"\nkey = \"p:{id}\"\naction = \"refresh\"\ncolumns = [\"price\", \"id\"]\n";
    let plan = Rules::parse(text).expect("rules").bind(&relation(Full)).expect("columns").expect("rules");
    let mut out = Vec::new();
    plan.image(&change(Full, None, Some("7 audio 9.50 …")), &mut out).expect("an image");
    assert_eq!(out, br#"{"price":"9.50","id":7}"#);
}

#[test]
fn a_table_without_rules_has_no_plan() {
    let other = Relation { name: "orders".into(), ..relation(Full) };
    assert!(Rules::parse(RULES).expect("rules").bind(&other).expect("nothing to bind").is_none());
}

#[test]
fn columns_that_the_stream_does_not_carry_are_all_named() {
    let whole = relation(Full);
    let table = Relation { columns: whole.columns[..1].into(), ..whole };
    let unbound = Rules::parse(RULES).expect("rules").bind(&table).expect_err("columns are missing");
    assert!(matches!(&unbound, Unbound::NoColumns { columns, .. } if *columns == ["category", "price"]), "{unbound}");
}

#[test]
fn a_refreshed_value_needs_a_key_of_its_own() {
    let text = "[[table]]\nname = \"public.products\"\nkey = \"p:{category}\"\naction = \"refresh\"\n";
    let unbound = Rules::parse(text).expect("rules").bind(&relation(Default)).expect_err("two rows, one key");
    assert!(matches!(&unbound, Unbound::KeyTooShort { column, .. } if column == "id"), "{unbound}");
    let removed = text.replace("refresh", "invalidate");
    assert!(Rules::parse(&removed).expect("rules").bind(&relation(Default)).is_ok(), "to remove too much is safe");
}
