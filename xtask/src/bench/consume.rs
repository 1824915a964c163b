//! Changes through a broker: published by the relay, and consumed on a backlog, beside the same client that reads the same messages
//! and drops them. Debezium's publishing is its own and is not measured.

use std::time::{Duration, Instant};

use anyhow::Result;
use stage::Source;

use super::backlog::{PRODUCTS, backlog};
use super::cpu;
use super::house::House;
use super::memory::high_water;
use super::report::{Row, Target};
use super::tap::Tap;

/// How long the relay may take to start.
const START_MAX: Duration = Duration::from_secs(60);

/// One round, in seconds.
struct Round {
    /// By the relay, with its CPU time.
    published: Option<(f64, Duration)>,
    read: f64,
    messages: u64,
    applied: f64,
    invalidator: Duration,
    mebibytes: f64,
}

/// What the figures of a source are called.
struct Names {
    ratio: &'static str,
    applied: &'static str,
    read: &'static str,
    cpu: &'static str,
    memory: &'static str,
}

const NATS: Names = Names {
    ratio: "consume: through NATS, in rates of its client alone",
    applied: "consume: through NATS, applied",
    read: "consume: through NATS, read by its client alone",
    cpu: "consume: through NATS, CPU of the invalidator",
    memory: "consume: through NATS, most that the invalidator held",
};

const KAFKA: Names = Names {
    ratio: "consume: through Debezium, in rates of its client alone",
    applied: "consume: through Debezium, applied",
    read: "consume: through Debezium, read by its client alone",
    cpu: "consume: through Debezium, CPU of the invalidator",
    memory: "consume: through Debezium, most that the invalidator held",
};

/// Measures so many rounds of each, with a backlog of its own.
pub async fn measure(rounds: u32, changes: u32) -> Result<Vec<Row>> {
    let mut all = rows(&NATS, &through(Source::Nats, rounds, changes).await?, changes);
    all.extend(rows(&KAFKA, &through(Source::Kafka, rounds, changes).await?, changes));
    Ok(all)
}

async fn through(source: Source, rounds: u32, changes: u32) -> Result<Vec<Round>> {
    let mut house = House::with_products(source, u64::from(PRODUCTS)).await?;
    let invalidator = house.opened().await?;
    house.warm().await?;
    let begin = house.stage.sql("select pg_logical_emit_message(true, 'bench', 'the beginning')").await;
    house.applied(begin).await?;
    house.end(invalidator, begin).await?;
    let mut measured = Vec::new();
    for round in 0..rounds {
        let before = Tap::after(&house.feed, house.stage.name(), None).await?.last().await?;
        let (end, published) = publish(&mut house, changes).await?;
        // They take turns in going first: what it reads, the second finds in the page cache.
        let mut figures = Round { published, read: 0.0, messages: 0, applied: 0.0, invalidator: Duration::ZERO, mebibytes: 0.0 };
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                read(&house, before, &mut figures).await?
            } else {
                apply(&house, end, &mut figures).await?
            }
        }
        measured.push(figures);
    }
    Ok(measured)
}

/// Makes a backlog in Postgres, and has it published; answers with its end and how long the relay took.
async fn publish(house: &mut House, changes: u32) -> Result<(u64, Option<(f64, Duration)>)> {
    house.feed.stop_writer().await?;
    let end = backlog(house, changes).await;
    house.feed.start_writer().await?;
    let Some(relay) = house.feed.relay() else {
        house.confirmed(end).await?;
        return Ok((end, None));
    };
    relay.line_within(START_MAX, "publishing what Postgres changes").await;
    let (begun, pid) = (Instant::now(), relay.pid());
    house.confirmed(end).await?;
    Ok((end, Some((begun.elapsed().as_secs_f64(), cpu::used(pid)?))))
}

/// Reads the backlog and drops it.
async fn read(house: &House, before: u64, figures: &mut Round) -> Result<()> {
    let mut tap = Tap::after(&house.feed, house.stage.name(), Some(before)).await?;
    let last = tap.last().await?;
    let begun = Instant::now();
    while tap.next().await?.number < last {}
    (figures.read, figures.messages) = (begun.elapsed().as_secs_f64(), last - before);
    Ok(())
}

/// Starts the invalidator, and measures from the start of its stream until all is applied. Leaves the cache warm.
async fn apply(house: &House, end: u64, figures: &mut Round) -> Result<()> {
    let invalidator = house.invalidator().await?;
    let begun = Instant::now();
    house.applied(end).await?;
    figures.applied = begun.elapsed().as_secs_f64();
    figures.invalidator = cpu::used(invalidator.pid())?;
    figures.mebibytes = high_water(invalidator.pid())?;
    house.warm().await?;
    house.end(invalidator, end).await
}

fn rows(names: &Names, rounds: &[Round], count: u32) -> Vec<Row> {
    let changes = f64::from(count);
    let each = |figure: &dyn Fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<_>>();
    let micros = |used| cpu::micros_each(used, count as usize);
    let mut told = vec![
        // The rate is to be met, or else 0.7 of this.
        Row::new(names.ratio, "×", each(&|round| round.read / round.applied)),
        Row::new(names.applied, "changes/s", each(&|round| changes / round.applied)).target(Target::AtLeast(50_000.0)),
        Row::new(names.read, "messages/s", each(&|round| round.messages as f64 / round.read)),
        Row::new(names.cpu, "µs/change", each(&|round| micros(round.invalidator))),
        Row::new(names.memory, "MiB", each(&|round| round.mebibytes)),
    ];
    let published: Vec<(f64, Duration)> = rounds.iter().filter_map(|round| round.published).collect();
    if !published.is_empty() {
        let rate = published.iter().map(|(seconds, _)| changes / seconds).collect();
        told.push(Row::new("consume: published by the relay to NATS", "changes/s", rate));
        let used = published.iter().map(|(_, used)| micros(*used)).collect();
        told.push(Row::new("consume: CPU of the relay", "µs/change", used));
    }
    told
}
