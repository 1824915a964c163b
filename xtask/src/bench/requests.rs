//! CPU of the API's other answers, beside that of a hit: a miss, a list, a 304, a write.

use anyhow::{Context, Result, ensure};
use freshline::catalog::keys;
use freshline::coherence::{CacheKey, Entry};

use super::cpu;
use super::hit::IS_HIT;
use super::house::House;
use super::http::Asked;
use super::replica::{Cost, Replica, of};
use super::report::Row;

/// How many products are asked for in turn.
const PRODUCTS: u64 = 1_000;

/// Requests in a round that are not measured, and that are.
const READS: (usize, usize) = (2_000, 16_000);
const LISTS: (usize, usize) = (160, 1_600);
const WRITES: (usize, usize) = (160, 800);

/// As many as there are products, for each is a miss once.
const MISSES: (usize, usize) = (0, 992);

/// What is measured, in µs of CPU for each request.
#[derive(Default)]
struct Costs {
    hits: Vec<Cost>,
    known: Vec<Cost>,
    lists: Vec<Cost>,
    coded: Vec<Cost>,
    misses: Vec<Cost>,
    writes: Vec<Cost>,
}

/// Measures all of them in turn.
pub async fn measure(rounds: u32) -> Result<Vec<Row>> {
    let house = House::with_products(stage::Source::Postgres, PRODUCTS).await?;
    let invalidator = house.opened().await?;
    let api = Replica::api(&house, []).await?;
    let redis = house.stage.redis().pid().await.context("Redis is stopped")?;
    cpu::pin_process(redis)?;
    let paths = house.paths().await?;
    let keys: Vec<CacheKey> = house.ids().await?.into_iter().map(keys::product).collect();
    let list = ["/products?limit=20".to_owned()];
    let mut costs = Costs::default();
    for _ in 0..rounds {
        house.warm().await?;
        costs.hits.push(api.cost(&Asked::get(&paths, IS_HIT), READS, redis)?);
        costs.known.push(api.cost(&Asked::known(&paths, &etags(&house, &keys).await?), READS, redis)?);
        api.cost(&Asked::get(&list, ""), (16, 16), redis)?; // the page itself is read from Postgres once
        costs.lists.push(api.cost(&Asked::get(&list, IS_HIT), LISTS, redis)?);
        costs.coded.push(api.cost(&Asked::coded(&list, IS_HIT), LISTS, redis)?);
        ensure!(house.forget(&keys).await? == keys.len(), "some products had not been warm");
        costs.misses.push(api.cost(&Asked::get(&paths, "fwd=miss; stored"), MISSES, redis)?);
        costs.writes.push(api.cost(&Asked::patch(&paths, "{\"stock_quantity\":7}"), WRITES, redis)?);
        house.applied(house.stage.sql("select 1").await).await?;
    }
    drop(invalidator);
    Ok(costs.rows())
}

impl Costs {
    fn rows(&self) -> Vec<Row> {
        let server = |costs: &[Cost]| of(costs, |cost| cost.server);
        vec![
            Row::new("requests: a hit, CPU of the server", "µs/request", server(&self.hits)),
            Row::new("requests: a hit that the caller knows (304)", "µs/request", server(&self.known)),
            Row::new("requests: a page of 20 from the cache", "µs/request", server(&self.lists)),
            Row::new("requests: the same in zstd", "µs/request", server(&self.coded)),
            Row::new("requests: a miss that is filled", "µs/request", server(&self.misses)),
            Row::new("requests: a miss, CPU of Redis", "µs/request", of(&self.misses, |cost| cost.redis)),
            Row::new("requests: a write", "µs/request", server(&self.writes)),
        ]
    }
}

/// The validators of these values, which are all in the cache.
async fn etags(house: &House, keys: &[CacheKey]) -> Result<Vec<String>> {
    let names: Vec<String> = keys.iter().map(|key| house.stripes.value(key)).collect();
    let values: Vec<Vec<u8>> = redis::cmd("MGET").arg(names).query_async(&mut house.redis()).await?;
    let etag = |value: Vec<u8>| Some(Entry::decode(&value.into()).ok()?.etag.to_string());
    values.into_iter().map(|value| etag(value).context("a warm value is no entry")).collect()
}
