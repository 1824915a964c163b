//! What is measured once a second, because nothing happens when it changes: the pools, and how fresh the cache is.

use std::time::Duration;

use freshline::{cache::Cache, telemetry::names};
use metrics::gauge;
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Well within the shortest interval at which anybody scrapes.
const EVERY: Duration = Duration::from_secs(1);

/// Measures what this process holds.
pub struct Gauges {
    /// Whose freshness is measured.
    pub cache: Cache,
    /// The pools, each under its name.
    pub pools: [(&'static str, PgPool); 2],
}

impl Gauges {
    /// Measures until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            for (name, pool) in &self.pools {
                measure(name, pool);
            }
            // Bounded by the link's deadline.
            let freshness = self.cache.freshness().await;
            gauge!(names::FRESHNESS).set(freshness.map_or(f64::INFINITY, |age| age.as_secs_f64()));
        }
    }
}

fn measure(name: &'static str, pool: &PgPool) {
    let (all, idle) = (f64::from(pool.size()), pool.num_idle() as f64);
    gauge!(names::POOL_SESSIONS, "pool" => name, "state" => "idle").set(idle);
    // Asked one after the other: in between a session may have become idle.
    gauge!(names::POOL_SESSIONS, "pool" => name, "state" => "busy").set((all - idle).max(0.0));
    gauge!(names::POOL_SESSIONS_MAX, "pool" => name).set(f64::from(pool.options().get_max_connections()));
}
