//! What a change leaves behind, and what is counted of it.

use freshline::coherence::{CacheKey, Fill};
use stage::Source;

use crate::house::{House, metrics};

/// Reads what lies under [`key`] of 1.
pub const PRICE_1: &str = "select price from products where sku = 'sku-1'";

/// The key of the n-th product.
pub fn key(n: u32) -> CacheKey {
    CacheKey::new(format!("products:0192d3a0-0000-7000-8000-00000000000{n}"))
}

/// Inserts so many products, at 10.00 in `audio`.
pub async fn insert(house: &House, count: u32) {
    for n in 1..=count {
        let row = format!("'0192d3a0-0000-7000-8000-00000000000{n}', 'sku-{n}', 'thing {n}', 'audio', 10.00");
        house.stage.sql(&format!("insert into products (id, sku, name, category, price) values ({row})")).await;
    }
    house.drained().await;
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let house = House::new(Source::Postgres).await;
    insert(&house, 1).await;
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
