//! `watch`: what is applied is shown as it is, and what was asked for alone.

use stage::{Process, Stage};

use crate::house::{House, ID, launch};

async fn watching(stage: &Stage, arguments: &[&str]) -> Process {
    let mut watch = Process::start(launch(stage, &[&["watch"], arguments].concat())).expect("it starts");
    watch.line("watching").await;
    watch
}

#[tokio::test]
async fn a_change_is_shown_with_its_transaction_and_what_it_did() {
    let house = House::new().await;
    let mut watch = watching(&house.stage, &["--json"]).await;
    let mut of_key = watching(&house.stage, &[&House::key()]).await;
    let sql = format!("update products set price = 2 where id = '{ID}' returning pg_current_xact_id()::text");
    let xid: String = house.stage.value(&sql).await;
    let line = watch.line("\"replaced\"").await;
    let told: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((told["name"].as_str(), told["xid"].to_string()), (Some(House::key().as_str()), xid.clone()), "{told}");
    assert!(told["end"].as_str().is_some_and(|end| end.contains('/')), "{told}");
    watch.line("products:by-price:category=audio").await;

    let line = of_key.line("replaced").await;
    assert!(line.contains(&House::key()) && line.contains(&xid), "{line}");
    house.stage.sql("truncate products").await;
    of_key.line("bump").await;
    assert!(!of_key.lines().iter().any(|line| line.contains("by-price")), "{:?}", of_key.lines());
    of_key.interrupt().expect("it is told to end");
    assert!(of_key.wait(stage::WAIT_MAX).await.expect("it ends").success());
}

#[tokio::test]
async fn a_table_is_watched_by_its_rules_and_one_without_is_refused() {
    let house = House::new().await;
    let mut watch = watching(&house.stage, &["--table", "public.products"]).await;
    house.stage.sql(&format!("delete from products where id = '{ID}'")).await;
    watch.line("removed").await;
    let mut refused = Process::start(launch(&house.stage, &["watch", "--table", "public.orders"])).expect("it starts");
    assert_eq!(refused.wait(stage::WAIT_MAX).await.expect("it ends").code(), Some(2));
    assert!(refused.tail().contains("no rule is about table public.orders"), "{}", refused.tail());
}

#[tokio::test]
async fn a_backlog_is_sampled_and_what_is_left_out_is_counted() {
    let house = House::new().await;
    let mut watch = watching(&house.stage, &["--json"]).await;
    house
        .stage
        .sql("insert into products (sku, name, category, price) select 'S' || n, 'n', 'c', 1 from generate_series(1, 900) n")
        .await;
    house.drained().await;
    house.stage.sql("truncate products").await;
    let bump = watch.line("\"bump\"").await;
    let told: Vec<serde_json::Value> = watch.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let skipped: u64 = told.iter().filter_map(|line| line["skipped"].as_u64()).sum();
    let shown =
        told.iter().filter(|line| !["bump", "open", "closed"].contains(&line["effect"].as_str().unwrap_or_default())).count();
    // Each insert touches its key and six tags; a tag is touched once in a batch, or once for each row.
    assert!(skipped > 900 && shown >= 100, "{shown} shown, {skipped} skipped; {bump}");
}

#[tokio::test]
async fn what_the_trail_holds_can_be_seen_afterwards_and_the_trail_can_be_off() {
    let house = House::new().await;
    house.stage.sql(&format!("update products set price = 2 where id = '{ID}'")).await;
    house.drained().await;
    let mut watch = watching(&house.stage, &["--history"]).await;
    watch.line("open").await;
    watch.line("replaced").await;

    let stage = Stage::new().await;
    let invalidator = stage
        .launch("freshline-invalidator", stage::Login::Invalidator)
        .variables([("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0"), ("FRESHLINE_TRAIL", "0")]);
    let mut invalidator = Process::start(invalidator).expect("it starts");
    invalidator.line("the cache is open").await;
    let key = format!("{{{}}}trail", stage.name());
    assert_eq!(stage.redis().run::<u64>(&["EXISTS", &key]).await.expect("an answer"), 0);
}
