//! The rules file as its author meets it: what is taken, and what is refused with line, table, field, value and remedy.

use super::*;

fn faults(text: &str) -> Vec<String> {
    let faults = Rules::parse(text).expect_err("rules that cannot be used");
    faults.as_slice().iter().map(ToString::to_string).collect()
}

/// A file with one table, in which a line is replaced.
fn with(line: &str) -> String {
    let field = line.split('=').next().expect("a field").trim();
    let whole = ["name = \"public.products\"", "key = \"products:{id}\"", "action = \"refresh\""];
    let kept = whole.iter().filter(|other| !other.starts_with(field));
    kept.fold(format!("[[table]]\n{line}\n"), |text, line| text + line + "\n")
}

#[test]
fn the_rules_of_the_catalogue_can_be_used() {
    let rules = Rules::parse(include_str!("../../catalog/rules.toml")).expect("our own rules");
    assert_eq!(rules.tables().map(ToString::to_string).collect::<Vec<_>>(), ["public.products"]);
    assert_eq!((rules.tables[0].action, rules.tables[0].tags.len()), (Action::Refresh, 7));
}

#[test]
fn a_tag_without_on_is_touched_by_its_own_columns() {
    let rules = Rules::parse(&with(r#"tags = [{ name = "a:{x}:{y}" }, { name = "b", on = ["delete", "z"] }]"#)).expect("rules");
    let [own, given] = &*rules.tables[0].tags else { panic!("two tags") };
    let columns = |tag: &TagRule| tag.on.columns.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(own.on.insert && own.on.delete && columns(own) == ["x", "y"], "{own:?}");
    assert!(!given.on.insert && given.on.delete && columns(given) == ["z"], "{given:?}");
}

#[rstest::rstest]
#[case(
    r#"name = "products""#,
    r#"line 2: table products: name = "products" has no schema. Write schema.table, such as public.products."#
)]
#[case(
    r#"key = "products:{id""#,
    r#"line 2: table public.products: key = "products:{id" has a { without its }. Write text with columns in braces, such as products:category={category}."#
)]
#[case(
    r#"key = "products""#,
    r#"line 2: table public.products: key = "products" names no column, so that every row would have one key. Write the primary key in braces."#
)]
#[case(
    r#"action = "auto""#,
    r#"line 2: table public.products: action = "auto" is not there yet. Write refresh or invalidate: auto comes with a later version."#
)]
#[case(r#"action = "delete""#, r#"line 2: table public.products: action = "delete" is no action. Write refresh or invalidate."#)]
#[case(
    r#"tags = [{ name = "a:{x}", on = ["insert"] }]"#,
    r#"line 2: table public.products: on = ["insert"] lacks column x of the tag's name. Add "x": a row that changes it leaves one tag for another."#
)]
#[case(
    r#"tags = [{ name = "a", on = [] }]"#,
    r#"line 2: table public.products: on = [] is empty. Write insert, delete or columns, or leave it out."#
)]
#[case(
    r#"tags = [{ name = "a", on = ["update"] }]"#,
    r#"line 2: table public.products: on = ["update"] has update. Write the columns whose change touches the tag."#
)]
#[case(
    r#"columns = ["id", "id"]"#,
    r#"line 2: table public.products: columns = ["id","id"] is empty or has a column twice. Write each column of the value once, or leave it out for all."#
)]
fn what_cannot_be_done_is_told_with_its_place_and_remedy(#[case] line: &str, #[case] fault: &str) {
    assert_eq!(faults(&with(line)), [fault]);
}

#[rstest::rstest]
#[case::a_misspelt_field("tag = []", 2, "unknown field `tag`")]
#[case::a_wrong_type("tags = 3", 2, "invalid type: integer `3`")]
#[case::no_toml("tags = [", 2, "cannot be read")]
fn what_is_not_of_the_format_is_told_with_its_line(#[case] line: &str, #[case] number: usize, #[case] reason: &str) {
    let [fault] = &*faults(&with(line)) else { panic!("one fault") };
    assert!(fault.contains(reason) && fault.contains("[[table]]"), "{fault}");
    assert!(fault.starts_with(&format!("line {number}: ")) || reason == "cannot be read", "{fault}");
}

#[test]
fn a_missing_field_is_named() {
    let [fault] = &*faults("[[table]]\nname = \"public.products\"\naction = \"refresh\"\n") else { panic!("one fault") };
    assert!(fault.starts_with("line 1: ") && fault.contains("missing field `key`"), "{fault}");
}

#[test]
fn every_fault_is_told_at_once() {
    let text = "[[table]]\nname = \"a\"\nkey = \"k\"\naction = \"invalidate\"\ncolumns = [\"x\"]\n";
    let lines: Vec<_> = faults(text).iter().map(|fault| fault.split(':').next().expect("a line").to_owned()).collect();
    assert_eq!(lines, ["line 2", "line 3", "line 5"]);
}

#[test]
fn tables_that_could_share_a_key_are_refused() {
    let table = |name: &str, key: &str| format!("[[table]]\nname = \"{name}\"\nkey = \"{key}\"\naction = \"invalidate\"\n");
    assert!(Rules::parse(&(table("a.b", "b:{id}") + &table("a.c", "c:{id}"))).is_ok());
    let [fault] = &*faults(&(table("a.b", "b:{id}") + &table("a.c", "b:{number}"))) else { panic!("one fault") };
    assert!(fault.starts_with("line 7: table a.c: key = \"b:{number}\" could name a row of table a.b as well"), "{fault}");
    let [fault] = &*faults(&(table("a.b", "b:{id}") + &table("a.b", "c:{id}"))) else { panic!("one fault") };
    assert!(fault.starts_with("line 6: table a.b: name = \"a.b\" is there twice"), "{fault}");
}

#[test]
fn a_file_without_tables_is_refused() {
    assert_eq!(faults("# nothing yet\n"), ["the file has no [[table]]. Write one for each table whose rows are cached."]);
}
