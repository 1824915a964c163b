//! DDL tells the change stream about itself.

use serde_json::Value;
use sqlx::AssertSqlSafe;
use stage::Stage;

/// A slot of the test's own, that is looked at by SQL.
struct Stream<'a> {
    stage: &'a Stage,
}

/// What the stream tells of one kind: a message, with what it says, or anything else.
#[derive(Debug, PartialEq)]
enum Told {
    Begin,
    Message(Value),
    Other,
    Commit,
}

impl<'a> Stream<'a> {
    async fn of(stage: &'a Stage) -> Self {
        stage.sql(&format!("select pg_create_logical_replication_slot('{}', 'pgoutput')", stage.name())).await;
        Self { stage }
    }

    /// All that was told since the last call.
    async fn told(&self) -> Vec<Told> {
        let get = format!(
            "select data from pg_logical_slot_get_binary_changes('{}', null, null,
                 'proto_version', '1', 'publication_names', 'freshline', 'messages', 'true')",
            self.stage.name()
        );
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(get)).fetch_all(self.stage.pool()).await.expect("the changes");
        rows.iter().map(|row| told(row)).collect()
    }

    /// The messages since the last call, each seen to be inside a transaction.
    async fn messages(&self) -> Vec<Value> {
        let mut inside = false;
        let mut messages = Vec::new();
        for told in self.told().await {
            match told {
                Told::Begin => inside = true,
                Told::Commit => inside = false,
                Told::Message(message) => {
                    assert!(inside, "{message} came outside a transaction");
                    messages.push(message);
                }
                Told::Other => {}
            }
        }
        messages
    }
}

/// Reads as much of a message of pgoutput as these tests need: Message is `M`, flags, position (8), prefix, NUL, length (4), content.
fn told(bytes: &[u8]) -> Told {
    match bytes[0] {
        b'B' => Told::Begin,
        b'C' => Told::Commit,
        b'M' => {
            assert_eq!(bytes[1], 1, "a message that is not transactional");
            let rest = bytes[10..].strip_prefix(b"freshline.ddl\0").expect("our prefix");
            Told::Message(serde_json::from_slice(&rest[4..]).expect("JSON"))
        }
        _ => Told::Other,
    }
}

fn names(message: &Value, list: &str) -> Vec<String> {
    let names = message[list].as_array().expect("a list");
    names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// Runs each statement, and sees that it is told by one message, which names the table (by its name afterwards).
async fn each_is_told(before: &str, statements: &[(&str, &str)]) {
    let stage = Stage::new().await;
    stage.sql(before).await;
    let stream = Stream::of(&stage).await;
    for (ddl, table) in statements {
        stage.sql(ddl).await;
        let messages = stream.messages().await;
        assert_eq!(messages.len(), 1, "{ddl}: {messages:?}");
        assert!(names(&messages[0], "tables").contains(&(*table).to_owned()), "{ddl} does not name {table}: {messages:?}");
        assert_eq!(names(&messages[0], "publications"), ["freshline"], "{ddl}");
    }
}

#[tokio::test]
async fn ddl_that_changes_rows_without_a_row_event_is_told() {
    let products = "public.products";
    let statements = [
        ("alter table products alter price type numeric(14, 2)", products),
        ("alter table products alter price type numeric(14, 2) using price * 2", products),
        ("alter table products alter name type varchar(300)", products),
        ("alter table products add colour text", products),
        ("alter table products add shade text default 'blue'", products),
        ("alter table products drop description", products),
        ("alter table products rename name to title", products),
        ("do $$ begin alter table products rename title to name; end $$", products),
        ("alter table products replica identity default", products),
        ("alter table products enable row level security", products),
        ("alter table products rename to goods", "public.goods"),
        ("alter index goods rename to products", products), // it renames whatever has that name
        ("alter table products set schema shop", "shop.products"),
        ("alter schema shop rename to store", "store.products"),
        (r#"alter table store.products rename to "Odd ""Name""""#, r#"store.Odd "Name""#),
        (r#"drop table store."Odd ""Name""""#, r#"store.Odd "Name""#),
    ];
    each_is_told("create schema shop", &statements).await;
}

#[tokio::test]
async fn what_a_partitioned_table_gains_or_loses_is_told() {
    let before = "create table parts (id int primary key) partition by range (id);
         create table part_1 partition of parts for values from (1) to (10);
         create table part_2 (id int primary key);
         alter publication freshline add table parts";
    let statements = [
        ("alter table parts detach partition part_1", "public.parts"),
        ("alter table parts attach partition part_1 for values from (1) to (10)", "public.parts"),
        ("alter table parts attach partition part_2 for values from (10) to (20)", "public.parts"),
        ("alter table part_2 rename to part_two", "public.parts"),
        ("alter table parts detach partition part_1 concurrently", "public.parts"),
        ("drop table part_two", "public.part_two"), // the last one
    ];
    each_is_told(before, &statements).await;
}

#[tokio::test]
async fn a_type_that_prints_otherwise_is_told_for_the_tables_that_have_it() {
    let before = "create type mood as enum ('glad', 'sad');
         create domain moody as mood;
         create table moods (id int primary key, mood moody[]);
         alter publication freshline add table moods";
    let statements =
        [("alter type mood rename value 'sad' to 'sorry'", "public.moods"), ("drop domain moody cascade", "public.moods")];
    each_is_told(before, &statements).await;
}

#[tokio::test]
async fn a_publication_that_tells_less_is_told() {
    for ddl in [
        "alter publication freshline drop table products",
        "alter publication freshline set (publish = 'insert')",
        "drop publication freshline",
    ] {
        let stage = Stage::new().await;
        stage.sql("create publication other for all tables").await;
        let stream = Stream::of(&stage).await;
        stage.sql(ddl).await;
        // The stream itself ends with its publication; messages do not depend on one.
        let messages = stream.messages().await;
        assert_eq!(messages.len(), 1, "{ddl}: {messages:?}");
        assert_eq!(names(&messages[0], "publications"), ["freshline"], "{ddl}");
    }
}

#[tokio::test]
async fn ddl_that_changes_no_published_row_is_not_told() {
    let stage = Stage::new().await;
    stage.sql("create table other (x int)").await;
    let stream = Stream::of(&stage).await;
    stage
        .sql(
            "create index on products (description);
             comment on table products is 'x';
             grant select on products to public;
             create table another (x int);
             alter table other add y int;
             alter table other rename to others;
             drop table others;
             create temporary table products (x int);
             alter table pg_temp.products add y int;
             drop table pg_temp.products;
             create type kind as enum ('a');
             alter type kind add value 'b'",
        )
        .await;
    assert_eq!(stream.messages().await, Vec::<Value>::new());
}

#[tokio::test]
async fn ddl_that_is_rolled_back_is_not_told() {
    let stage = Stage::new().await;
    let stream = Stream::of(&stage).await;
    stage.sql("begin; alter table products rename name to title; rollback").await;
    stage.sql("begin; savepoint s; alter table products drop name; rollback to s; update products set price = 1; commit").await;
    assert_eq!(stream.messages().await, Vec::<Value>::new());
}

/// A reader may not meet the change without the message: both are in one transaction, whatever comes around them.
#[tokio::test]
async fn ddl_and_the_rows_of_its_transaction_are_told_together() {
    let stage = Stage::new().await;
    let stream = Stream::of(&stage).await;
    stage
        .sql(
            "begin;
             insert into products (sku, name, category, price) values ('A', 'a', 'c', 1);
             alter table products alter stock_quantity type bigint;
             update products set price = 2;
             commit",
        )
        .await;
    let told = stream.told().await;
    assert_eq!(told.iter().filter(|told| **told == Told::Commit).count(), 1, "{told:?}");
    let place = told.iter().position(|told| matches!(told, Told::Message(_))).expect("a message");
    assert!((1..told.len() - 1).contains(&place), "{told:?}");
}

#[tokio::test]
async fn whoever_runs_ddl_needs_no_right_on_the_schema_freshline() {
    let stage = Stage::new().await;
    let owner = format!("owner_{}", stage.name());
    stage
        .sql(&format!(
            "create role {owner}; grant create, usage on schema public to {owner}; alter table products owner to {owner}"
        ))
        .await;
    let stream = Stream::of(&stage).await;
    stage.sql(&format!("set role {owner}; alter table products add x int; alter table products drop x; reset role")).await;
    assert_eq!(stream.messages().await.len(), 2);
    stage.sql(&format!("reassign owned by {owner} to postgres; drop owned by {owner}; drop role {owner}")).await;
}

#[tokio::test]
async fn ddl_of_a_restore_is_told() {
    let stage = Stage::new().await;
    let stream = Stream::of(&stage).await;
    stage.sql("set session_replication_role = replica; alter table products drop name; reset session_replication_role").await;
    assert_eq!(stream.messages().await.len(), 1);
}
