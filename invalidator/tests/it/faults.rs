//! A Redis that is lost, killed or full: nothing stale may be left, and nothing may be missed.

use std::time::Duration;

use freshline::coherence::{Fill, Generation, Refusal};
use stage::Source;

use crate::{
    house::House,
    life::{PRICE_1, insert, key},
};

async fn house() -> House {
    let house = House::new(Source::Postgres).await;
    insert(&house, 1).await;
    house
}

async fn cached(house: &House) -> Generation {
    assert_eq!(house.load(&key(1), PRICE_1).await, Fill::Filled);
    assert!(house.served(&key(1)).await.is_ok());
    house.control().await.expect("open").generation
}

#[tokio::test]
async fn an_old_file_that_comes_back_serves_nothing() {
    let house = house().await;
    let before = cached(&house).await;
    let file = house.stage.redis().home().path().join("old.rdb");
    house.stage.redis().save_to(&file).await.expect("saved");
    house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    house.drained().await;
    house.stage.redis().restart_from(&file).await.expect("restarted");
    house.reopened(before).await;
    assert_eq!(house.served(&key(1)).await, Err(Refusal::OtherGeneration));
}

#[tokio::test]
async fn a_paused_redis_gets_what_it_missed() {
    let house = house().await;
    cached(&house).await;
    house.stage.redis().pause().await.expect("paused");
    house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    // Long enough that calls run into their deadline and are sent again.
    house
        .stage
        .until("the pause lasts", {
            let since = std::time::Instant::now();
            async move || since.elapsed() > Duration::from_millis(1_500)
        })
        .await;
    house.stage.redis().resume().await.expect("resumed");
    house.drained().await;
    let body = house.served(&key(1)).await.expect("served").expect("a row");
    assert!(body.contains("\"price\":\"12.50\""), "{body}");
}

#[tokio::test]
async fn a_killed_redis_is_opened_again_when_it_is_back() {
    let house = house().await;
    let before = cached(&house).await;
    house.stage.redis().kill().await.expect("killed");
    house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    house.stage.redis().start_again().await.expect("started");
    house.reopened(before).await;
    house.drained().await;
    cached(&house).await;
    assert_eq!(house.served(&key(1)).await, Ok(Some("12.50".into())));
}

#[tokio::test]
async fn a_full_redis_still_takes_what_is_changed() {
    let house = house().await;
    cached(&house).await;
    house.raw::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("noeviction")).await;
    house.raw::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1)).await;
    house.stage.sql("delete from products where sku = 'sku-1'").await;
    house.drained().await;
    assert_eq!(house.served(&key(1)).await, Err(Refusal::Missing));
}

/// Most of a backlog takes the fast path, which is made of plain commands.
#[tokio::test]
async fn a_full_redis_takes_a_backlog_too() {
    let mut house = house().await;
    cached(&house).await;
    house.invalidator.kill().await.expect("killed");
    house.commit_one_by_one(20_000).await;
    house.raw::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("noeviction")).await;
    house.raw::<()>(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1)).await;
    house.invalidator.restart().await.expect("started again");
    house.drained().await;
    assert_eq!(house.served(&key(1)).await, Err(Refusal::Missing));
}

#[tokio::test]
async fn a_removed_control_record_is_written_anew() {
    let house = house().await;
    let before = cached(&house).await;
    for garbage in [redis::cmd("DEL").clone(), redis::cmd("SET").clone()] {
        let mut command = garbage;
        command.arg(house.stripes.ctl(house.stripes.all().next().expect("one")));
        if command.args_iter().count() == 2 && format!("{command:?}").contains("SET") {
            command.arg("garbage");
        }
        house.raw::<redis::Value>(&command).await;
        house.reopened(before).await;
        assert_eq!(house.served(&key(1)).await, Err(Refusal::OtherGeneration));
    }
}
