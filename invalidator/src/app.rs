//! The process put together: what it is made of, and the tasks that run it.

use std::path::Path;

use anyhow::{Context, Result};
use freshline::{
    admin::{Admin, Readiness},
    broker::{KafkaConfig, SourceConfig},
    check::check,
    coherence::{LinkKeeper, Links},
    fault::{self, Classified},
    registry::{Process, Registration, Role},
    replication::{SlotGuard, SlotName, StreamSettings},
    retry::{GivenUp, Policy, retry},
    rules::Rules,
    shutdown::Tasks,
    telemetry::Metrics,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    config::{Config, REDIS_DEADLINE},
    plan::Planner,
    poll::{Poller, Polls},
    session::{CACHE, Sessions},
    source::{
        kafka::{Kafka, KafkaSettings},
        nats::Nats,
        postgres::Postgres,
    },
    trail::{Trail, Writer},
};

/// The condition that the primary and its tables are as the rules need them.
const PRIMARY: &str = "primary";

/// Everything that runs, connected and checked as far as can be done before it starts.
pub struct App {
    admin: Admin,
    readiness: Readiness,
    metrics: Metrics,
    keeper: LinkKeeper,
    poller: Poller,
    registration: Registration,
    trail_writer: Option<Writer>,
    /// Of a slot that is this process's own.
    slot_guard: Option<SlotGuard>,
    sessions: Sessions,
    settings: StreamSettings,
    source: SourceConfig,
    rules: Rules,
    stop: CancellationToken,
}

impl App {
    /// Reads the rules, binds the port, and prepares the rest.
    pub async fn build(config: Config, stop: &CancellationToken) -> Result<Self> {
        let metrics = Metrics::install()?;
        let rules = rules(config.rules.as_deref())?;
        let redis = redis::Client::open(config.shared.redis_url.connection_info()).context("FRESHLINE_REDIS_URL cannot be used")?;
        let (trail, trail_writer) = Trail::new(redis.clone(), config.shared.stripes.clone(), config.trail);
        let (links, keeper) = Links::new(redis, REDIS_DEADLINE);
        let database = config.shared.database_url.connect_options();
        let (polls, poller) = Polls::new(database.clone(), links.clone(), config.poll_interval);
        let slot = SlotName::new(&config.slot).context("FRESHLINE_SLOT cannot be used")?;
        // The other sources read from a slot that another process has.
        let slot_guard = matches!(config.source, SourceConfig::Postgres)
            .then(|| SlotGuard::new(database.clone(), slot.clone(), config.slot_limits));
        let settings = StreamSettings::new(database.application_name("freshline-invalidator"), slot, config.publication);
        let readiness = Readiness::new();
        readiness.unready(PRIMARY, "not looked at yet");
        readiness.unready(CACHE, "not opened yet");
        let admin = Admin::bind(config.address, readiness.clone(), metrics.clone()).await?;
        info!("metrics and readiness at http://{}", admin.address()?);
        let process = Process {
            admin_address: Some(admin.address()?.to_string()),
            source: Some(config.source.name().into()),
            ..Process::this(Role::Invalidator)
        };
        let registration = Registration::new(links.clone(), &config.shared.stripes, process);
        let planner = Planner::new(rules.clone());
        let sessions = Sessions {
            links,
            polls,
            stripes: config.shared.stripes,
            planner,
            replicas: config.replicas,
            readiness: readiness.clone(),
            trail,
        };
        let (source, stop) = (config.source, stop.clone());
        Ok(Self {
            admin,
            readiness,
            metrics,
            keeper,
            poller,
            registration,
            trail_writer,
            slot_guard,
            sessions,
            settings,
            source,
            rules,
            stop,
        })
    }

    /// Starts every task; the set owns them.
    pub fn spawn(self) -> Tasks {
        let Self {
            admin,
            readiness,
            metrics,
            keeper,
            poller,
            registration,
            trail_writer,
            slot_guard,
            sessions,
            settings,
            source,
            rules,
            stop,
        } = self;
        let mut tasks = Tasks::new();
        tasks.spawn_sure("the admin port", admin.serve(stop.clone()));
        tasks.spawn_sure("the upkeep of metrics", metrics.upkeep(stop.clone()));
        tasks.spawn_sure("the connection to Redis", keeper.run(stop.clone()));
        tasks.spawn_sure("the poller", poller.run(stop.clone()));
        tasks.spawn_sure("the record of this process", registration.run(stop.clone()));
        if let Some(writer) = trail_writer {
            tasks.spawn_sure("the trail", writer.run(stop.clone()));
        }
        if let Some(slot_guard) = slot_guard {
            tasks.spawn_sure("the watch over the slot", slot_guard.run(stop.clone()));
        }
        tasks.spawn("the applier", async move {
            let has_slot = matches!(source, SourceConfig::Postgres);
            let asked = retry("the check of the primary", Policy::FOR_EVER, &stop, || check(&settings, &rules, has_slot)).await;
            match asked {
                Ok(()) => readiness.ready(PRIMARY),
                Err(GivenUp::Stopped { .. }) => return Ok(()),
                Err(given_up) => return Err(with_remedy(given_up)),
            }
            match source {
                SourceConfig::Postgres => sessions.run(Postgres::new(settings), stop).await.map_err(with_remedy),
                SourceConfig::Nats { settings: nats, consumer } => {
                    let tables = rules.tables().cloned().collect();
                    let nats = Nats::new(nats, consumer, tables, settings.server);
                    sessions.run(nats, stop).await.map_err(with_remedy)
                }
                SourceConfig::Kafka(kafka) => {
                    let KafkaConfig { address, topics, group, numerics } = *kafka;
                    let tables = rules.tables().cloned().collect();
                    let kafka = KafkaSettings { address, topics, group, numerics, tables };
                    sessions.run(Kafka::new(kafka, settings.server), stop).await.map_err(with_remedy)
                }
            }
        });
        tasks
    }
}

/// An error that says in its text what mends it, for whoever reads how the process ended.
fn with_remedy(error: impl Classified + Send + Sync + 'static) -> anyhow::Error {
    let told = fault::told(&error);
    anyhow::Error::new(error).context(told)
}

fn rules(path: Option<&Path>) -> Result<Rules> {
    Ok(match path {
        Some(path) => Rules::read(path)?,
        None => freshline::catalog::rules()?,
    })
}
