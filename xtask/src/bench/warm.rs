//! Rows warmed per second, beside `redis-cli --pipe` of the same keys and bytes as plain SETs with a TTL.

use std::io::{BufWriter, Seek, Write};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use freshline::catalog::keys;
use freshline::coherence::CacheKey;
use stage::Login;
use tokio::process::Command;

use super::cpu;
use super::house::House;
use super::report::{Row, Target};

/// How many products there are.
const PRODUCTS: u64 = 100_000;

/// Longer than the measurement.
const TTL_MS: &str = "7200000";

/// Measures both in turn, each time into a cache without these products.
pub async fn measure(rounds: u32) -> Result<Vec<Row>> {
    let house = House::with_products(stage::Source::Postgres, PRODUCTS).await?;
    let invalidator = house.opened().await?;
    house.warm().await?;
    let keys: Vec<CacheKey> = house.ids().await?.into_iter().map(keys::product).collect();
    let commands = commands(&house, &keys).await?;
    let (mut warmed, mut piped) = (Side::default(), Side::default());
    for _ in 0..rounds {
        forget(&house, &keys).await?;
        piped.add(&house, keys.len(), pipe(&house, &commands)).await?;
        forget(&house, &keys).await?;
        warmed.add(&house, keys.len(), house.warm()).await?;
    }
    drop(invalidator);
    let ratios = warmed.rates.iter().zip(&piped.rates).map(|(warmed, piped)| warmed / piped).collect();
    Ok(vec![
        Row::new("warm: rate, in rates of redis-cli --pipe", "×", ratios).target(Target::AtLeast(0.3)),
        Row::new("warm: warmed", "rows/s", warmed.rates),
        Row::new("warm: piped", "rows/s", piped.rates),
        Row::new("warm: CPU of Redis", "µs/row", warmed.redis),
        Row::new("warm: CPU of Redis, by redis-cli", "µs/row", piped.redis),
    ])
}

/// One of the two that are compared: rows per second, and µs of Redis's CPU for a row.
#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    redis: Vec<f64>,
}

impl Side {
    async fn add(&mut self, house: &House, rows: usize, run: impl Future<Output = Result<f64>>) -> Result<()> {
        let redis = house.stage.redis().pid().await.context("Redis is stopped")?;
        let before = cpu::used(redis)?;
        self.rates.push(run.await?);
        self.redis.push(cpu::micros_each(cpu::used(redis)? - before, rows));
        Ok(())
    }
}

async fn forget(house: &House, keys: &[CacheKey]) -> Result<()> {
    let removed = house.forget(keys).await?;
    ensure!(removed == keys.len(), "of {} values, {removed} were there", keys.len());
    Ok(())
}

/// The SETs of what is cached, as Redis reads them, in a file that is gone when it is closed.
async fn commands(house: &House, keys: &[CacheKey]) -> Result<std::fs::File> {
    let mut file = BufWriter::new(tempfile::tempfile().context("making a file")?);
    let mut redis = house.redis();
    for keys in keys.chunks(1000) {
        let names: Vec<String> = keys.iter().map(|key| house.stripes.value(key)).collect();
        let values: Vec<Option<Vec<u8>>> = redis::cmd("MGET").arg(&names).query_async(&mut redis).await?;
        for (name, value) in names.iter().zip(values) {
            let value = value.with_context(|| format!("{name} is not warm"))?;
            file.write_all(&redis::cmd("SET").arg(name).arg(value).arg("PX").arg(TTL_MS).get_packed_command())?;
        }
    }
    file.into_inner().context("writing a file")
}

/// Pipes them, and answers with commands per second.
async fn pipe(house: &House, commands: &std::fs::File) -> Result<f64> {
    let mut input = commands.try_clone()?;
    input.rewind()?;
    let redis = house.stage.redis();
    let url = redis.url(Login::Superuser);
    let password = url.split([':', '@']).nth(2).context("a URL without a password")?;
    let mut command = Command::new(redis.program().with_file_name("redis-cli"));
    command.args(["-h", "127.0.0.1", "--pipe", "-p"]).arg(redis.port().to_string()).env("REDISCLI_AUTH", password);
    command.stdin(Stdio::from(input)).kill_on_drop(true);
    let begun = Instant::now();
    let ended = command.output().await.context("running redis-cli, which lies beside redis-server")?;
    let took = begun.elapsed().as_secs_f64();
    let told = String::from_utf8_lossy(&ended.stdout);
    if !ended.status.success() || !told.contains("errors: 0") {
        bail!("redis-cli --pipe: {told}{}", String::from_utf8_lossy(&ended.stderr));
    }
    let replies = told.split("replies: ").nth(1).and_then(|count| count.trim().parse::<f64>().ok());
    Ok(replies.context("redis-cli counts no replies")? / took)
}
