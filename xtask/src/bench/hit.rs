//! CPU of a hit: the API's server process, beside a bare axum handler with one raw Redis GET of the same body. Server, Redis and
//! caller share one core, so that CPU is all that counts.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use freshline::catalog::keys;
use freshline::coherence::Entry;
use stage::{Login, Process};

use super::collector::Collector;
use super::cpu;
use super::house::House;
use super::http::Caller;
use super::reference::{PREFIX, REDIS_URL};
use super::report::{Row, Target};

/// How many products are asked for in turn.
const PRODUCTS: u64 = 1_000;

/// Requests that are measured in a round, and those that come before them, so that all is allocated and in the CPU's caches.
const REQUESTS: usize = 40_000;
const REQUESTS_BEFORE: usize = 4_000;

/// Replicas that trace so many of 1 requests, and what is told of them.
const TRACED: [(&str, &str); 2] =
    [("0.01", "hit: CPU of the server, 1 of 100 requests traced"), ("1", "hit: CPU of the server, every request traced")];

/// Requests under way at a time.
const CONCURRENCY: usize = 16;

/// µs of CPU for one request.
struct Cost {
    server: f64,
    redis: f64,
}

/// Measures both in turn.
pub async fn measure(rounds: u32) -> Result<Vec<Row>> {
    let house = House::with_products(stage::Source::Postgres, PRODUCTS).await?;
    let invalidator = house.opened().await?;
    house.warm().await?;
    copy_bodies(&house).await?;
    let (mut api, mut reference) = (api(&house, [])?, reference(&house)?);
    let at = (address(&mut api).await?, address(&mut reference).await?);
    let collector = Collector::start().await?;
    let mut traced = Vec::new();
    for (ratio, name) in TRACED {
        let mut api = self::api(&house, collector.settings(ratio))?;
        traced.push((address(&mut api).await?, api, name, Vec::new()));
    }
    let redis = house.stage.redis().pid().await.context("Redis is stopped")?;
    cpu::pin_process(redis)?;
    let paths: Vec<String> = house.ids().await?.iter().map(|id| format!("/products/{id}")).collect();
    let (mut hits, mut gets) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        hits.push(cost(at.0, &paths, "cache-status: Freshline; hit", api.pid(), redis)?);
        gets.push(cost(at.1, &paths, "", reference.pid(), redis)?);
        for (at, api, _, costs) in &mut traced {
            costs.push(cost(*at, &paths, "cache-status: Freshline; hit", api.pid(), redis)?);
        }
    }
    drop(invalidator);
    let mut rows = rows(&hits, &gets);
    rows.extend(traced.into_iter().map(|(_, _, name, costs)| Row::new(name, "µs/request", of(&costs, |cost| cost.server))));
    Ok(rows)
}

fn rows(hits: &[Cost], gets: &[Cost]) -> Vec<Row> {
    let ratios = hits.iter().zip(gets).map(|(hit, get)| hit.server / get.server).collect();
    vec![
        Row::new("hit: CPU of the server, in CPU of the reference", "×", ratios).target(Target::AtMost(1.6)),
        Row::new("hit: CPU of the server", "µs/request", of(hits, |cost| cost.server)),
        Row::new("hit: CPU of the reference", "µs/request", of(gets, |cost| cost.server)),
        Row::new("hit: CPU of Redis", "µs/request", of(hits, |cost| cost.redis)),
        Row::new("hit: CPU of Redis, by the reference", "µs/request", of(gets, |cost| cost.redis)),
    ]
}

fn of(costs: &[Cost], part: fn(&Cost) -> f64) -> Vec<f64> {
    costs.iter().map(part).collect()
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

fn api(house: &House, settings: impl IntoIterator<Item = (&'static str, String)>) -> Result<Process> {
    let launch = house.pinned("freshline-api")?.variables([
        ("FRESHLINE_DATABASE_URL", house.stage.database_url(Login::Api)),
        ("FRESHLINE_REDIS_URL", house.stage.redis_url(Login::Api)),
        ("FRESHLINE_NAMESPACE", house.stage.name().to_owned()),
        ("FRESHLINE_API_ADDRESS", "127.0.0.1:0".to_owned()),
    ]);
    Process::start(launch.variables(settings))
}

fn reference(house: &House) -> Result<Process> {
    let launch = house.pinned("xtask")?.argument("bench-reference");
    Process::start(launch.variable(REDIS_URL, house.stage.redis_url(Login::Superuser)))
}

/// Where a server says that it listens.
async fn address(server: &mut Process) -> Result<SocketAddr> {
    let line = server.line("listening on ").await;
    let address = line.rsplit("listening on ").next().unwrap_or_default();
    address.trim().parse().with_context(|| format!("no address in {line:?}"))
}

/// Asks from a thread on the core of the server, and tells what a request cost.
fn cost(address: SocketAddr, paths: &[String], expected: &str, server: u32, redis: u32) -> Result<Cost> {
    let asking = || -> Result<Cost> {
        cpu::pin_thread()?;
        let mut caller = Caller::connect(address, CONCURRENCY)?;
        caller.ask(paths, REQUESTS_BEFORE, expected)?;
        let before = (cpu::used(server)?, cpu::used(redis)?);
        caller.ask(paths, REQUESTS, expected)?;
        let micros = |used| cpu::micros_each(used, REQUESTS);
        Ok(Cost { server: micros(cpu::used(server)? - before.0), redis: micros(cpu::used(redis)? - before.1) })
    };
    ensure!(REQUESTS.is_multiple_of(CONCURRENCY), "requests that are counted and not sent");
    let asked = std::thread::scope(|scope| tokio::task::block_in_place(|| scope.spawn(asking).join()));
    asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
