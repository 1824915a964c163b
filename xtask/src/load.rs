//! `load`: requests at a fixed rate, whether or not the answers keep up, as they come from people who do not know of each other.
//!
//! An open loop: each request has a time at which it is due, and its latency counts from there. A generator that waits for an answer before
//! it asks again sends less to a server that is slow, and so never sees how slow it would have been (coordinated omission).

mod caller;
mod page;
mod plan;
mod tally;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::builder::RangedU64ValueParser;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use self::{
    caller::Caller,
    plan::{Mix, Plan},
    tally::Tally,
};
use crate::{
    checkout::{Where, root},
    state::State,
};

/// Requests under way at a time. Beyond, they are counted as not sent: then it is this program that is measured, or a server that hangs.
const UNDER_WAY_MAX: usize = 4_096;

/// Answers on their way to the tally.
const ANSWERS_MAX: usize = 4_096;

/// The most products that are read in turn.
const KEYS_MAX: u64 = 100_000;

/// Send a fixed rate of reads and writes to the API, and report what came of it
#[derive(Debug, Clone, clap::Args)]
pub struct Load {
    /// Where an API answers; several take turns. [default: those of the `up` that runs here]
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = RangedU64ValueParser::<u32>::new().range(1..=100_000))]
    rate: u32,
    /// For how long
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = RangedU64ValueParser::<u32>::new().range(1..=3_600))]
    seconds: u32,
    /// Of a hundred requests, how many change a price; each is followed by a read under its token
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = RangedU64ValueParser::<u8>::new().range(0..=100))]
    writes: u8,
    /// Of a hundred requests, how many read a list
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = RangedU64ValueParser::<u8>::new().range(0..=100))]
    lists: u8,
    /// How many products are asked for
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=KEYS_MAX))]
    keys: u32,
    /// How much more often the first is asked for than the others: the exponent of Zipf's law; 0 for all alike
    #[arg(long, value_name = "S", default_value_t = 0.99)]
    zipf: f64,
    /// Choose by this seed, as printed by an earlier run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the report is written
    #[arg(long, value_name = "FILE", default_value = "target/load.html")]
    report: PathBuf,
    #[command(flatten)]
    place: Where,
}

impl Load {
    /// Sends, counts, and writes the report. Ends with 1 where an answer was wrong: an error, or older than the write that it had to include.
    pub async fn run(self) -> Result<ExitCode> {
        ensure!(self.writes + self.lists <= 100, "--writes and --lists are {} of a hundred requests", self.writes + self.lists);
        ensure!((0.0..=10.0).contains(&self.zipf), "--zipf {}: a number from 0 to 10", self.zipf);
        let seed = self.seed.unwrap_or_else(stage::new_seed);
        let caller = Arc::new(Caller::new(self.urls()?)?);
        let ids = caller.ids(self.keys as usize).await?;
        ensure!(!ids.is_empty(), "there is no product: `cargo xtask seed` makes some");
        let mix = Mix { writes: self.writes, lists: self.lists };
        let plan = Plan::new(self.rate, Duration::from_secs(self.seconds.into()), mix, (ids.len(), self.zipf), seed);
        println!(
            "{} requests a second for {} s to {}: {}% writes, {}% lists, {} products, Zipf {}; seed {seed}",
            self.rate,
            self.seconds,
            caller,
            self.writes,
            self.lists,
            ids.len(),
            self.zipf,
        );
        let tally = send(plan, caller.clone(), ids.into()).await?;
        println!("{tally}");
        let path = if self.report.is_absolute() { self.report.clone() } else { root().join(&self.report) };
        let about = format!("{} requests/s for {} s to {caller}, {mix}, seed {seed}", self.rate, self.seconds);
        std::fs::write(&path, page::page(&tally, &about)).with_context(|| format!("writing {}", path.display()))?;
        println!("report: {}", path.display());
        Ok(if tally.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Where to send to.
    fn urls(&self) -> Result<Vec<String>> {
        if !self.urls.is_empty() {
            return Ok(self.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect());
        }
        let place = self.place.place()?;
        let members = if place.is_up()? { State::read(&place)?.map(|state| state.processes) } else { None }.unwrap_or_default();
        let apis = members.into_iter().filter(|member| member.name.starts_with("api"));
        let urls: Vec<_> = apis.filter_map(|member| Some(format!("http://{}", member.address?))).collect();
        if urls.is_empty() {
            bail!("no API runs here: `cargo xtask up` starts some, or name one with --url");
        }
        Ok(urls)
    }
}

/// Sends each request when it is due, and counts the answers until the last has come.
async fn send(plan: Plan, caller: Arc<Caller>, ids: Arc<[String]>) -> Result<Tally> {
    let (answers, mut counted) = mpsc::channel(ANSWERS_MAX);
    let mut tally = Tally::new(plan.duration());
    let counting = async {
        while let Some(answer) = counted.recv().await {
            tally.count(answer);
        }
        tally
    };
    let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let begun = Instant::now();
    let sending = async {
        let (mut tasks, mut unsent) = (JoinSet::new(), 0_u64);
        for request in plan {
            tokio::time::sleep_until((begun + request.due).into()).await;
            while tasks.try_join_next().transpose()?.is_some() {}
            let Ok(permit) = under_way.clone().try_acquire_owned() else {
                unsent += 1;
                continue;
            };
            let (caller, ids, answers) = (caller.clone(), ids.clone(), answers.clone());
            tasks.spawn(async move {
                let _permit = permit;
                for answer in caller.ask(&request, &ids, begun).await {
                    answers.send(answer).await.ok(); // it counts until all who send are gone
                }
            });
        }
        while tasks.join_next().await.transpose()?.is_some() {}
        drop(answers);
        anyhow::Ok(unsent)
    };
    let (mut tally, unsent) = tokio::join!(counting, sending);
    tally.unsent = unsent?;
    Ok(tally)
}
