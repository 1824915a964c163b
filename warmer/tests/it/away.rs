//! What is away is waited for, and named when it does not come.

use freshline::coherence::Source;
use sqlx::{Connection, PgConnection};
use stage::{Login, Process};

use crate::rig::{Rig, end, file_of, lines_of};

#[tokio::test]
async fn a_closed_cache_is_waited_for_and_then_the_run_says_what_to_do() {
    let rig = Rig::closed().await;
    rig.products(3).await;
    let run = rig.warm(&["--all", "--wait", "1"]).await;
    run.assert_code(3);
    run.assert_counts(&[]);
    run.assert_said("is closed: no invalidator has opened it");
    run.assert_said("start freshline-invalidator");
}

#[tokio::test]
async fn a_run_goes_on_as_soon_as_the_cache_is_opened() {
    let rig = Rig::closed_with(3).await;
    rig.products(30).await;
    let mut run = rig.start(&["--all"]);
    run.line("waiting up to 30 s").await;
    rig.open_cache().await;
    let run = end(run).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 30), ("filled", 30)]);
}

#[tokio::test]
async fn a_cache_that_closes_meanwhile_is_waited_for_and_no_id_is_left_out() {
    let rig = Rig::open().await;
    let ids = rig.products(30).await;
    let mut held = PgConnection::connect(&rig.stage.database_url(Login::Superuser)).await.expect("Postgres answers");
    let mut lock = held.begin().await.expect("begun");
    sqlx::raw_sql("lock table products in access exclusive mode").execute(&mut *lock).await.expect("locked");
    let file = file_of(&lines_of(&ids));
    let mut run = rig.start(&["--ids-file", file.path().to_str().expect("UTF-8"), "--chunk", "10"]);
    rig.stage.until("the leases are granted", async || rig.is_leased(ids[0]).await && rig.is_leased(ids[29]).await).await;
    rig.close_cache().await;
    lock.commit().await.expect("committed");
    run.line("is closed: no invalidator has opened it").await;
    rig.open_cache().await;
    let run = end(run).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 30), ("filled", 30)]);
    assert_eq!(rig.assert_true(&ids).await, 30);
}

#[tokio::test]
async fn the_cache_of_another_postgres_is_not_filled() {
    let rig = Rig::closed().await;
    rig.products(3).await;
    rig.open_cache_for(Source { system: 1, timeline: 1, started_us: 1 }).await;
    let run = rig.warm(&["--all", "--wait", "1"]).await;
    run.assert_code(3);
    run.assert_counts(&[]);
    run.assert_said("the cache follows another Postgres (1/1/1)");
}

#[tokio::test]
async fn a_redis_that_is_down_is_named() {
    let rig = Rig::open().await;
    rig.stage.redis().kill().await.expect("killed");
    let run = rig.warm(&["--all", "--wait", "1"]).await;
    run.assert_code(3);
    run.assert_said("no connection to Redis");
}

#[tokio::test]
async fn a_redis_that_is_full_ends_the_run_and_is_named() {
    let rig = Rig::open().await;
    rig.products(3).await;
    rig.stage.redis().run::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await.expect("Redis answers");
    let run = rig.warm(&["--all", "--wait", "1"]).await;
    run.assert_code(3);
    run.assert_counts(&[("ids", 3), ("failed", 3)]);
    run.assert_said("has taken none of the fills");
    run.assert_said("OOM");
}

#[tokio::test]
async fn a_postgres_that_is_too_slow_ends_the_run_and_is_named() {
    let rig = Rig::open().await;
    let ids = rig.products(3).await;
    let mut held = PgConnection::connect(&rig.stage.database_url(Login::Superuser)).await.expect("Postgres answers");
    let mut lock = held.begin().await.expect("begun");
    sqlx::raw_sql("lock table products in access exclusive mode").execute(&mut *lock).await.expect("locked");
    let file = file_of(&lines_of(&ids));
    let run = rig.warm(&["--ids-file", file.path().to_str().expect("UTF-8"), "--wait", "1"]).await;
    run.assert_code(3);
    run.assert_counts(&[("ids", 3), ("failed", 3)]);
    run.assert_said("failed         3  (unread 3)");
    run.assert_said("take smaller chunks");
    assert!(!rig.is_leased(ids[0]).await, "nobody else has to wait for a lease that is of no use");
}

#[tokio::test]
async fn a_redis_that_is_restarted_meanwhile_is_filled_once_it_is_open_again() {
    let rig = Rig::open().await;
    let ids = rig.products(400).await;
    let mut run = rig.start(&["--all", "--rate", "200"]);
    rig.stage.until("some are warm", async || rig.cached(ids[0]).await.is_some()).await;
    rig.stage.redis().restart().await.expect("restarted");
    run.line("is closed: no invalidator has opened it").await;
    rig.open_cache().await;
    let run = end(run).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 400), ("filled", 400)]);
    assert!(rig.assert_true(&ids).await > 0);
}

#[tokio::test]
async fn sessions_that_are_cut_off_are_made_again() {
    let rig = Rig::open().await;
    let ids = rig.products(500).await;
    let mut run = rig.start(&["--all", "--rate", "250"]);
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and usename = 'freshline_warmer'";
    for at in [10, 200, 400] {
        rig.stage.until("some are warm", async || rig.cached(ids[at]).await.is_some()).await;
        assert!(rig.stage.value::<i64>(cut).await > 0);
    }
    assert!(run.ended().expect("known").is_none(), "it goes on");
    let run = end(run).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 500), ("filled", 500)]);
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once() {
    let rig = Rig::open().await;
    let wrong = rig.stage.redis_url(Login::Warmer).replace("freshline_warmer:", "freshline_warmer:not");
    let run = end(Process::start(rig.launch(&["--all"]).variable("FRESHLINE_REDIS_URL", wrong)).expect("it starts")).await;
    run.assert_code(2);
    run.assert_said("check user and password in FRESHLINE_REDIS_URL");
    let wrong = rig.stage.database_url(Login::Warmer).replace("freshline_warmer:", "freshline_warmer:not");
    let run = end(Process::start(rig.launch(&["--all"]).variable("FRESHLINE_DATABASE_URL", wrong)).expect("it starts")).await;
    run.assert_code(2);
    run.assert_said("check the user, password and database name in its URL");
}
