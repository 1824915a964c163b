//! Nothing that is newer is ever overwritten, whatever comes between lease and fill.

use std::time::Duration;

use freshline::{
    catalog::keys,
    coherence::{LeaseToken, Scripts, Wanted},
};
use sqlx::{Connection, PgConnection};
use stage::Login;
use uuid::Uuid;

use crate::rig::{Rig, end, file_of, lines_of};

/// A session in a transaction that has done this.
async fn transaction(rig: &Rig, sql: &'static str) -> PgConnection {
    let mut session = PgConnection::connect(&rig.stage.database_url(Login::Superuser)).await.expect("Postgres answers");
    sqlx::raw_sql("begin").execute(&mut session).await.expect("begun");
    sqlx::raw_sql(sql).execute(&mut session).await.expect("done");
    session
}

async fn xid_of(session: &mut PgConnection) -> u64 {
    let xid: String = sqlx::query_scalar("select pg_current_xact_id()::text").fetch_one(session).await.expect("an xid");
    xid.parse().expect("a number")
}

async fn commit(mut session: PgConnection) {
    sqlx::raw_sql("commit").execute(&mut session).await.expect("committed");
    session.close().await.expect("closed");
}

/// Waits until the warmer has a lease and its read waits for the table.
async fn until_held(rig: &Rig, id: Uuid) {
    rig.stage.until("the lease is granted", async || rig.is_leased(id).await).await;
    let held = "select count(*) > 0 from pg_stat_activity
                where datname = current_database() and usename = 'freshline_warmer' and wait_event_type = 'Lock'";
    rig.stage.until("a read waits", async || rig.stage.value::<bool>(held).await).await;
}

#[tokio::test]
async fn a_change_that_was_applied_and_is_not_visible_keeps_the_old_row_out() {
    let rig = Rig::open().await;
    let ids = rig.products(2).await;
    // In the gap: the invalidator has applied it, and no new reader sees it.
    let mut gap = transaction(&rig, "update products set price = 99 where sku = 'sku-1'").await;
    rig.apply(ids[0], xid_of(&mut gap).await).await;
    let run = rig.warm(&["--all"]).await;
    run.assert_code(1);
    run.assert_counts(&[("ids", 2), ("filled", 1), ("refused", 1)]);
    run.assert_said("refused        1  (old 1)");
    assert_eq!(rig.cached(ids[0]).await, None);
    commit(gap).await;
    let run = rig.warm(&["--all"]).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 2), ("filled", 1), ("already-there", 1)]);
    assert_eq!(rig.assert_true(&ids).await, 2);
}

#[tokio::test]
async fn a_change_that_is_applied_between_lease_and_fill_keeps_the_old_row_out() {
    let rig = Rig::open().await;
    let ids = rig.products(1).await;
    // It has written nothing that the lock below would wait for; that it is not visible is all that the protocol asks.
    let mut gap = transaction(&rig, "select 1").await;
    let xid = xid_of(&mut gap).await;
    let held = transaction(&rig, "lock table products in access exclusive mode").await;
    let file = file_of(&lines_of(&ids)); // a listing of the table would wait, too
    let run = rig.start(&["--ids-file", file.path().to_str().expect("UTF-8")]);
    until_held(&rig, ids[0]).await;
    rig.apply(ids[0], xid).await;
    commit(held).await;
    let run = end(run).await;
    run.assert_code(1);
    run.assert_counts(&[("ids", 1), ("refused", 1)]);
    assert_eq!(rig.cached(ids[0]).await, None);
    commit(gap).await;
}

#[tokio::test]
async fn what_another_fills_meanwhile_is_waited_for() {
    let rig = Rig::open().await;
    let ids = rig.products(2).await;
    // A reader that died: its lease lasts for two seconds, less than a run goes on trying.
    let (link, key) = (rig.link().await, keys::product(ids[0]));
    let wanted = [Wanted { key: &key, seen: None, token: LeaseToken::random() }];
    let leased = Scripts::new(&link, &rig.stripes).lease(rig.stripes.of(key.as_str()), &wanted, Duration::from_secs(1)).await;
    leased.expect("Redis answers").expect("open");
    let run = rig.warm(&["--all"]).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 2), ("filled", 2)]);
    assert_eq!(rig.assert_true(&ids).await, 2);
}
