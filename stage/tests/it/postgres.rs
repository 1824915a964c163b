//! A private Postgres.

use std::time::Duration;

use sqlx::Connection;
use stage::servers::{Home, Postgres, PostgresOptions, Shutdown};
use stage::{Login, Stage, until};

fn home() -> Home {
    Home::scratch().expect("a scratch directory")
}

async fn start() -> Postgres {
    Postgres::start(home(), PostgresOptions::default()).await.expect("Postgres starts")
}

#[tokio::test]
async fn a_commit_is_held_in_the_gap_until_it_is_released() {
    let t = Stage::own().await;
    t.sql("create table held (id int)").await;
    t.postgres().hold_commits().await.expect("commits are held");
    let writer = async { t.sql("insert into held values (1)").await };
    let observer = async {
        until("the commit waits", async || t.postgres().held_commits().await.map(|count| count == 1)).await;
        assert_eq!(t.value::<i64>("select count(*) from held").await, 0, "a held commit is invisible");
        t.postgres().release_commits().await.expect("commits are released");
    };
    tokio::join!(writer, observer);
    assert_eq!(t.value::<i64>("select count(*) from held").await, 1);
}

#[tokio::test]
async fn a_paused_postgres_answers_nobody_until_it_goes_on() {
    let postgres = start().await;
    let mut connection = postgres.connect("postgres").await.expect("a connection");
    let paused = postgres.pause().await.expect("it is paused");
    let mut answer = Box::pin(sqlx::query("select 1").execute(&mut connection));
    let silence = Duration::from_millis(100);
    assert!(tokio::time::timeout(silence, &mut answer).await.is_err(), "a session answered");
    assert!(tokio::time::timeout(silence, postgres.run("select 1")).await.is_err(), "a new session was made");
    drop(paused);
    answer.await.expect("an answer");
    postgres.run("select 1").await.expect("a session");
}

#[tokio::test]
async fn killing_a_backend_restarts_all_of_them_and_keeps_what_was_committed() {
    let postgres = start().await;
    postgres.run("create table kept (id int)").await.expect("a table");
    let mut victim = postgres.connect("postgres").await.expect("a connection");
    let started = "select backend_start::text from pg_stat_activity where backend_type = 'checkpointer'";
    let before: String = sqlx::query_scalar(started).fetch_one(&mut victim).await.expect("the checkpointer's start");
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut victim).await.expect("a pid");
    postgres.kill_backend(pid).await.expect("the backend is killed");
    until("the checkpointer is another one", async || -> anyhow::Result<bool> {
        let mut connection = postgres.connect("postgres").await?;
        let after: String = sqlx::query_scalar(started).fetch_one(&mut connection).await?;
        Ok(after != before)
    })
    .await;
    postgres.run("insert into kept values (1)").await.expect("the table is there");
}

#[tokio::test]
async fn only_a_process_of_this_server_is_killed_as_a_backend() {
    let postgres = start().await;
    let own = i32::try_from(std::process::id()).expect("a pid");
    let refused = postgres.kill_backend(own).await.expect_err("we are no backend");
    assert!(refused.to_string().contains("not a backend"), "{refused}");
}

#[tokio::test]
async fn data_survives_either_way_of_stopping() {
    let postgres = start().await;
    postgres.run("create table kept (id int)").await.expect("a table");
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        postgres.restart(how).await.expect("it starts again");
        postgres.run("insert into kept values (1)").await.expect("the table is there");
    }
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let postgres = start().await;
    let url = format!("postgres://postgres:wrong@127.0.0.1:{}/postgres", postgres.port());
    let refused = sqlx::PgConnection::connect(&url).await.expect_err("a wrong password is refused");
    assert!(refused.to_string().contains("password authentication failed"), "{refused}");
}

#[tokio::test]
async fn a_data_directory_that_was_left_half_made_is_set_aside() {
    let home = home();
    let path = home.path().to_owned();
    std::fs::create_dir(path.join("data")).expect("a directory");
    std::fs::write(path.join("data/somebodys"), "file").expect("a file in it");
    let postgres = Postgres::start(home, PostgresOptions::default()).await.expect("Postgres starts");
    postgres.run("select 1").await.expect("it answers");
    assert!(path.join("data.broken-1/somebodys").exists(), "what was there is kept");
}

#[tokio::test]
async fn an_interrupted_initdb_is_made_again() {
    let home = home();
    let path = home.path().to_owned();
    std::fs::create_dir(path.join("data.new")).expect("a directory");
    std::fs::write(path.join("data.new/PG_VERSION"), "15\n").expect("a file in it");
    let postgres = Postgres::start(home, PostgresOptions::default()).await.expect("Postgres starts");
    postgres.run("select 1").await.expect("it answers");
    assert!(!path.join("data.new").exists(), "nothing is left of it");
}

#[tokio::test]
async fn a_lock_file_with_the_pid_of_another_program_does_not_hinder() {
    let scratch = home();
    let server = Postgres::start(Home::at(scratch.path()).expect("the same home"), PostgresOptions::default())
        .await
        .expect("Postgres starts");
    let lock = scratch.path().join("data/postmaster.pid");
    let text = std::fs::read_to_string(&lock).expect("the lock file");
    let stale = text.replacen(&server.pid().await.expect("it runs").to_string(), "1", 1);
    drop(server);
    scratch.write("data/postmaster.pid", &stale).expect("a stale lock file");
    let server = Postgres::start(Home::at(scratch.path()).expect("the same home"), PostgresOptions::default())
        .await
        .expect("Postgres starts again");
    server.run("select 1").await.expect("it answers");
}

#[tokio::test]
async fn a_port_that_is_taken_is_given_up_for_another() {
    let first = start().await;
    let options = PostgresOptions { port: Some(first.port()), ..PostgresOptions::default() };
    let second = Postgres::start(home(), options).await.expect("Postgres starts");
    assert_ne!(second.port(), first.port());
    assert!(second.url(Login::Superuser, "postgres").contains(&second.port().to_string()));
}

#[tokio::test]
async fn one_that_is_killed_takes_its_sessions_along_and_starts_again_with_what_was_committed() {
    let postgres = start().await;
    postgres.run("create table kept (id int)").await.expect("a table");
    let mut idle = postgres.connect("postgres").await.expect("a connection");
    let mut busy = postgres.connect("postgres").await.expect("a connection");
    let begun = "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)'";
    let killing = async {
        until("a session is at work", async || {
            sqlx::query_scalar::<_, i64>(begun).fetch_one(&mut idle).await.map(|count| count == 1)
        })
        .await;
        postgres.run("insert into kept values (1)").await.expect("committed");
        postgres.kill().await.expect("killed, with all its children")
    };
    let (worked, children) = tokio::join!(sqlx::query("select pg_sleep(600)").execute(&mut busy), killing);
    worked.expect_err("its session is gone");
    assert!(children > 2 && postgres.pid().await.is_none(), "{children} processes");
    sqlx::query("select 1").execute(&mut idle).await.expect_err("so is this one");
    postgres.start_again().await.expect("it recovers");
    let mut connection = postgres.connect("postgres").await.expect("a connection");
    let kept: i64 = sqlx::query_scalar("select count(*) from kept").fetch_one(&mut connection).await.expect("an answer");
    assert_eq!(kept, 1);
}
