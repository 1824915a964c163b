//! The process put together: what it is made of, and the tasks that run it.

use anyhow::{Context, Result};
use freshline::{
    admin::{Admin, Readiness},
    fault,
    replication::{SlotGuard, SlotName, StreamSettings},
    shutdown::Tasks,
    telemetry::Metrics,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{config::Config, session::Sessions};

/// Everything that runs.
pub struct App {
    admin: Admin,
    metrics: Metrics,
    slot_guard: SlotGuard,
    sessions: Sessions,
    stop: CancellationToken,
}

impl App {
    /// Binds the port, and prepares the rest.
    pub async fn build(config: Config, stop: &CancellationToken) -> Result<Self> {
        let metrics = Metrics::install()?;
        let slot = SlotName::new(&config.slot).context("FRESHLINE_RELAY_SLOT cannot be used")?;
        let server = config.database_url.connect_options().application_name("freshline-relay");
        let slot_guard = SlotGuard::new(server.clone(), slot.clone(), config.slot_limits);
        let readiness = Readiness::new();
        let admin = Admin::bind(config.address, readiness.clone(), metrics.clone()).await?;
        info!("metrics and readiness at http://{}", admin.address()?);
        let stream = StreamSettings::new(server, slot, config.publication);
        let sessions = Sessions { stream, nats: config.nats, max_age: config.max_age, readiness };
        Ok(Self { admin, metrics, slot_guard, sessions, stop: stop.clone() })
    }

    /// Starts every task; the set owns them.
    pub fn spawn(self) -> Tasks {
        let Self { admin, metrics, slot_guard, sessions, stop } = self;
        let mut tasks = Tasks::new();
        tasks.spawn_sure("the admin port", admin.serve(stop.clone()));
        tasks.spawn_sure("the upkeep of metrics", metrics.upkeep(stop.clone()));
        tasks.spawn_sure("the watch over the slot", slot_guard.run(stop.clone()));
        tasks.spawn("the relay", async move {
            sessions.run(stop).await.map_err(|error| {
                let told = fault::told(&error);
                anyhow::Error::new(error).context(told)
            })
        });
        tasks
    }
}
