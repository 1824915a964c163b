//! Rules held against schemas on a real server: what is found there is real, and each remedy mends it.

use freshline::rules::{Finding, LiveSchema, Rules};
use stage::Stage;

/// What the rules find in the stage's database.
async fn findings(stage: &Stage, rules: &str) -> Vec<Finding> {
    let rules = Rules::parse(rules).expect("rules");
    let mut connection = stage.pool().acquire().await.expect("a connection");
    let schema = LiveSchema::read(&mut connection, "freshline", &rules).await.expect("the catalogs");
    rules.validate(&schema)
}

/// Rules for one table `public.things`, with a tag made of a column outside its primary key.
fn things(action: &str) -> String {
    format!(
        "[[table]]\nname = \"public.things\"\nkey = \"things:{{id}}\"\naction = \"{action}\"\ntags = [{{ name = \"things:kind={{kind}}\" }}]\n"
    )
}

/// Makes a schema, finds exactly these problems in it, carries out every remedy, and finds nothing any more.
async fn check(make: &str, rules: &str, problems: &[&str]) {
    let stage = Stage::new().await;
    stage.sql(make).await;
    let found = findings(&stage, rules).await;
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(told, problems);
    for finding in &found {
        stage.sql(&finding.remedy).await;
    }
    assert_eq!(findings(&stage, rules).await, [], "after {found:?}");
}

const WHOLE: &str = "create table things (id int primary key, kind text); alter table things replica identity full;
                     alter publication freshline add table things;";

#[tokio::test]
async fn the_rules_of_the_catalogue_hold_in_its_schema() {
    let stage = Stage::new().await;
    assert_eq!(findings(&stage, include_str!("../../src/catalog/rules.toml")).await, []);
}

#[tokio::test]
async fn a_table_that_is_ready_is_found_ready() {
    check(WHOLE, &things("refresh"), &[]).await;
}

#[tokio::test]
async fn a_table_without_identity_outside_the_publication_is_mended() {
    let make = "create table things (id int primary key, kind text);";
    let problems = [
        "table public.things, publication freshline does not carry it",
        "table public.things, the row before a change of public.things does not carry what names are made of: kind",
    ];
    check(make, &things("refresh"), &problems).await;
}

#[tokio::test]
async fn an_identity_by_an_index_carries_the_columns_of_the_index() {
    let make = "create table things (id int primary key, kind text not null, more text);
                create unique index things_by_kind on things (id, kind) include (more);
                alter table things replica identity using index things_by_kind;
                alter publication freshline add table things;";
    check(make, &things("refresh"), &[]).await;
}

#[tokio::test]
async fn an_identity_of_nothing_is_mended() {
    let make = format!("{WHOLE} alter table things replica identity nothing;");
    let problem = "table public.things, the row before a change of public.things does not carry what names are made of: id, kind";
    check(&make, &things("invalidate"), &[problem]).await;
}

#[tokio::test]
async fn an_unlogged_table_is_mended() {
    let make = "create unlogged table things (id int primary key, kind text); alter table things replica identity full;";
    let problems = [
        "table public.things, its changes are not written to the log",
        "table public.things, publication freshline does not carry it",
    ];
    check(make, &things("refresh"), &problems).await;
}

#[tokio::test]
async fn a_row_filter_and_a_column_list_are_mended() {
    let stage = Stage::new().await;
    let has_lists: bool = stage.value("select current_setting('server_version_num')::int >= 150000").await;
    if !has_lists {
        return; // neither exists before Postgres 15
    }
    let make = "create table things (id int primary key, kind text); alter table things replica identity full;";
    let filtered = format!("{make} alter publication freshline add table things where (kind <> 'x');");
    check(
        &filtered,
        &things("refresh"),
        &["table public.things, publication freshline carries only rows where (kind <> 'x'::text)"],
    )
    .await;
    let listed = format!("{make} alter publication freshline add table things (id);");
    check(&listed, &things("refresh"), &["table public.things, column kind, publication freshline does not carry it"]).await;
}

#[tokio::test]
async fn a_partitioned_table_is_mended_with_its_partitions() {
    let make = "create table things (id int, kind text, primary key (id)) partition by range (id);
                create table \"Low\" partition of things for values from (0) to (10);
                create table mid partition of things for values from (10) to (30) partition by range (id);
                create table high partition of mid for values from (10) to (20);
                alter publication freshline add table things;";
    let problems = [
        "table public.things, its partitions' changes come under their own names, which have no rules",
        "table public.things, the row before a change of public.\"Low\" does not carry what names are made of: kind",
        "table public.things, the row before a change of public.high does not carry what names are made of: kind",
    ];
    check(make, &things("refresh"), &problems).await;
}

#[tokio::test]
async fn a_table_that_others_inherit_from_is_mended() {
    let make = format!("{WHOLE} create table more () inherits (things);");
    let problem =
        "table public.things, public.more inherits from it: a read of one sees rows whose changes come under the other's name";
    check(&make, &things("refresh"), &[problem]).await;
}

#[tokio::test]
async fn a_publication_that_is_not_there_or_leaves_out_operations_is_mended() {
    let make = format!("{WHOLE} drop publication freshline;");
    check(&make, &things("refresh"), &["publication freshline does not exist"]).await;
    let make = format!("{WHOLE} alter publication freshline set (publish = 'insert, update');");
    check(&make, &things("refresh"), &["publication freshline leaves out inserts, updates, deletes or truncates"]).await;
}

#[tokio::test]
async fn names_that_have_to_be_quoted_are_quoted_in_the_remedy() {
    let make = "create schema \"My Shop\"; create table \"My Shop\".\"order\" (\"Id\" int primary key, kind text);";
    let rules = things("refresh").replace("public.things", "My Shop.order").replace("{id}", "{Id}");
    let problems = [
        "table My Shop.order, publication freshline does not carry it",
        "table My Shop.order, the row before a change of \"My Shop\".\"order\" does not carry what names are made of: kind",
    ];
    check(make, &rules, &problems).await;
}

#[tokio::test]
async fn what_no_statement_mends_is_told() {
    let stage = Stage::new().await;
    let make = "create domain flag as boolean;
                create table things (id int, part int, kind flag, twice int generated always as (id * 2) stored, primary key (id, part));
                alter table things replica identity full; alter publication freshline add table things;
                create view shown as select * from things;";
    stage.sql(make).await;
    let told = |found: Vec<Finding>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        told(findings(&stage, &things("refresh")).await),
        [
            "table public.things, column twice, it is generated, and the stream leaves it out",
            "table public.things, column part, it is part of the primary key and not of the cache key, so that several rows could have one",
            "table public.things, column kind, a query prints the domain flag otherwise than the stream does",
        ]
    );
    let of_view = told(findings(&stage, &things("invalidate").replace("public.things", "public.shown")).await);
    assert_eq!(of_view[0], "table public.shown, it is no table, and has no changes of its own");
    let of_nothing = told(findings(&stage, &things("invalidate").replace("public.things", "public.nothing")).await);
    assert_eq!(of_nothing, ["table public.nothing, it does not exist"]);
}
