//! What is done in SQL is what is told.

use bytes::Bytes;
use freshline::{
    change::{Event, ReplicaIdentity},
    coherence::NarrowXid,
};
use stage::Stage;

use super::{follow, rows, told};

#[tokio::test]
async fn every_operation_arrives_as_it_was_done() {
    let t = Stage::new().await;
    t.sql(
        "create table whole (id int primary key, name text, note text); alter table whole replica identity full;
         create table keyed (id int primary key, name text)",
    )
    .await;
    let mut stream = follow(&t).await;
    t.sql("insert into whole values (1, 'ü, one', null), (2, '', 'b')").await;
    t.sql("update whole set name = 'two' where id = 2; delete from whole where id = 1").await;
    t.sql("insert into keyed values (1, 'a')").await;
    t.sql("update keyed set name = 'b'; update keyed set id = 3; delete from keyed").await;
    let told: Vec<String> = stream.rows(&t).await.iter().map(told).collect();
    assert_eq!(
        told,
        [
            "Insert whole - 1,ü, one,∅",
            "Insert whole - 2,,b",
            "Update whole 2,,b 2,two,b",
            "Delete whole 1,ü, one,∅ -",
            "Insert keyed - 1,a",
            "Update keyed - 1,b",
            "Update keyed 1,… 3,b",
            "Delete keyed 3,… -",
        ]
    );
}

#[tokio::test]
async fn a_transaction_is_told_whole_between_its_begin_and_its_commit() {
    let t = Stage::new().await;
    t.sql("create table pairs (id int)").await;
    let mut stream = follow(&t).await;
    t.sql("insert into pairs values (1), (2)").await;
    t.sql("begin; insert into pairs values (3); rollback").await;
    let events = stream.seen(&t).await;
    assert!(matches!(events[..], [Event::Begin { .. }, Event::Row(_), Event::Row(_), Event::Commit { .. }]), "{events:?}");
}

#[tokio::test]
async fn a_savepoint_s_rows_come_under_the_top_transaction() {
    let t = Stage::new().await;
    t.sql("create table saved (id int)").await;
    let mut stream = follow(&t).await;
    let mut transaction = t.pool().begin().await.expect("a transaction");
    let mut run = async |sql: &'static str| sqlx::query(sql).execute(&mut *transaction).await.expect(sql);
    for sql in [
        "savepoint one",
        "insert into saved values (1)",
        "release savepoint one",
        "savepoint two",
        "insert into saved values (2)",
        "rollback to savepoint two",
        "insert into saved values (3)",
    ] {
        run(sql).await;
    }
    let top: String =
        sqlx::query_scalar("select pg_current_xact_id()::xid::text").fetch_one(&mut *transaction).await.expect("an xid");
    transaction.commit().await.expect("a commit");
    let events = stream.seen(&t).await;
    let Event::Begin { xid, .. } = events[0] else { panic!("{events:?}") };
    assert_eq!(xid, NarrowXid(top.parse().expect("a number")));
    assert_ne!(t.value::<String>("select xmin::text from saved where id = 1").await, top, "row 1 carries the savepoint's own id");
    assert_eq!(rows(events).iter().map(told).collect::<Vec<_>>(), ["Insert saved - 1", "Insert saved - 3"]);
}

#[tokio::test]
async fn a_prepared_transaction_is_told_when_it_is_committed() {
    let t = Stage::new().await;
    t.sql("create table prepared (id int)").await;
    let mut stream = follow(&t).await;
    let prepare = format!("begin; insert into prepared values (1); prepare transaction '{0}'", t.name());
    t.sql(&prepare).await;
    assert!(stream.seen(&t).await.is_empty());
    t.sql(&format!("commit prepared '{}'", t.name())).await;
    assert_eq!(stream.rows(&t).await.iter().map(told).collect::<Vec<_>>(), ["Insert prepared - 1"]);
}

#[tokio::test]
async fn tables_emptied_together_are_told_together() {
    let t = Stage::new().await;
    t.sql("create table parents (id int primary key); create table children (id int references parents)").await;
    let mut stream = follow(&t).await;
    t.sql("truncate parents restart identity cascade").await;
    let events = stream.seen(&t).await;
    let [Event::Begin { .. }, Event::Truncate { relations }, Event::Commit { .. }] = &events[..] else { panic!("{events:?}") };
    let mut names: Vec<&str> = relations.iter().map(|relation| &*relation.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["children", "parents"]);
}

#[tokio::test]
async fn a_large_value_that_did_not_change_is_left_out() {
    let t = Stage::new().await;
    t.sql(
        "create table large (id int primary key, body text, n int); alter table large alter body set storage external;
         create table large_whole (like large); alter table large_whole replica identity full;
         alter table large_whole alter body set storage external",
    )
    .await;
    let mut stream = follow(&t).await;
    t.sql("insert into large values (1, repeat('x', 9000), 1)").await;
    t.sql("insert into large_whole select * from large").await;
    t.sql("update large set n = 2; update large_whole set n = 2").await;
    let long = "x".repeat(9000);
    let told: Vec<String> = stream.rows(&t).await.iter().map(told).skip(2).collect();
    assert_eq!(told, ["Update large - 1,…,2".to_owned(), format!("Update large_whole 1,{long},1 1,…,2")]);
}

#[tokio::test]
async fn a_table_changed_between_two_rows_is_told_as_it_was_at_each() {
    let t = Stage::new().await;
    t.sql("create table growing (id int primary key, name text)").await;
    let mut stream = follow(&t).await;
    t.sql("insert into growing values (1, 'a')").await;
    t.sql("alter table growing add price numeric(12,2) default 9.5").await;
    t.sql("insert into growing values (2, 'b', 1)").await;
    t.sql("alter table growing drop name; alter table growing rename price to cost; alter table growing replica identity full")
        .await;
    t.sql("update growing set cost = 3 where id = 2").await;
    t.sql("alter table growing rename to grown").await;
    t.sql("delete from grown where id = 1").await;
    let changes = stream.rows(&t).await;
    let told: Vec<String> = changes.iter().map(told).collect();
    assert_eq!(
        told,
        ["Insert growing - 1,a", "Insert growing - 2,b,1.00", "Update growing 2,1.00 2,3.00", "Delete grown 1,9.50 -"]
    );
    let columns = |change: usize| changes[change].relation.columns.iter().map(|column| &*column.name).collect::<Vec<_>>();
    assert_eq!(columns(1), ["id", "name", "price"]);
    assert_eq!(columns(2), ["id", "cost"]);
    assert_eq!(changes[0].relation.identity, ReplicaIdentity::Default);
    assert_eq!(changes[2].relation.identity, ReplicaIdentity::Full);
}

#[tokio::test]
async fn a_transactional_message_comes_with_its_transaction_and_any_other_is_dropped() {
    let t = Stage::new().await;
    let mut stream = follow(&t).await;
    t.sql("select pg_logical_emit_message(true, 'told', '\\x00ff'::bytea)").await;
    t.sql("select pg_logical_emit_message(false, 'dropped', 'now')").await;
    t.sql(
        "begin; select pg_logical_emit_message(true, 'undone', ''); select pg_logical_emit_message(false, 'dropped', ''); rollback",
    )
    .await;
    let events = stream.seen(&t).await;
    let [Event::Begin { .. }, Event::Message { prefix, content }, Event::Commit { .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&**prefix, content), ("told", &Bytes::from_static(b"\x00\xff")));
    assert_eq!(stream.stream.messages_dropped(), 2);
}

#[tokio::test]
async fn values_are_printed_the_same_whatever_the_server_s_settings() {
    let t = Stage::new().await;
    t.sql("create table printed (a timestamptz, b date, c interval, d float8, e bytea, f numeric, g jsonb, h bool, i text[])")
        .await;
    t.sql(&format!(
        "alter database {0} set timezone = 'Asia/Tokyo'; alter database {0} set datestyle = 'German';
         alter database {0} set intervalstyle = 'sql_standard'; alter database {0} set extra_float_digits = -10;
         alter database {0} set bytea_output = 'escape'",
        t.name()
    ))
    .await;
    let mut stream = follow(&t).await;
    t.sql(
        "insert into printed values ('2024-02-29 12:00:00.5+00', '2024-02-29', '1 year 2 days 3:04:05', 0.1::float8 + 0.2, '\\x00ff',
         1.50, '{\"b\": 1, \"a\": null}', true, '{a,NULL}')",
    )
    .await;
    let told = told(&stream.rows(&t).await[0]);
    assert_eq!(
        told,
        "Insert printed - 2024-02-29 12:00:00.5+00,2024-02-29,P1Y2DT3H4M5S,0.30000000000000004,\\x00ff,1.50,\
         {\"a\": null, \"b\": 1},t,{a,NULL}"
    );
}
