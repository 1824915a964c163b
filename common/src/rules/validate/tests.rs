//! Each way in which a schema can fail its rules, and the statement that mends it.

use super::*;
use crate::rules::{LiveColumn, LivePartition};

const RULES: &str = r#"
[[table]]
name = "public.products"
key = "products:{id}"
action = "refresh"
tags = [{ name = "products:category={category}" }]
"#;

fn column(name: &str, type_id: u32, type_name: &str) -> LiveColumn {
    LiveColumn { name: name.to_owned(), type_name: type_name.to_owned(), type_id, is_domain: false, is_generated: false }
}

/// A schema in which the rules hold.
fn schema() -> LiveSchema {
    let published = ["id", "category", "price"].map(str::to_owned).to_vec();
    LiveSchema {
        publication_name: "freshline".to_owned(),
        publication: Some(Publication { every_operation: true, via_root: false }),
        tables: vec![LiveTable {
            name: TableName::parse("public.products").expect("a name"),
            sql_name: "public.products".to_owned(),
            kind: 'r',
            logged: true,
            columns: vec![column("id", 23, "integer"), column("category", 25, "text"), column("price", 1700, "numeric(12,2)")],
            primary_key: vec!["id".to_owned()],
            identity: ReplicaIdentity::Full,
            identity_columns: Vec::new(),
            published: Some(PublishedTable { columns: Some(published), row_filter: None }),
            partition_of: None,
            below: Vec::new(),
        }],
    }
}

fn part(identity: ReplicaIdentity) -> LivePartition {
    LivePartition { sql_name: "public.part".to_owned(), identity, identity_columns: vec!["id".to_owned()] }
}

/// The findings of these rules in a schema that was changed: where, what, remedy.
fn findings(rules: &str, change: impl FnOnce(&mut LiveSchema)) -> Vec<(String, String)> {
    let mut live = schema();
    change(&mut live);
    let found = Rules::parse(rules).expect("rules").validate(&live);
    found.into_iter().map(|finding| (finding.to_string(), finding.remedy)).collect()
}

/// The only finding.
fn finding(change: impl FnOnce(&mut LiveTable)) -> (String, String) {
    let mut found = findings(RULES, |schema| change(&mut schema.tables[0]));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn where_the_rules_hold_nothing_is_found() {
    assert_eq!(findings(RULES, |_| {}), []);
    // Before Postgres 15 the catalogs do not tell columns.
    assert_eq!(findings(RULES, |schema| schema.tables[0].published = Some(PublishedTable { columns: None, row_filter: None })), []);
}

#[test]
fn a_missing_publication_is_created_with_the_tables_of_the_rules() {
    let found = findings(RULES, |schema| schema.publication = None);
    assert_eq!(found[0].0, "publication freshline does not exist");
    assert_eq!((found[0].1.as_str(), found.len()), ("create publication freshline for table public.products;", 1));
}

#[test]
fn a_publication_without_every_operation_is_mended() {
    let found = findings(RULES, |schema| schema.publication = Some(Publication { every_operation: false, via_root: false }));
    assert_eq!(found[0].1, "alter publication freshline set (publish = 'insert, update, delete, truncate');");
}

#[test]
fn a_table_that_does_not_exist_is_named() {
    let found = findings(RULES, |schema| schema.tables.clear());
    assert_eq!(found[0].0, "table public.products, it does not exist");
}

#[test]
fn a_table_that_the_publication_misses_is_added() {
    let (problem, remedy) = finding(|table| table.published = None);
    assert_eq!(problem, "table public.products, publication freshline does not carry it");
    assert_eq!(remedy, "alter publication freshline add table public.products;");
}

#[test]
fn a_row_filter_and_a_column_list_are_taken_away() {
    let again = "alter publication freshline drop table public.products; alter publication freshline add table public.products;";
    let (problem, remedy) = finding(|table| {
        table.published = Some(PublishedTable { columns: None, row_filter: Some("(price > 1)".to_owned()) });
    });
    assert!(problem.ends_with("carries only rows where (price > 1)") && remedy == again, "{problem} {remedy}");
    let (problem, remedy) = finding(|table| {
        table.published = Some(PublishedTable { columns: Some(vec!["id".to_owned(), "price".to_owned()]), row_filter: None });
    });
    assert_eq!(problem, "table public.products, column category, publication freshline does not carry it");
    assert_eq!(remedy, again);
}

#[rstest::rstest]
#[case::the_default(ReplicaIdentity::Default, &["id"])]
#[case::nothing(ReplicaIdentity::Nothing, &[])]
#[case::an_index(ReplicaIdentity::Index, &["price"])]
fn an_identity_that_cannot_carry_the_names_is_made_full(#[case] identity: ReplicaIdentity, #[case] columns: &[&str]) {
    let (problem, remedy) = finding(|table| {
        table.identity = identity;
        table.identity_columns = columns.iter().map(|name| (*name).to_owned()).collect();
    });
    assert!(problem.contains("category"), "{problem}");
    assert_eq!(remedy, "alter table public.products replica identity full;");
}

#[test]
fn the_default_identity_is_enough_for_names_made_of_the_primary_key() {
    let rules = RULES.replace("{ name = \"products:category={category}\" }", "{ name = \"newest\", on = [\"price\"] }");
    let found = findings(&rules, |schema| {
        schema.tables[0].identity = ReplicaIdentity::Default;
        schema.tables[0].identity_columns = vec!["id".to_owned()];
    });
    assert_eq!(found, []);
}

#[test]
fn a_column_that_does_not_exist_is_named_once() {
    let (problem, _) = finding(|table| table.columns.retain(|column| column.name != "category"));
    assert_eq!(problem, "table public.products, column category, it does not exist");
}

#[test]
fn a_generated_column_cannot_be_part_of_a_refreshed_value_unless_it_is_streamed() {
    let generated = LiveColumn { is_generated: true, ..column("total", 23, "integer") };
    let (problem, remedy) = finding(|table| table.columns.push(generated.clone()));
    assert_eq!(problem, "table public.products, column total, it is generated, and the stream leaves it out");
    assert!(remedy.contains("columns = [...]"), "{remedy}");
    let named = RULES.replace("action = \"refresh\"", "action = \"refresh\"\ncolumns = [\"id\", \"price\"]");
    assert_eq!(findings(&named, |schema| schema.tables[0].columns.push(generated.clone())), []);
    let streamed = findings(RULES, |schema| {
        schema.tables[0].columns.push(generated.clone());
        schema.tables[0]
            .published
            .as_mut()
            .and_then(|published| published.columns.as_mut())
            .expect("columns")
            .push("total".to_owned());
    });
    assert_eq!(streamed, []);
}

#[test]
fn a_refreshed_value_needs_the_whole_primary_key_in_its_key() {
    let (problem, remedy) = finding(|table| table.primary_key.push("price".to_owned()));
    assert!(problem.contains("column price, it is part of the primary key") && remedy.contains("{price}"), "{problem} {remedy}");
    let (problem, remedy) = finding(|table| table.primary_key.clear());
    assert!(problem.contains("no primary key") && remedy.contains("add primary key"), "{problem} {remedy}");
    let removed = RULES.replace("refresh", "invalidate");
    assert_eq!(findings(&removed, |schema| schema.tables[0].primary_key.clear()), []);
}

#[test]
fn a_name_cannot_be_made_of_what_prints_by_the_session() {
    let (problem, _) = finding(|table| table.columns[1] = column("category", 1184, "timestamp with time zone"));
    assert!(problem.contains("column category") && problem.contains("timestamp with time zone depends on settings"), "{problem}");
}

#[test]
fn a_domain_that_a_cast_prints_otherwise_cannot_be_part_of_a_refreshed_value() {
    let (problem, _) = finding(|table| table.columns[2] = LiveColumn { is_domain: true, ..column("price", 16, "flag") });
    assert!(problem.contains("column price, a query prints the domain flag otherwise"), "{problem}");
}

#[test]
fn what_has_no_stream_of_changes_is_refused() {
    let (problem, _) = finding(|table| table.kind = 'v');
    assert!(problem.contains("it is no table"), "{problem}");
    let (_, remedy) = finding(|table| table.logged = false);
    assert_eq!(remedy, "alter table public.products set logged;");
    let (problem, remedy) = finding(|table| table.below.push(part(ReplicaIdentity::Full)));
    assert!(problem.contains("public.part inherits from it"), "{problem}");
    assert_eq!(remedy, "alter table public.part no inherit public.products;");
}

#[test]
fn a_partitioned_table_is_published_by_its_root_and_each_partition_carries_the_row_before() {
    let partitioned = |schema: &mut LiveSchema, via_root, identity| {
        schema.publication = Some(Publication { every_operation: true, via_root });
        schema.tables[0].kind = 'p';
        schema.tables[0].identity = ReplicaIdentity::Default;
        schema.tables[0].below.push(part(identity));
    };
    assert_eq!(findings(RULES, |schema| partitioned(schema, true, ReplicaIdentity::Full)), []);
    let found = findings(RULES, |schema| partitioned(schema, false, ReplicaIdentity::Full));
    assert_eq!(found[0].1, "alter publication freshline set (publish_via_partition_root = true);");
    let found = findings(RULES, |schema| partitioned(schema, true, ReplicaIdentity::Default));
    assert_eq!(found[0].1, "alter table public.part replica identity full;");
}

#[test]
fn rules_for_a_partition_that_is_published_by_its_root_are_refused() {
    let found = findings(RULES, |schema| {
        schema.publication = Some(Publication { every_operation: true, via_root: true });
        schema.tables[0].partition_of = Some("public.all_products".to_owned());
        schema.tables[0].published = None;
    });
    assert_eq!((found[0].1.as_str(), found.len()), ("Write the rules for public.all_products.", 1));
}
