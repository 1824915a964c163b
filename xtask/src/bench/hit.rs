//! CPU of a hit: the API's server process, beside a bare axum handler with one raw Redis GET of the same body.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use freshline::catalog::keys;
use freshline::coherence::Entry;
use stage::Login;

use super::collector::Collector;
use super::cpu;
use super::house::House;
use super::http::Asked;
use super::reference::{PREFIX, REDIS_URL};
use super::replica::{Cost, Replica, of};
use super::report::{Row, Target};

/// How many products are asked for in turn.
const PRODUCTS: u64 = 1_000;

/// Requests in a round that are not measured, and that are.
const REQUESTS: (usize, usize) = (4_000, 40_000);

/// What the head of a hit contains.
pub const IS_HIT: &str = "cache-status: Freshline; hit";

/// Replicas that trace so many of 1 requests, and what is told of them.
const TRACED: [(&str, &str); 2] =
    [("0.01", "hit: CPU of the server, 1 of 100 requests traced"), ("1", "hit: CPU of the server, every request traced")];

/// What is told of a replica that is listened to, and by how many.
const LISTENED: (&str, usize) = ("hit: CPU of the server, while ten listen to its feed", 10);

/// Measures all in turn; where there is an API that was built before, that as well.
pub async fn measure(rounds: u32, before: Option<&Path>) -> Result<Vec<Row>> {
    let house = House::with_products(stage::Source::Postgres, PRODUCTS).await?;
    let invalidator = house.opened().await?;
    house.warm().await?;
    copy_bodies(&house).await?;
    let reference = house.pinned("xtask")?.argument("bench-reference");
    let reference = Replica::started(reference.variable(REDIS_URL, house.stage.redis_url(Login::Superuser))).await?;
    let collector = Collector::start().await?;
    let mut apis = vec![("hit: CPU of the server", Replica::api(&house, []).await?, Vec::new())];
    for (ratio, name) in TRACED {
        apis.push((name, Replica::api(&house, collector.settings(ratio)).await?, Vec::new()));
    }
    let (name, count) = LISTENED;
    let listened = Replica::api(&house, []).await?;
    let mut listeners = listened.listeners(count).await?;
    apis.push((name, listened, Vec::new()));
    if let Some(program) = before {
        apis.push(("hit: CPU of the server as it was before", Replica::api_of(&house, program, []).await?, Vec::new()));
    }
    let redis = house.stage.redis().pid().await.context("Redis is stopped")?;
    cpu::pin_process(redis)?;
    let paths = house.paths().await?;
    let (hit, get) = (Asked::get(&paths, IS_HIT), Asked::get(&paths, ""));
    let mut gets = Vec::new();
    for _ in 0..rounds {
        gets.push(reference.cost(&get, REQUESTS, redis)?);
        for (_, api, costs) in &mut apis {
            costs.push(api.cost(&hit, REQUESTS, redis)?);
        }
    }
    ensure!(listeners.try_join_next().is_none(), "a listener was sent away");
    drop((listeners, invalidator));
    let mut rows = rows(&apis[0].2, &gets);
    rows.extend(apis.iter().map(|(name, _, costs)| Row::new(name, "µs/request", of(costs, |cost| cost.server))));
    Ok(rows)
}

fn rows(hits: &[Cost], gets: &[Cost]) -> Vec<Row> {
    let ratios = hits.iter().zip(gets).map(|(hit, get)| hit.server / get.server).collect();
    vec![
        Row::new("hit: CPU of the server, in CPU of the reference", "×", ratios).target(Target::AtMost(1.6)),
        Row::new("hit: CPU of the reference", "µs/request", of(gets, |cost| cost.server)),
        Row::new("hit: CPU of Redis", "µs/request", of(hits, |cost| cost.redis)),
        Row::new("hit: CPU of Redis, by the reference", "µs/request", of(gets, |cost| cost.redis)),
    ]
}

/// The reference gets what the API answers with: the same bytes, without what proves them.
async fn copy_bodies(house: &House) -> Result<()> {
    let mut redis = house.redis();
    for id in house.ids().await? {
        let value: Vec<u8> = redis::cmd("GET").arg(house.stripes.value(&keys::product(id))).query_async(&mut redis).await?;
        let entry = Entry::decode(&value.into()).ok().context("a warm value is no entry")?;
        let body = entry.body.context("a product without a body")?;
        redis::cmd("SET").arg(format!("{PREFIX}{id}")).arg(body.as_ref()).exec_async(&mut redis).await?;
    }
    Ok(())
}
