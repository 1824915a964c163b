//! `bench`: what Freshline costs and how fast it is, on servers of its own. A report, and not a test: no number fails the run.
//!
//! One measurement a file. The sides that are compared take turns, so that what else the machine does meets both.

mod backlog;
mod collector;
mod consume;
mod cpu;
mod hit;
mod house;
mod http;
mod invalidation;
mod layers;
mod machine;
mod memory;
mod reference;
mod replica;
mod report;
mod requests;
mod tap;
mod warm;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use tokio::process::Command;

pub use self::reference::BenchReference;
use self::report::Row;
use crate::cargo::cargo;
use crate::checkout::root;

/// Measure on servers of its own, print the table, and write it to docs/benchmarks.md; takes some ten minutes
#[derive(Debug, Clone, clap::Args)]
pub struct Bench {
    /// What to measure. [default: everything]
    #[arg(value_enum)]
    measures: Vec<Measure>,
    /// How often each measurement is taken
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<u32>::new().range(1..=100))]
    rounds: u32,
    /// How many row changes the backlog has, and the transaction that memory is measured over
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = RangedU64ValueParser::<u32>::new().range(1_000..=10_000_000))]
    changes: u32,
    /// A freshline-api that was built before: its hits are measured as well
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// Print only
    #[arg(long)]
    dry: bool,
    /// Set by the verb itself, once all is built.
    #[arg(long, hide = true)]
    built: bool,
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// CPU of a hit, beside a bare Redis GET.
    Hit,
    /// CPU of each layer on the way of a hit.
    Layers,
    /// CPU of a miss, a list, a 304 and a write, beside a hit.
    Requests,
    /// From COMMIT to the entry's replacement, at 1,000 writes/s.
    Invalidation,
    /// Changes applied per second on a backlog, beside `pg_recvlogical`.
    Backlog,
    /// Changes applied per second on a backlog in a broker, beside its client alone; and the relay's rate.
    Consume,
    /// Rows warmed per second, beside `redis-cli --pipe`.
    Warm,
    /// The invalidator's memory over one large transaction.
    Memory,
}

impl Bench {
    /// Builds for release, and measures with what was built.
    pub async fn run(self) -> Result<ExitCode> {
        if !self.built {
            return rebuilt().await;
        }
        let mut rows = Vec::new();
        for measure in
            Measure::value_variants().iter().filter(|measure| self.measures.is_empty() || self.measures.contains(measure))
        {
            println!("bench: {}, {} rounds", measure.name(), self.rounds);
            let measured = self.take(*measure).await.with_context(|| format!("measuring {}", measure.name()))?;
            measured.iter().for_each(|row| println!("{row}"));
            rows.extend(measured);
        }
        let machine = machine::described(self.rounds, self.changes)?;
        println!("\n{}\n{machine}", report::table(&rows, &[]));
        if !self.dry {
            report::write(&rows, &machine)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn take(&self, measure: Measure) -> Result<Vec<Row>> {
        match measure {
            Measure::Hit => hit::measure(self.rounds, self.before.as_deref()).await,
            Measure::Layers => layers::measure(self.rounds).await,
            Measure::Requests => requests::measure(self.rounds).await,
            Measure::Invalidation => invalidation::measure(self.rounds).await,
            Measure::Backlog => backlog::measure(self.rounds, self.changes).await,
            Measure::Consume => consume::measure(self.rounds, self.changes).await,
            Measure::Warm => warm::measure(self.rounds).await,
            Measure::Memory => memory::measure(self.rounds, self.changes).await,
        }
    }
}

impl Measure {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Builds the workspace for release, and runs this verb again as it was built there: our programs are looked for beside it.
async fn rebuilt() -> Result<ExitCode> {
    println!("bench: cargo build --release --workspace");
    run(Command::from(cargo()).args(["build", "--release", "--workspace", "--quiet"])).await?;
    let own = std::env::current_exe().context("finding our own program")?;
    let target = own.parent().and_then(|profile| profile.parent()).context("a program outside of a target directory")?;
    let again: PathBuf = target.join("release/xtask");
    run(Command::new(again).args(std::env::args_os().skip(1)).arg(OsStr::new("--built"))).await?;
    Ok(ExitCode::SUCCESS)
}

async fn run(command: &mut Command) -> Result<()> {
    command.current_dir(root()).stdin(Stdio::null()).kill_on_drop(true);
    let program = command.as_std().get_program().to_owned();
    let status = command.status().await.with_context(|| format!("running {}", program.display()))?;
    if !status.success() {
        bail!("{} ended with {status}", program.display());
    }
    Ok(())
}
