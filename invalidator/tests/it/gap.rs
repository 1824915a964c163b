//! The gap: a commit that has been streamed, and that no new reader sees yet. Held open here by a synchronous standby that is not there.
//!
//! Each promise has arms in which one named rule is cut out of the scripts, and the promise is seen to break.

use freshline::coherence::{CacheKey, Fill, Refusal};
use stage::Source;
use tokio::task::JoinHandle;

use crate::{hands, house::House};

const KEY: &str = "products:0192d3a0-0000-7000-8000-000000000001";
const PRICE: &str = "select price from products where sku = 'sku-1'";
const INSERT: &str = "insert into products (id, sku, name, category, price) values ('0192d3a0-0000-7000-8000-000000000001', 'sku-1', 'thing', 'audio', 10.00)";

stage::over_sources! { [postgres: Postgres, nats: Nats, kafka: Kafka] [
    a_read_in_the_gap_leaves_nothing_stale,
    without_fences_in_the_lease_a_read_in_the_gap_stays,
    a_fence_is_not_settled_before_it_is_visible,
    a_lease_granted_before_the_change_is_told_of_it,
    a_flush_in_the_gap_forgets_no_fence,
    an_invalidator_killed_in_the_gap_is_followed_by_one_that_knows,
    a_change_in_the_gap_is_not_acknowledged,
    a_refreshed_entry_in_the_gap_shows_the_committed_row,
] }

/// A house with one product, whose rules cut these out of the scripts.
async fn house_without(source: Source, rules: &[&str]) -> House {
    let house = House::own_without(source, rules).await;
    house.stage.sql(INSERT).await;
    house.drained().await;
    house
}

/// Commits a new price that stays in the gap until [`release`], and waits until it has been applied to Redis.
async fn hold(house: &House, price: &str) -> JoinHandle<()> {
    house.stage.postgres().set("synchronous_standby_names", "nobody").await.expect("a setting");
    let (pool, update) = (house.stage.pool().clone(), format!("update products set price = {price} where sku = 'sku-1'"));
    let held = tokio::spawn(async move {
        sqlx::raw_sql(sqlx::AssertSqlSafe(update)).execute(&pool).await.expect("it commits in the end");
    });
    let waits = "select count(*) = 1 from pg_stat_activity where wait_event = 'SyncRep'";
    house.stage.until("the commit waits for its standby", async || house.stage.value::<bool>(waits).await).await;
    house.drained().await;
    held
}

async fn release(house: &House, held: JoinHandle<()>) {
    house.stage.postgres().set("synchronous_standby_names", "").await.expect("a setting");
    held.await.expect("the writer ends");
    house.drained().await;
}

fn key() -> CacheKey {
    CacheKey::new(KEY)
}

/// What a read in the gap leaves behind: whether it filled, and what is served when the commit is visible.
async fn read_in_the_gap(house: &House, meanwhile: impl AsyncFnOnce(&House)) -> (Fill, Result<Option<String>, Refusal>) {
    let held = hold(house, "12.50").await;
    meanwhile(house).await;
    let read = house.read(PRICE).await;
    assert_eq!(read.0.as_deref(), Some("10.00"), "the commit is visible already");
    let fill = house.load(&key(), PRICE).await;
    release(house, held).await;
    (fill, house.served(&key()).await)
}

async fn a_read_in_the_gap_leaves_nothing_stale(source: Source) {
    let house = house_without(source, &[]).await;
    assert_eq!(read_in_the_gap(&house, async |_| {}).await, (Fill::Old, Err(Refusal::Missing)));
    assert_eq!(house.load(&key(), PRICE).await, Fill::Filled, "it is cached again once it is visible");
    assert_eq!(house.served(&key()).await, Ok(Some("12.50".into())));
}

async fn without_fences_in_the_lease_a_read_in_the_gap_stays(source: Source) {
    let house = house_without(source, &["a lease carries the fences"]).await;
    assert_eq!(read_in_the_gap(&house, async |_| {}).await, (Fill::Filled, Ok(Some("10.00".into()))));
}

async fn a_fence_is_not_settled_before_it_is_visible(source: Source) {
    let house = house_without(source, &[]).await;
    // Settling is seen to have run: a later transaction, committed without the standby, is published and settled.
    let settle = async |house: &House| {
        house
            .stage
            .sql("set synchronous_commit = local; insert into products (sku, name, category, price) values ('b', 'b', 'b', 1)")
            .await;
        house.drained().await;
        let published = house.opened().await.at;
        house.stage.until("another poll", async || house.opened().await.at > published).await;
    };
    assert_eq!(read_in_the_gap(&house, settle).await, (Fill::Old, Err(Refusal::Missing)));
}

async fn a_lease_granted_before_the_change_is_told_of_it(source: Source) {
    for (rules, expected) in [
        ([].as_slice(), (Fill::Old, Err(Refusal::Missing))),
        (["a live lease is told of the change"].as_slice(), (Fill::Filled, Ok(Some("10.00".into())))),
    ] {
        let house = house_without(source, rules).await;
        let lease = house.lease(&key()).await;
        let held = hold(&house, "12.50").await;
        let read = house.read(PRICE).await;
        let fill = house.fill(&key(), lease, read).await;
        release(&house, held).await;
        assert_eq!((fill, house.served(&key()).await), expected, "without {rules:?}");
    }
}

async fn a_flush_in_the_gap_forgets_no_fence(source: Source) {
    for (rules, expected) in [
        ([].as_slice(), (Fill::Old, Err(Refusal::Missing))),
        (["open writes the pending xids"].as_slice(), (Fill::Filled, Ok(Some("10.00".into())))),
    ] {
        let house = house_without(source, rules).await;
        let flush = async |house: &House| {
            let before = house.opened().await.generation;
            house.raw::<()>(&redis::cmd("FLUSHALL")).await;
            house.stage.until("a new generation", async || house.opened().await.generation != before).await;
        };
        assert_eq!(read_in_the_gap(&house, flush).await, expected, "without {rules:?}");
    }
}

async fn an_invalidator_killed_in_the_gap_is_followed_by_one_that_knows(source: Source) {
    for rules in [[].as_slice(), ["open writes the pending xids"].as_slice()] {
        let mut house = house_without(source, rules).await;
        let held = hold(&house, "12.50").await;
        house.invalidator.kill().await.expect("killed");
        house.raw::<()>(&redis::cmd("FLUSHALL")).await;
        house.invalidator.restart().await.expect("started again");
        house.opened().await;
        let fill = house.load(&key(), PRICE).await;
        release(&house, held).await;
        let served = house.served(&key()).await;
        match rules {
            [] => assert_eq!((fill, served), (Fill::Old, Err(Refusal::Missing))),
            _ => assert_eq!((fill, served), (Fill::Filled, Ok(Some("10.00".into())))),
        }
    }
}

async fn a_change_in_the_gap_is_not_acknowledged(source: Source) {
    let house = house_without(source, &[]).await;
    let held = hold(&house, "12.50").await;
    let change = hands::last_change(&house).await;
    let published = house.opened().await.at;
    house.stage.until("polls later", async || house.opened().await.at.as_micros() > published.as_micros() + 1_500_000).await;
    assert!(!hands::is_acknowledged(&house, change).await);
    release(&house, held).await;
    house.stage.until("it is acknowledged once visible", async || hands::is_acknowledged(&house, change).await).await;
}

async fn a_refreshed_entry_in_the_gap_shows_the_committed_row(source: Source) {
    let house = house_without(source, &[]).await;
    assert_eq!(house.load(&key(), PRICE).await, Fill::Filled);
    let held = hold(&house, "12.50").await;
    let body = house.served(&key()).await.expect("served").expect("a row");
    assert!(body.contains("\"price\":\"12.50\""), "{body}");
    release(&house, held).await;
}
