//! The gap, through every door: a commit that has been streamed and that no new reader sees yet, held open by a synchronous standby
//! that is not there. What is read meanwhile must not stay in the cache, whoever read it.
//!
//! Each promise has an arm in which the one rule that keeps it is cut out of the scripts of all processes, and is seen to break.

use std::collections::BTreeSet;

use serde_json::Value;
use stage::Source;
use tokio::task::JoinHandle;

use crate::town::{Town, hit, items};

const PRODUCTS: &str = "insert into products (id, sku, name, category, price, stock_quantity) values
    ('0192d3a0-0000-7000-8000-000000000001', 'single', 'n', 'c', 10, 1),
    ('0192d3a0-0000-7000-8000-000000000002', 'other',  'n', 'c', 10, 1),
    ('0192d3a0-0000-7000-8000-000000000003', 'batch',  'n', 'c', 10, 1),
    ('0192d3a0-0000-7000-8000-000000000004', 'warm',   'n', 'c', 10, 1),
    ('0192d3a0-0000-7000-8000-000000000005', 'low',    'n', 'shelf', 10, 1),
    ('0192d3a0-0000-7000-8000-000000000006', 'high',   'n', 'shelf', 11, 1)";

/// Each row changes, and with one price the order of the shelf.
const CHANGE: &str = "update products set price = 20, stock_quantity = 2 where sku <> 'high'";

/// One way for a value to be read in the gap, and where it is then looked at.
struct Way {
    name: &'static str,
    /// Of the replica that reads it in the gap; the other one looks later.
    replica: usize,
    path: &'static str,
    /// Whether what is served is from before the change.
    is_old: fn(&Value) -> bool,
}

const WAYS: [Way; 6] = [
    Way { name: "single", replica: 0, path: "/products/0192d3a0-0000-7000-8000-000000000001", is_old: row_is_old },
    Way { name: "other replica", replica: 1, path: "/products/0192d3a0-0000-7000-8000-000000000002", is_old: row_is_old },
    Way { name: "batch", replica: 0, path: "/products/batch?ids=0192d3a0-0000-7000-8000-000000000003", is_old: row_is_old },
    Way { name: "warm", replica: 1, path: "/products/0192d3a0-0000-7000-8000-000000000004", is_old: row_is_old },
    Way { name: "row of a list", replica: 0, path: SHELF, is_old: row_is_old },
    Way { name: "order of a list", replica: 0, path: SHELF, is_old: order_is_old },
];

const SHELF: &str = "/products?category=shelf&sort=price";

fn row_is_old(body: &Value) -> bool {
    items(body).iter().find(|item| item["sku"] != "high").expect("a row that changes")["stock_quantity"] == 1
}

fn order_is_old(body: &Value) -> bool {
    items(body).iter().map(|item| &item["sku"]).eq(["low", "high"])
}

/// All ways that read rows, and not only ids.
const ROWS: [&str; 5] = ["single", "other replica", "batch", "warm", "row of a list"];
const ALL: [&str; 6] = ["single", "other replica", "batch", "warm", "row of a list", "order of a list"];

async fn town_without(source: Source, rules: &[&str]) -> Town {
    let town = Town::own_without(source, rules).await;
    town.stage.sql(PRODUCTS).await;
    town.drained().await;
    town
}

/// Commits the change, which stays in the gap until [`release`], and waits until it has been applied.
async fn hold(town: &Town) -> JoinHandle<()> {
    town.stage.postgres().set("synchronous_standby_names", "nobody").await.expect("a setting");
    let pool = town.stage.pool().clone();
    let held = tokio::spawn(async move {
        sqlx::raw_sql(CHANGE).execute(&pool).await.expect("it commits in the end");
    });
    let waits = "select count(*) = 1 from pg_stat_activity where wait_event = 'SyncRep'";
    town.stage.until("the commit waits for its standby", async || town.stage.value::<bool>(waits).await).await;
    town.drained().await;
    held
}

async fn release(town: &Town, held: JoinHandle<()>) {
    town.stage.postgres().set("synchronous_standby_names", "").await.expect("a setting");
    held.await.expect("the writer ends");
    town.drained().await;
}

/// Reads in every way what the change has not reached yet.
async fn read_all(town: &Town) {
    read_by_api(town).await;
    town.warm(&["--sql", "select id from products where sku = 'warm'", "--wait", "5"]).await;
}

async fn read_by_api(town: &Town) {
    for Way { name, replica, path, is_old } in WAYS.into_iter().filter(|way| way.name != "warm") {
        let answer = town.replicas[replica].get(path).await;
        assert!(is_old(&answer.json()), "{name}: the commit is visible already: {answer:?}");
    }
}

/// The ways by which something old is served once the change is visible: by the first read, or as a hit.
async fn stale(town: &Town) -> BTreeSet<&'static str> {
    let mut stale = BTreeSet::new();
    for Way { name, replica, path, is_old } in WAYS {
        let other = &town.replicas[1 - replica];
        let (first, then) = (other.get(path).await, hit(other, path).await);
        if is_old(&first.json()) || is_old(&then.json()) {
            assert!(is_old(&then.json()), "{name}: old once and not again: {first:?}");
            stale.insert(name);
        }
    }
    stale
}

/// Holds the change in the gap, lets this happen, reads, and answers with what is stale afterwards.
async fn stale_after_reads_in_the_gap(town: &Town, meanwhile: impl AsyncFnOnce(&Town)) -> BTreeSet<&'static str> {
    let held = hold(town).await;
    meanwhile(town).await;
    read_all(town).await;
    release(town, held).await;
    stale(town).await
}

/// Nothing was stale, and what is cached now is what Postgres has.
async fn assert_fresh(town: &Town, stale: BTreeSet<&'static str>) {
    assert_eq!(stale, BTreeSet::new());
    town.assert_true(WAYS.map(|way| way.path)).await;
}

async fn flush(town: &Town) {
    let before = town.opened().await.generation;
    town.stage.redis().run::<()>(&["FLUSHALL"]).await.expect("Redis answers");
    town.stage.until("a new generation", async || town.opened().await.generation != before).await;
}

async fn kill(town: &Town) {
    town.invalidator.lock().await.kill().await.expect("killed");
}

/// Starts the invalidator again, and waits until it has applied once more whatever its predecessor had not acknowledged: only then
/// does it prove the bound anew.
async fn restarted(town: &Town) {
    let before = town.control().await.expect("Redis answers").map(|control| control.at);
    town.restart_invalidator().await;
    town.stage.until("it has caught up", async || Some(town.opened().await.at) > before).await;
}

async fn kill_and_flush(town: &Town) {
    kill(town).await;
    town.stage.redis().run::<()>(&["FLUSHALL"]).await.expect("Redis answers");
    read_by_api(town).await; // nobody can fill: the cache is closed
    restarted(town).await;
}

stage::over_sources! { [postgres: Postgres, nats: Nats, kafka: Kafka] [
    a_read_in_the_gap_leaves_nothing_stale_by_any_door,
    without_fences_in_the_lease_rows_read_in_the_gap_stay,
] }

async fn a_read_in_the_gap_leaves_nothing_stale_by_any_door(source: Source) {
    let town = town_without(source, &[]).await;
    let stale = stale_after_reads_in_the_gap(&town, async |_| {}).await;
    assert_fresh(&town, stale).await;
}

async fn without_fences_in_the_lease_rows_read_in_the_gap_stay(source: Source) {
    let town = town_without(source, &["a lease carries the fences"]).await;
    assert_eq!(stale_after_reads_in_the_gap(&town, async |_| {}).await, BTreeSet::from(ROWS));
}

#[tokio::test]
async fn without_the_fences_of_its_tags_a_page_read_in_the_gap_stays() {
    let town = town_without(Source::Postgres, &["a tag answers with its fences"]).await;
    assert_eq!(stale_after_reads_in_the_gap(&town, async |_| {}).await, BTreeSet::from(["order of a list"]));
}

#[tokio::test]
async fn a_flush_in_the_gap_leaves_nothing_stale() {
    let town = town_without(Source::Postgres, &[]).await;
    let stale = stale_after_reads_in_the_gap(&town, flush).await;
    assert_fresh(&town, stale).await;
}

#[tokio::test]
async fn when_open_forgets_the_fences_what_is_read_after_a_flush_stays() {
    let town = town_without(Source::Postgres, &["open writes the pending xids"]).await;
    assert_eq!(stale_after_reads_in_the_gap(&town, flush).await, BTreeSet::from(ALL));
}

#[tokio::test]
async fn an_invalidator_killed_in_the_gap_leaves_nothing_stale() {
    let town = town_without(Source::Postgres, &[]).await;
    let read_while_it_is_dead = async |town: &Town| {
        kill(town).await;
        read_all(town).await;
        restarted(town).await;
    };
    let stale = stale_after_reads_in_the_gap(&town, read_while_it_is_dead).await;
    assert_fresh(&town, stale).await;
}

#[tokio::test]
async fn an_invalidator_killed_in_the_gap_and_a_flush_leave_nothing_stale() {
    let town = town_without(Source::Postgres, &[]).await;
    let stale = stale_after_reads_in_the_gap(&town, kill_and_flush).await;
    assert_fresh(&town, stale).await;
}

#[tokio::test]
async fn without_fences_in_the_lease_rows_read_after_an_invalidator_was_killed_stay() {
    let town = town_without(Source::Postgres, &["a lease carries the fences"]).await;
    // Read after the replay: the replay itself would find what was filled before it.
    let replaced = async |town: &Town| {
        kill(town).await;
        restarted(town).await;
    };
    assert_eq!(stale_after_reads_in_the_gap(&town, replaced).await, BTreeSet::from(ROWS));
}

#[tokio::test]
async fn when_the_next_invalidator_opens_without_fences_what_is_read_stays() {
    let town = town_without(Source::Postgres, &["open writes the pending xids"]).await;
    assert_eq!(stale_after_reads_in_the_gap(&town, kill_and_flush).await, BTreeSet::from(ALL));
}
