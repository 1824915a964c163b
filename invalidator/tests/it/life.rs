//! One change followed through: from SQL to what a reader is served.

use freshline::coherence::{CacheKey, Fill, Proof, Refusal, Tag};

use crate::house::{House, metrics};

const INSERT: &str = "insert into products (id, sku, name, category, price) values ('0192d3a0-0000-7000-8000-00000000000";

async fn with_products() -> House {
    let house = House::new().await;
    for n in 1..=3 {
        house.stage.sql(&format!("{INSERT}{n}', 'sku-{n}', 'thing {n}', 'audio', 10.00)")).await;
    }
    house.drained().await;
    house
}

fn key(n: u32) -> CacheKey {
    CacheKey::new(format!("products:0192d3a0-0000-7000-8000-00000000000{n}"))
}

const PRICE_1: &str = "select price from products where sku = 'sku-1'";

#[tokio::test]
async fn a_change_by_plain_sql_replaces_the_entry_by_the_row() {
    let house = with_products().await;
    assert_eq!(house.load(&key(1), PRICE_1).await, Fill::Filled);
    assert_eq!(house.served(&key(1), None).await, Ok(Some("10.00".into())));
    house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    house.drained().await;
    let body = house.served(&key(1), None).await.expect("served").expect("a row");
    let row: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(row["price"], "12.50");
    assert!(matches!(house.entry(&key(1)).await.expect("an entry").proof, Proof::Lsn(_)));
}

#[tokio::test]
async fn a_deleted_row_leaves_the_cache() {
    let house = with_products().await;
    assert_eq!(house.load(&key(1), PRICE_1).await, Fill::Filled);
    house.stage.sql("delete from products where sku = 'sku-1'").await;
    house.drained().await;
    assert_eq!(house.served(&key(1), None).await, Err(Refusal::Missing));
}

#[tokio::test]
async fn a_moved_row_leaves_both_pages() {
    let house = with_products().await;
    let pages = ["audio", "video"].map(|c| (CacheKey::new(format!("page:{c}")), Tag::new(format!("products:category={c}"))));
    for (page, tag) in &pages {
        assert_eq!(house.load_tagged(page, tag, "select count(*) from products").await, Fill::Filled);
        assert!(house.served(page, Some(tag)).await.is_ok());
    }
    house.stage.sql("update products set category = 'video' where sku = 'sku-1'").await;
    house.drained().await;
    for (page, tag) in &pages {
        assert_eq!(house.served(page, Some(tag)).await, Err(Refusal::TagChanged));
    }
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let house = with_products().await;
    assert_eq!(house.load(&key(1), PRICE_1).await, Fill::Filled);
    house.stage.sql("update products set price = 12.50 where sku = 'sku-1'").await;
    house.stage.sql("truncate products").await;
    house.drained().await;
    let metrics = metrics(&house.invalidator).await;
    let counted = |line: &str| {
        let value = metrics.lines().find_map(|told| told.strip_prefix(line)?.trim().parse::<f64>().ok());
        assert!(value.is_some_and(|value| value >= 1.0), "{line} is {value:?} in {metrics}");
    };
    counted(r#"freshline_changes_applied_total{action="tag"}"#);
    counted("freshline_transactions_applied_total");
    counted(r#"freshline_opened_total{reason="closed"}"#);
    counted("freshline_bumped_total");
    counted("freshline_apply_seconds_count");
}
