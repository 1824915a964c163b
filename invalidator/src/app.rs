//! The process put together: what it is made of, and the tasks that run it.

use std::path::Path;

use anyhow::{Context, Result};
use freshline::{
    admin::{Admin, Readiness},
    broker::{KafkaConfig, SourceConfig},
    check::check,
    coherence::Links,
    fault,
    registry::{Process, Registration, Role},
    replication::{SlotGuard, SlotName, StreamSettings},
    retry::{GivenUp, Policy, retry},
    rules::Rules,
    shutdown::Tasks,
    telemetry::{Metrics, from_zero, names},
};
use metrics::counter;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    config::{Config, REDIS_DEADLINE},
    plan::Planner,
    poll::Polls,
    redis_gauges,
    session::{CACHE, Sessions},
    source::{
        kafka::{Kafka, KafkaSettings},
        nats::Nats,
        postgres::Postgres,
    },
    trail::Trail,
};

/// The condition that the primary and its tables are as the rules need them.
const PRIMARY: &str = "primary";

/// Reads the rules, binds the port, and starts every task; the set owns them. Nothing has to be there: it is connected when it is.
pub async fn start(config: Config, stop: CancellationToken) -> Result<Tasks> {
    let metrics = Metrics::install()?;
    count_from_zero();
    let rules = rules(config.rules.as_deref())?;
    let redis = redis::Client::open(config.shared.redis_url.connection_info()).context("FRESHLINE_REDIS_URL cannot be used")?;
    let process = Process { source: Some(config.shard.told(config.source.name())), ..Process::this(Role::Invalidator) };
    let (trail, trail_writer) = Trail::new(redis.clone(), config.shared.stripes.clone(), config.trail, &process.id);
    let (links, keeper) = Links::new(redis, REDIS_DEADLINE);
    let database = config.shared.database_url.connect_options();
    let (polls, poller) = Polls::new(database.clone(), links.clone(), config.poll_interval);
    let slot = SlotName::new(&config.slot).context("FRESHLINE_SLOT cannot be used")?;
    let readiness = Readiness::new();
    readiness.unready(PRIMARY, "not looked at yet");
    readiness.unready(CACHE, "not opened yet");
    let admin = Admin::bind(config.address, readiness.clone(), metrics.clone()).await?;
    info!("metrics and readiness at http://{}", admin.address()?);
    let process = Process { admin_address: Some(admin.address()?.to_string()), ..process };
    let registration = Registration::new(links.clone(), &config.shared.stripes, process).measured(&metrics, Some(&readiness));

    let mut tasks = Tasks::new();
    tasks.spawn_sure("the admin port", admin.serve(stop.clone()));
    tasks.spawn_sure("the upkeep of metrics", metrics.upkeep(stop.clone()));
    tasks.spawn_sure("the connection to Redis", keeper.run(stop.clone()));
    tasks.spawn_sure("the gauges of Redis", redis_gauges::run(links.clone(), stop.clone()));
    tasks.spawn_sure("the poller", poller.run(stop.clone()));
    tasks.spawn_sure("the record of this process", registration.run(stop.clone()));
    if let Some(trail_writer) = trail_writer {
        tasks.spawn_sure("the trail", trail_writer.run(stop.clone()));
    }
    // The other sources read from a slot that another process has.
    if matches!(config.source, SourceConfig::Postgres) {
        let slot_guard = SlotGuard::new(database.clone(), slot.clone(), config.slot_limits);
        tasks.spawn_sure("the watch over the slot", slot_guard.run(stop.clone()));
    }
    let (planner, replicas, stripes) = (Planner::new(rules.clone()), config.replicas, config.shared.stripes);
    let shard = config.shard;
    let sessions = Sessions { links, polls, stripes, shard, planner, replicas, readiness: readiness.clone(), trail };
    let stream = StreamSettings::new(database.application_name("freshline-invalidator"), slot, config.publication);
    let applier = Applier { stream, source: config.source, rules, sessions, readiness };
    tasks.spawn("the applier", applier.run(stop));
    Ok(tasks)
}

/// What applies changes, once the primary and its tables are as the rules need them.
struct Applier {
    stream: StreamSettings,
    source: SourceConfig,
    rules: Rules,
    sessions: Sessions,
    readiness: Readiness,
}

impl Applier {
    async fn run(self, stop: CancellationToken) -> Result<(), String> {
        let Self { stream, source, rules, sessions, readiness } = self;
        let name = sessions.shard.told(source.name());
        let has_slot = matches!(source, SourceConfig::Postgres);
        match retry("the check of the primary", Policy::FOR_EVER, &stop, || check(&stream, &rules, has_slot)).await {
            Ok(()) => readiness.ready(PRIMARY),
            Err(GivenUp::Stopped { .. }) => return Ok(()),
            Err(given_up) => return Err(fault::in_full(&given_up)),
        }
        let tables = rules.tables().cloned().collect();
        match source {
            SourceConfig::Postgres => sessions.run(Postgres::new(stream), stop).await.map_err(|error| fault::in_full(&error)),
            SourceConfig::Nats { settings, consumer } => sessions
                .run(Nats::new(settings, consumer, name, tables, stream.server), stop)
                .await
                .map_err(|error| fault::in_full(&error)),
            SourceConfig::Kafka(kafka) => {
                let KafkaConfig { address, topics, group, numerics } = *kafka;
                let kafka = KafkaSettings { address, topics, group, numerics, name, tables };
                sessions.run(Kafka::new(kafka, stream.server), stop).await.map_err(|error| fault::in_full(&error))
            }
        }
    }
}

/// What has not happened yet is 0.
fn count_from_zero() {
    for name in [names::BUMPED, names::TRANSACTIONS_APPLIED, names::SLOTS_DROPPED] {
        counter!(name).absolute(0);
    }
    from_zero(&[
        (names::CHANGES_APPLIED, "action", &["refresh", "invalidate", "tag"]),
        (names::CHANGES_UNUSABLE, "reason", &["no-image", "no-name", "unbound"]),
        (names::DEAD_LETTERS, "source", &["nats", "kafka"]),
        (names::OPENED, "reason", &["closed", "history"]),
        (names::RECONNECTS, "to", &["source", "redis"]),
    ]);
}

fn rules(path: Option<&Path>) -> Result<Rules> {
    Ok(match path {
        Some(path) => Rules::read(path)?,
        None => freshline::catalog::rules()?,
    })
}
