//! The process put together: what it is made of, and the tasks that run it.

use anyhow::{Context, Result};
use freshline::{
    admin::{Admin, Readiness},
    fault,
    replication::{SlotGuard, SlotName, StreamSettings},
    shutdown::Tasks,
    telemetry::{Metrics, names},
};
use metrics::counter;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{config::Config, session::Sessions};

/// Binds the port, and starts every task; the set owns them.
pub async fn start(config: Config, stop: CancellationToken) -> Result<Tasks> {
    let metrics = Metrics::install()?;
    for name in [names::RELAY_PUBLISHED, names::SLOTS_DROPPED] {
        counter!(name).absolute(0);
    }
    let slot = SlotName::new(&config.slot).context("FRESHLINE_RELAY_SLOT cannot be used")?;
    let server = config.database_url.connect_options().application_name("freshline-relay");
    let slot_guard = SlotGuard::new(server.clone(), slot.clone(), config.slot_limits);
    let readiness = Readiness::new();
    let admin = Admin::bind(config.address, readiness.clone(), metrics.clone()).await?;
    info!("metrics and readiness at http://{}", admin.address()?);
    let stream = StreamSettings::new(server, slot, config.publication);
    let sessions = Sessions { stream, to: config.to, readiness };

    let mut tasks = Tasks::new();
    tasks.spawn_sure("the admin port", admin.serve(stop.clone()));
    tasks.spawn_sure("the upkeep of metrics", metrics.upkeep(stop.clone()));
    tasks.spawn_sure("the watch over the slot", slot_guard.run(stop.clone()));
    tasks.spawn("the relay", async move { sessions.run(stop).await.map_err(|error| fault::in_full(&error)) });
    Ok(tasks)
}
