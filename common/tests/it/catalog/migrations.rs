//! The migrations where they are hardest: many databases at once, and no superuser.

use std::io::Write;
use std::sync::{Arc, Mutex};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use stage::{Login, Stage, migrate};

use super::options;

const ROLES: &str = "freshline_api, freshline_invalidator, freshline_warmer";

/// A server on which no migration ever made a role.
async fn untouched() -> Stage {
    let stage = Stage::own().await;
    for database in ["freshline_template", stage.name()] {
        let mut connection = stage.postgres().connect(database).await.expect("a connection");
        sqlx::raw_sql(AssertSqlSafe(format!("drop owned by {ROLES}"))).execute(&mut connection).await.expect("dropped");
        connection.close().await.expect("closed");
    }
    stage.sql(&format!("drop role {ROLES}")).await;
    stage
}

async fn eight_databases_at_once(stage: &Stage) {
    let names: Vec<String> = (1..=8).map(|n| format!("{}_{n}", stage.name())).collect();
    for name in &names {
        stage.sql(&format!("create database {name}")).await;
    }
    // Beside each other on one thread: it is in the server that they race.
    let migrations = names.iter().map(async |name| {
        let options = options(stage, Login::Superuser).database(name);
        let mut connection = PgConnection::connect_with(&options).await.expect("a connection");
        migrate(&mut connection).await.expect("migrated beside seven others");
        connection.close().await.expect("closed");
    });
    futures::future::join_all(migrations).await;
    for name in &names {
        stage.sql(&format!("drop database {name}")).await;
    }
    let roles: Vec<(String, bool, bool, bool, i32)> = sqlx::query_as(
        "select rolname::text, rolcanlogin, rolreplication, rolsuper or rolcreatedb or rolcreaterole or rolbypassrls,
                coalesce(cardinality(rolconfig), 0)
         from pg_roles where rolname like 'freshline%' order by 1",
    )
    .fetch_all(stage.pool())
    .await
    .expect("the roles");
    let role = |name: &str, replication, pinned| (format!("freshline_{name}"), true, replication, false, pinned);
    assert_eq!(roles, [role("api", false, 0), role("invalidator", true, 5), role("warmer", false, 0)]);
}

#[tokio::test]
async fn eight_databases_of_a_server_migrate_at_once() {
    eight_databases_at_once(&untouched().await).await;
}

#[tokio::test]
async fn roles_that_may_do_too_much_or_too_little_are_mended_by_eight_at_once() {
    let stage = untouched().await;
    stage.sql("create role freshline_api superuser").await;
    stage.sql("create role freshline_invalidator createdb; alter role freshline_invalidator set timezone to 'Asia/Tokyo'").await;
    eight_databases_at_once(&stage).await;
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn without_a_superuser_the_migrations_go_on_and_say_what_is_lost() {
    let stage = untouched().await;
    stage.sql("create role plain login createdb createrole password 'plain'").await;
    stage.sql("create database plain owner plain").await;
    let options = options(&stage, Login::Superuser).username("plain").password("plain").database("plain");
    let mut connection = PgConnection::connect_with(&options).await.expect("a connection");

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let logging = tracing::subscriber::set_default(subscriber);
    migrate(&mut connection).await.expect("migrated");
    drop(logging);

    let log = String::from_utf8(log.0.lock().expect("the log").clone()).expect("text");
    for said in [
        "freshline.source() is null",
        "nothing can be cached",
        "grant pg_read_all_stats to plain",
        "no event trigger for DDL",
        "cached rows stay as they were until they expire",
        "create event trigger freshline_ddl",
        "role freshline_invalidator is not as it should be",
    ] {
        assert!(log.contains(said), "not said: {said}\n{log}");
    }
    let source: Option<String> =
        sqlx::query_scalar("select freshline.source()").fetch_one(&mut connection).await.expect("an answer");
    assert_eq!(source, None);
    stage.sql("grant pg_read_all_stats to plain").await;
    let source: Option<String> =
        sqlx::query_scalar("select freshline.source()").fetch_one(&mut connection).await.expect("an answer");
    assert!(source.is_some(), "the remedy does not mend it");
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn migrations_that_were_applied_are_applied_no_more() {
    let stage = Stage::new().await;
    let mut connection = stage.postgres().connect(stage.name()).await.expect("a connection");
    migrate(&mut connection).await.expect("nothing to do");
    connection.close().await.expect("closed");
}
