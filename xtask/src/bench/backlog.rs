//! Changes applied per second while a backlog is drained, beside `pg_recvlogical` that throws away the same stream.
//!
//! A transaction of the backlog changes the stock of 100 products, and every tenth one their price as well, which two tags depend on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use stage::{Login, Source};
use tokio::process::Command;

use super::cpu;
use super::house::House;
use super::report::{Row, Target};

/// How many products there are.
pub const PRODUCTS: u32 = 20_000;

/// Rows of one transaction.
const TRANSACTION_LEN: u32 = 100;

/// The slot that `pg_recvlogical` reads.
const SLOT: &str = "bench_recvlogical";

/// One round: seconds of each, and CPU seconds of the invalidator and of Redis.
struct Round {
    received: f64,
    applied: f64,
    invalidator: Duration,
    redis: Duration,
}

/// Measures so many rounds, each with a backlog of its own.
pub async fn measure(rounds: u32, changes: u32) -> Result<Vec<Row>> {
    let house = House::with_products(Source::Postgres, u64::from(PRODUCTS)).await?;
    let invalidator = house.opened().await?;
    house.warm().await?;
    let reference = format!("select pg_create_logical_replication_slot('{SLOT}', 'pgoutput')");
    let begin = house.stage.sql(&reference).await;
    house.end(invalidator, begin).await?;
    let mut measured = Vec::new();
    for round in 0..rounds {
        let end = backlog(&house, changes).await;
        // They take turns in going first: what it reads, the second finds in the page cache.
        measured.push(if round % 2 == 0 {
            let received = receive(&house, end).await?;
            Round { received, ..apply(&house, end).await? }
        } else {
            let applied = apply(&house, end).await?;
            Round { received: receive(&house, end).await?, ..applied }
        });
    }
    Ok(rows(&measured, changes))
}

fn rows(rounds: &[Round], count: u32) -> Vec<Row> {
    let changes = f64::from(count);
    let each = |figure: &dyn Fn(&Round) -> f64| rounds.iter().map(figure).collect();
    let micros = |used| cpu::micros_each(used, count as usize);
    vec![
        Row::new("backlog: rate, in rates of pg_recvlogical", "×", each(&|round| round.received / round.applied))
            .target(Target::AtLeast(0.5)),
        Row::new("backlog: applied", "changes/s", each(&|round| changes / round.applied)),
        Row::new("backlog: received by pg_recvlogical", "changes/s", each(&|round| changes / round.received)),
        Row::new("backlog: CPU of the invalidator", "µs/change", each(&|round| micros(round.invalidator))),
        Row::new("backlog: CPU of Redis", "µs/change", each(&|round| micros(round.redis))),
    ]
}

/// Makes so many changes, and answers with the position of the log's end.
pub async fn backlog(house: &House, changes: u32) -> u64 {
    let sql = format!(
        "do $$ declare ids uuid[] := array(select id from products order by id limit {PRODUCTS}); first integer; begin
            for n in 0 .. {last} loop
                first := n * {TRANSACTION_LEN} % {PRODUCTS};
                update products set stock_quantity = (stock_quantity + 1) % 1000,
                    price = case when n % 10 = 0 then price + 1 else price end
                where id = any (ids[first + 1 : first + {TRANSACTION_LEN}]);
                commit;
            end loop;
        end $$",
        last = (changes / TRANSACTION_LEN).saturating_sub(1)
    );
    house.stage.sql(&sql).await;
    house.stage.sql("select pg_logical_emit_message(true, 'bench', 'the end')").await
}

/// Reads the stream up to a position, and answers with the seconds that it took, the start of the program included.
async fn receive(house: &House, end: u64) -> Result<f64> {
    let postgres = house.stage.postgres();
    let mut command = Command::new(postgres.bin().join("pg_recvlogical"));
    command.args(["--host=127.0.0.1", "--username=postgres", "--start", "--no-loop", "--file=/dev/null", "--fsync-interval=0"]);
    command.args(["-o", "proto_version=1", "-o", "publication_names=freshline", "-o", "messages=true"]);
    command.arg(format!("--port={}", postgres.port())).arg(format!("--dbname={}", house.stage.name()));
    command.arg(format!("--slot={SLOT}")).arg(format!("--endpos={:X}/{:X}", end >> 32, end & 0xffff_ffff));
    command.env("PGPASSWORD", postgres.password(Login::Superuser)).kill_on_drop(true);
    let begun = Instant::now();
    let ended = command.output().await.context("running pg_recvlogical")?;
    if !ended.status.success() {
        bail!("pg_recvlogical: {}", String::from_utf8_lossy(&ended.stderr));
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Starts the invalidator, and measures from the start of its stream until all up to a position is applied. Leaves the cache warm.
async fn apply(house: &House, end: u64) -> Result<Round> {
    let redis = house.stage.redis().pid().await.context("Redis is stopped")?;
    let redis_before = cpu::used(redis)?;
    let invalidator = house.invalidator().await?;
    let begun = Instant::now();
    house.applied(end).await?;
    let applied = begun.elapsed().as_secs_f64();
    let (own, redis) = (cpu::used(invalidator.pid())?, cpu::used(redis)? - redis_before);
    house.warm().await?;
    house.end(invalidator, end).await?;
    Ok(Round { received: f64::NAN, applied, invalidator: own, redis })
}
