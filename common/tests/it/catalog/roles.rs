//! What each login may do, and what it may not.

use rstest::rstest;
use sqlx::Connection;
use stage::{Login, Stage};

use super::{connect, run};

/// A test's database is a copy, and a copy has none of the rights on the database itself: they are granted by the same migration
/// again, which therefore has to bear it.
async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.sql(include_str!("../../../../migrations/0006_roles.sql")).await;
    stage.sql("insert into products (sku, name, category, price) values ('A', 'a', 'c', 1)").await;
    stage
}

#[tokio::test]
async fn a_login_may_do_what_its_process_does() {
    let cases = [
        (Login::Api, "select * from products"),
        (Login::Api, "insert into products (sku, name, category, price) values ('B', 'b', 'c', 1)"),
        (Login::Api, "update products set price = 2"),
        (Login::Api, r#"update products set attributes = freshline.merge_patch(attributes, '{"a": 1}')"#),
        (Login::Api, "delete from products"),
        (Login::Api, "select freshline.source(), pg_current_wal_insert_lsn(), pg_current_xact_id()"),
        (Login::Warmer, "select * from products"),
        (Login::Warmer, "select freshline.source(), pg_current_snapshot()"),
        (Login::Invalidator, "select freshline.source(), pg_current_wal_insert_lsn(), pg_current_snapshot()"),
        (Login::Invalidator, "select pg_logical_emit_message(true, 'freshline', 'x')"),
        (Login::Invalidator, "select pubname, schemaname, tablename from pg_publication_tables"),
        (Login::Invalidator, "select slot_name, confirmed_flush_lsn, wal_status from pg_replication_slots; show wal_level"),
    ];
    let stage = stage().await;
    for (login, sql) in cases {
        let mut connection = connect(&stage, login).await;
        assert_eq!(run(&mut connection, sql).await, Ok(()), "{login:?}: {sql}");
        connection.close().await.expect("closed");
    }
}

#[tokio::test]
async fn the_invalidator_may_follow_the_change_stream() {
    let stage = stage().await;
    let mut connection = connect(&stage, Login::Invalidator).await;
    let name = stage.name();
    let made = run(&mut connection, &format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')")).await;
    assert_eq!(made, Ok(()));
    stage.sql("update products set price = 3").await;
    let follow = format!(
        "select count(*) from pg_logical_slot_get_binary_changes('{name}', null, null,
             'proto_version', '1', 'publication_names', 'freshline', 'messages', 'true')"
    );
    let changes: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(follow)).fetch_one(&mut connection).await.expect("the changes");
    assert_eq!(changes, 4, "begin, relation, update and commit");
    connection.close().await.expect("closed");
}

/// 42501: insufficient privilege.
#[rstest]
#[tokio::test]
async fn a_login_may_do_nothing_else(#[values(Login::Api, Login::Invalidator, Login::Warmer)] login: Login) {
    let nobody = [
        "truncate products",
        "drop table products",
        "alter table products add x int",
        "create index on products (name)",
        "create trigger t before update on products for each row execute function freshline.touch()",
        "create table public.mine (x int)",
        "create table freshline.mine (x int)",
        "create temporary table mine (x int)",
        "create schema mine",
        "create role mine",
        "alter role freshline_api superuser",
        "create database mine",
        "alter publication freshline drop table products",
        "drop publication freshline",
        "drop event trigger freshline_ddl",
        "drop function freshline.source()",
        "select freshline.tell('x', '{}', '{freshline}')",
        "select freshline.published('{}')",
        "set role postgres",
        "select * from _sqlx_migrations",
        "select * from pg_authid",
        "copy products to program 'true'",
        "select pg_read_file('postgresql.conf')",
    ];
    let reading =
        ["select * from products", "select 1 from products for update", "do $$ begin lock products in share mode; end $$"];
    let writing = [
        "insert into products (sku, name, category, price) values ('B', 'b', 'c', 1)",
        "update products set price = 2",
        "delete from products",
        "select freshline.merge_patch('{}', '{}')",
        "select freshline.uuid_v7()",
    ];
    let following = ["select pg_create_logical_replication_slot('mine', 'pgoutput')", "select pg_drop_replication_slot('mine')"];
    let refused: Vec<&str> = match login {
        Login::Api => [&nobody[..], &following[..]].concat(),
        Login::Invalidator => [&nobody[..], &reading[..], &writing[..]].concat(),
        Login::Warmer => [&nobody[..], &reading[1..], &writing[..], &following[..]].concat(),
        Login::Superuser => unreachable!("not a role of a process"),
    };
    let stage = stage().await;
    let mut connection = connect(&stage, login).await;
    for sql in refused {
        assert_eq!(run(&mut connection, sql).await, Err("42501".to_owned()), "{login:?}: {sql}");
    }
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn the_invalidators_sessions_print_values_in_one_way_whatever_the_servers_defaults_are() {
    let stage = stage().await;
    let mut connection = connect(&stage, Login::Invalidator).await;
    // sqlx itself sets the other three, and so hides what the role has.
    let pinned: Vec<String> = sqlx::query_scalar(
        "select name || '=' || setting from pg_settings where source = 'user' and name in ('IntervalStyle', 'bytea_output') order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the settings");
    assert_eq!(pinned, ["IntervalStyle=postgres", "bytea_output=hex"]);
    connection.close().await.expect("closed");
}
