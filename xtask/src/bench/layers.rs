//! The price of each layer on the way of a hit: CPU of the server with it, less CPU without it.
//!
//! A layer costs a hundredth of what a request costs, and less than two rounds of the same differ. So all sides are processes that run
//! at once and take turns of some hundred requests, and what is told is the median of the differences within turns. One side is the
//! same as the whole: what is measured for it is what the measurement itself is off by.

mod copy;
mod cuts;

use std::path::Path;

use anyhow::{Context, Result};
use stage::Source;

use self::cuts::{LAYERS, WITHOUT};
use super::cpu;
use super::hit::IS_HIT;
use super::house::House;
use super::http::Asked;
use super::replica::Replica;
use super::report::{Row, median};

/// How many products are asked for in turn.
const PRODUCTS: u64 = 1_000;

/// Requests of a turn that are not measured, and that are.
const REQUESTS: (usize, usize) = (320, 1_600);

/// Turns of each side in a round.
const TURNS: usize = 24;

/// Longer than by default: with twenty processes on one core, one may be kept from it for a while, and would miss.
const PATIENCE: (&str, &str) = ("FRESHLINE_API_REDIS_DEADLINE_MS", "10000");

/// One side of the measurement.
struct Side {
    row: &'static str,
    replica: Replica,
    /// What the head of each answer contains.
    expected: &'static str,
    of: Of,
    /// µs for a request, or what it is less than the whole: of each turn of the round, and the medians of all rounds.
    turns: Vec<f64>,
    rounds: Vec<f64>,
}

/// What is told of a side.
#[derive(Clone, Copy)]
enum Of {
    /// What it costs.
    Itself,
    /// What the whole costs more than it.
    WhatItLacks,
    /// What it costs more than the whole.
    WhatItHas,
}

/// Builds what is measured, and measures all sides in turn.
pub async fn measure(rounds: u32) -> Result<Vec<Row>> {
    let program = copy::built().await?;
    let house = House::with_products(Source::Postgres, PRODUCTS).await?;
    let invalidator = house.opened().await?;
    house.warm().await?;
    let redis = house.stage.redis().pid().await.context("Redis is stopped")?;
    cpu::pin_process(redis)?;
    let paths = house.paths().await?;
    let mut sides = sides(&house, &program).await?;
    for _ in 0..rounds {
        for turn in 0..TURNS {
            take_turn(&mut sides, turn, |side| {
                side.replica.cost(&Asked::get(&paths, side.expected), REQUESTS, redis).map(|cost| cost.server)
            })?;
        }
        sides.iter_mut().for_each(Side::end_round);
    }
    drop(invalidator);
    Ok(sides.into_iter().map(|side| Row::new(side.row, "µs/request", side.rounds)).collect())
}

/// The whole first. What a side is compared with is the whole of the same build.
async fn sides(house: &House, program: &Path) -> Result<Vec<Side>> {
    let (none, all) = (0, (1 << LAYERS.len()) - 1);
    let start = async |row, of, layers: u32, more: &[(&'static str, String)]| -> Result<Side> {
        let settings = more.iter().cloned().chain([patient(), (WITHOUT, layers.to_string())]);
        Ok(Side::new(row, of, Replica::api_of(house, program, settings).await?, expected(layers)))
    };
    let product = Replica::api(house, [patient()]).await?;
    let mut sides = vec![
        start("layers: a hit, with all of them", Of::Itself, none, &[]).await?,
        start("layers: a hit, with none of them", Of::Itself, all, &[]).await?,
        Side::new("layers: a hit of the product as it is built", Of::Itself, product, expected(none)),
        start("layers: nothing (what the measurement is off by)", Of::WhatItLacks, none, &[]).await?,
    ];
    for (number, layer) in LAYERS.iter().enumerate() {
        sides.push(start(layer.row, Of::WhatItLacks, 1 << number, &[]).await?);
    }
    sides.push(start("layers: all of them together", Of::WhatItLacks, all, &[]).await?);
    let cors = ("FRESHLINE_API_CORS_ORIGINS", "https://shop.example".to_owned());
    sides.push(start("layers: CORS, where it is set", Of::WhatItHas, none, &[cors]).await?);
    Ok(sides)
}

fn patient() -> (&'static str, String) {
    (PATIENCE.0, PATIENCE.1.to_owned())
}

/// What the head of each answer contains. A process that does not say where its answers come from can't be asked whether they are hits;
/// it has the same values as the others.
fn expected(without: u32) -> &'static str {
    let says_so = LAYERS.iter().position(|layer| layer.word == "cache_status").is_some_and(|number| without >> number & 1 == 0);
    if says_so { IS_HIT } else { "" }
}

/// Each side once, another one first each time.
fn take_turn(sides: &mut [Side], turn: usize, cost: impl Fn(&Side) -> Result<f64>) -> Result<()> {
    let count = sides.len();
    let mut costs = vec![0.0; count];
    for at in (0..count).map(|n| (n + turn) % count) {
        costs[at] = cost(&sides[at])?;
    }
    let whole = costs[0];
    for (side, cost) in sides.iter_mut().zip(costs) {
        side.turns.push(match side.of {
            Of::Itself => cost,
            Of::WhatItLacks => whole - cost,
            Of::WhatItHas => cost - whole,
        });
    }
    Ok(())
}

impl Side {
    fn new(row: &'static str, of: Of, replica: Replica, expected: &'static str) -> Self {
        Self { row, replica, expected, of, turns: Vec::new(), rounds: Vec::new() }
    }

    fn end_round(&mut self) {
        self.rounds.push(median(&std::mem::take(&mut self.turns)));
    }
}
