//! The most memory that the invalidator ever held (VmHWM), over one transaction of a million rows.

use std::fs;

use anyhow::{Context, Result};

use super::house::House;
use super::report::{Row, Target};

/// The indexes that keep pages in order: nothing here reads pages, and they would be most of the time.
const INDEXES: &str =
    "products_category_id, products_price_id, products_category_price_id, products_name_id, products_category_name_id";

/// Measures so many rounds, each with an invalidator of its own.
pub async fn measure(rounds: u32, changes: u32) -> Result<Vec<Row>> {
    let house = House::new(stage::Source::Postgres).await?;
    let insert = format!(
        "drop index {INDEXES};
         insert into products (sku, name, category, price, description)
         select 'sku-' || n, 'Product ' || n, 'category ' || n % 1000, n % 10000, repeat('what it is ', 20)
         from generate_series(1, {changes}) as n"
    );
    house.stage.sql(&insert).await;
    let mut mebibytes = Vec::new();
    for _ in 0..rounds {
        house.stage.sql("vacuum products").await; // so that the table does not grow with each round
        let invalidator = house.opened().await?;
        let end = house.stage.sql("update products set price = price + 1, stock_quantity = stock_quantity + 1").await;
        house.applied(end).await?;
        mebibytes.push(high_water(invalidator.pid())?);
        house.end(invalidator, end).await?;
    }
    Ok(vec![Row::new("memory: most that the invalidator held", "MiB", mebibytes).target(Target::AtMost(64.0))])
}

/// In MiB.
pub fn high_water(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("there is no process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in its status")?;
    let kibibytes: f64 = line.trim_end_matches("kB").trim().parse().context("VmHWM is no number")?;
    Ok(kibibytes / 1024.0)
}
