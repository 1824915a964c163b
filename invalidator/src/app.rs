//! The process put together: what it is made of, and the tasks that run it.

use std::path::Path;

use anyhow::{Context, Result};
use freshline::{
    admin::{self, Condition, Limits, Readiness},
    coherence::{LinkKeeper, Links},
    replication::{SlotName, StreamSettings},
    retry::{GivenUp, Policy, retry},
    rules::Rules,
    shutdown::Tasks,
    telemetry::Metrics,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    check::check,
    config::{Config, REDIS_DEADLINE},
    plan::Planner,
    poll::{Poller, Polls},
    session::Sessions,
    source::postgres::Postgres,
};

/// Everything that runs, connected and checked as far as can be done before it starts.
pub struct App {
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    keeper: LinkKeeper,
    poller: Poller,
    sessions: Sessions,
    settings: StreamSettings,
    rules: Rules,
    checked: Condition,
    stop: CancellationToken,
}

impl App {
    /// Reads the rules, binds the port, and prepares the rest.
    pub async fn build(config: Config, stop: &CancellationToken) -> Result<Self> {
        let metrics = Metrics::install()?;
        let rules = rules(config.rules.as_deref())?;
        let redis = redis::Client::open(config.shared.redis_url.connection_info()).context("FRESHLINE_REDIS_URL cannot be used")?;
        let (links, keeper) = Links::new(redis, REDIS_DEADLINE);
        let database = config.shared.database_url.connect_options();
        let (polls, poller) = Polls::new(database.clone(), links.clone(), config.poll_interval);
        let slot = SlotName::new(&config.slot).context("FRESHLINE_SLOT cannot be used")?;
        let settings = StreamSettings::new(database.application_name("freshline-invalidator"), slot, config.publication);
        let readiness = Readiness::new();
        let (checked, open) = (readiness.add("primary"), readiness.add("cache"));
        let bound = TcpListener::bind(config.address).await;
        let listener = bound.with_context(|| format!("FRESHLINE_INVALIDATOR_ADDRESS={} cannot be listened on", config.address))?;
        let planner = Planner::new(rules.clone());
        let sessions = Sessions { links, polls, stripes: config.shared.stripes, planner, replicas: config.replicas, open };
        Ok(Self { listener, readiness, metrics, keeper, poller, sessions, settings, rules, checked, stop: stop.clone() })
    }

    /// Starts every task; the set owns them.
    pub fn spawn(self) -> Tasks {
        let Self { listener, readiness, metrics, keeper, poller, sessions, settings, rules, checked, stop } = self;
        let mut tasks = Tasks::new();
        let pages = admin::router(metrics.clone(), readiness);
        tasks.spawn("the admin port", admin::serve(listener, pages, Limits::ADMIN, stop.clone()));
        tasks.spawn("the upkeep of metrics", endless(metrics.upkeep(stop.clone())));
        tasks.spawn("the connection to Redis", endless(keeper.run(stop.clone())));
        tasks.spawn("the poller", endless(poller.run(stop.clone())));
        tasks.spawn("the applier", async move {
            match retry("the check of the primary", Policy::FOR_EVER, &stop, || check(&settings, &rules)).await {
                Ok(()) => checked.holds(),
                Err(GivenUp::Stopped { .. }) => return Ok(()),
                Err(given_up) => return Err(given_up.into()),
            }
            sessions.run(Postgres::new(settings), stop).await?;
            anyhow::Ok(())
        });
        tasks
    }
}

/// A task that cannot fail.
async fn endless(task: impl Future<Output = ()>) -> Result<()> {
    task.await;
    Ok(())
}

fn rules(path: Option<&Path>) -> Result<Rules> {
    let Some(path) = path else { return Ok(freshline::catalog::rules()?) };
    let text = std::fs::read_to_string(path).with_context(|| format!("FRESHLINE_RULES={} cannot be read", path.display()))?;
    Rules::parse(&text).with_context(|| format!("FRESHLINE_RULES={} cannot be used", path.display()))
}
