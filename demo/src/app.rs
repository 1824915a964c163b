//! The process put together: what requests are answered with, and the tasks that run beside them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use freshline::{
    admin::{self, Readiness},
    coherence::Links,
    registry::{Process, Registration, Role},
    server::{Limits, serve},
    shutdown::Tasks,
    telemetry::Metrics,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    clock::Clock,
    config::Config,
    hold::Holder,
    routes::{Front, Services},
    usual::Comparisons,
};

/// How long Redis may take for one call.
const REDIS_MAX: Duration = Duration::from_secs(1);

/// For the browsers and terminals of one machine. What runs is cut at the end: nothing is lost with it.
const LIMITS: Limits = Limits {
    connections: 32,
    idle: Duration::from_secs(75),
    head: Duration::from_secs(10),
    stall: Duration::from_secs(10),
    lame_duck: Duration::ZERO,
    first_word: Duration::ZERO,
    grace: Duration::from_secs(2),
};

/// Binds the port, and starts every task; the set owns them. Nothing else has to be there: it is connected when it is.
pub async fn start(config: Config, stop: CancellationToken) -> Result<Tasks> {
    let Config { shared, address, publication } = config;
    let (metrics, readiness) = (Metrics::install()?, Readiness::new());
    let redis = redis::Client::open(shared.redis_url.connection_info()).context("FRESHLINE_REDIS_URL cannot be used")?;
    let (links, link_keeper) = Links::new(redis, REDIS_MAX);
    let database = shared.database_url.connect_options().application_name("freshline-demo");
    let (holder, hold_keeper) = Holder::new(database.clone(), readiness.clone());
    let (comparisons, comparing) = Comparisons::new();
    let listener = admin::bind(address).await.context("FRESHLINE_DEMO_ADDRESS cannot be used")?;
    let own_address = listener.local_addr()?.to_string();
    info!("listening on {own_address}");
    let process = Process { address: Some(own_address.clone()), admin_address: Some(own_address), ..Process::this(Role::Demo) };
    let services = Services {
        database,
        publication,
        links: links.clone(),
        stripes: shared.stripes.clone(),
        client: reqwest::Client::builder().no_proxy().build().context("no HTTP client")?,
        holder,
        comparisons,
        clock: Clock::new(),
        process: process.id.clone(),
    };
    let registration = Registration::new(links, &shared.stripes, process).measured(&metrics, Some(&readiness));
    let front = Front::new(Arc::new(services), admin::router(metrics.clone(), readiness));

    let mut tasks = Tasks::new();
    tasks.spawn_sure("the upkeep of metrics", metrics.upkeep(stop.clone()));
    tasks.spawn_sure("the connection to Redis", link_keeper.run(stop.clone()));
    tasks.spawn_sure("the record of this process", registration.run(stop.clone()));
    tasks.spawn_sure("the keeper of held commits", hold_keeper.run(stop.clone()));
    tasks.spawn_sure("the comparison", comparing.run(stop.clone()));
    tasks.spawn_sure("the server", serve(listener, None, front, LIMITS, stop));
    Ok(tasks)
}
