//! The warmer: fills the cache with products ahead of their readers, by lease and fill only.
//!
//! ids → chunks → lease, one read, fill; then the summary.

use std::{net::SocketAddr, pin::pin, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use freshline::{
    admin::{Admin, Readiness},
    config::Environment,
    fault::{Classified, Kind},
    service::{self, UNUSABLE},
    shutdown::{self, TaskError, Tasks, drain},
    telemetry::{Metrics, chain, trace},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

mod app;
mod config;
mod gate;
mod ids;
mod rate;
mod report;
mod tally;
mod warm;

use app::{App, Trouble};
use config::{Config, Options};
use tally::Summary;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Some ids are not warm.
const NOT_ALL_WARM: u8 = 1;
/// Postgres or the cache was away for too long.
const AWAY: u8 = 3;

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(form) = options.settings_form() {
        print!("{}", freshline::config::listing(&config::settings(), Some(form)));
        return ExitCode::SUCCESS;
    }
    let config = match config::load(&Environment, options.concurrency) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(UNUSABLE);
        }
    };
    match start(&options, config) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error!("the warmer ends: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever can fail without the runtime fails before it exists.
fn start(options: &Options, config: Config) -> Result<u8> {
    service::prepare(&config.shared.life.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(run(options, config));
    // Not dropped: that waits for a read of standard input, which nobody may ever end.
    runtime.shutdown_background();
    code
}

async fn run(options: &Options, config: Config) -> Result<u8> {
    let (stop, over, grace) = (CancellationToken::new(), CancellationToken::new(), config.shared.life.grace);
    let traces = trace::start(config.shared.life.traces.as_ref(), "freshline-warmer")?;
    let (mut tasks, keep) = (Tasks::new(), over.clone());
    // Before the rest is made: what is counted goes to the recorder of that moment.
    let metrics = Metrics::install()?;
    tasks.spawn_sure("the upkeep of metrics", metrics.clone().upkeep(over.clone()));
    if let Some(address) = config.address {
        answer_at(address, metrics.clone(), &mut tasks, &over).await?;
    }
    let (mut app, keeper, registration) = App::build(options, config, stop.clone())?;
    tasks.spawn_sure("the counts as metrics", app.tally().meter(over.clone()));
    tasks.spawn("the link to Redis", async move {
        keeper.run(keep).await;
        Ok::<_, TaskError>(())
    });
    tasks.spawn_sure("the record of this process", registration.measured(&metrics, None).run(over.clone()));
    let ending = run_until_asked(&mut app, &stop, grace).await;
    let summary = app.summary();
    over.cancel();
    let drained = drain(tasks, grace, None).await;
    traces.end().await;
    drained?;
    print!("{summary}");
    Ok(judge(ending, &summary, grace))
}

/// Answers for the run at this address, until it is over.
async fn answer_at(address: SocketAddr, metrics: Metrics, tasks: &mut Tasks, over: &CancellationToken) -> Result<()> {
    let admin = Admin::bind(address, Readiness::new(), metrics).await.context("FRESHLINE_WARMER_ADDRESS cannot be used")?;
    info!("metrics and readiness at http://{}", admin.address()?);
    tasks.spawn_sure("the admin port", admin.serve(over.clone()));
    Ok(())
}

/// How a run ended.
enum Ending {
    /// All ids were offered.
    Done,
    /// It was asked to end, and did after the chunks under way.
    Asked,
    /// It was asked to end, and the chunks under way took too long.
    Late,
    /// It could not go on.
    Trouble(Trouble),
}

async fn run_until_asked(app: &mut App, stop: &CancellationToken, grace: Duration) -> Ending {
    let mut running = pin!(app.run());
    tokio::select! {
        ended = &mut running => return ended.map_or_else(Ending::Trouble, |()| Ending::Done),
        () = shutdown::requested() => stop.cancel(),
    }
    match timeout(grace, running).await {
        Ok(Ok(())) => Ending::Asked,
        Ok(Err(trouble)) => Ending::Trouble(trouble),
        Err(_) => Ending::Late,
    }
}

/// Tells how the run ended, and by which code.
fn judge(ending: Ending, summary: &Summary, grace: Duration) -> u8 {
    let not_warm = summary.ids - summary.warm();
    match ending {
        Ending::Done if not_warm == 0 => return 0,
        Ending::Done => error!("{not_warm} of {} ids are not warm", summary.ids),
        Ending::Asked => warn!("ended before all ids were offered, because it was asked to"),
        Ending::Late => error!("chunks were still under way after {} ms of grace, and were given up", grace.as_millis()),
        Ending::Trouble(trouble) => {
            error!(remedy = trouble.remedy(), "the run ended: {}", chain(&trouble));
            return match trouble.kind() {
                Kind::Transient => AWAY,
                Kind::Permanent if summary.settled() == 0 => UNUSABLE,
                Kind::Permanent | Kind::Bug => NOT_ALL_WARM,
            };
        }
    }
    NOT_ALL_WARM
}
