//! What Redis says of itself, measured every few seconds: by the process of which there is one, so that it is told once.

use std::time::Duration;

use freshline::{
    coherence::{Info, LinkError, Links},
    telemetry::names,
};
use metrics::{counter, gauge};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Redis makes the text for some 50 µs, and nobody looks more often.
const EVERY: Duration = Duration::from_secs(5);

/// The gauges, each with the field of INFO that it shows.
const GAUGES: [(&str, &str); 3] =
    [(names::REDIS_MEMORY, "used_memory"), (names::REDIS_MEMORY_MAX, "maxmemory"), (names::REDIS_CLIENTS, "connected_clients")];

/// Measures until `stop`. While Redis is away the last that it said stands; `freshline_redis_up` tells that.
pub async fn run(links: Links, stop: CancellationToken) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        if let Err(error) = measure(&links).await {
            debug!(error = &error as &dyn std::error::Error, "Redis does not tell of itself; next time");
        }
    }
}

async fn measure(links: &Links) -> Result<(), LinkError> {
    let Some(link) = links.get() else { return Ok(()) };
    let info = Info::read(&link).await?;
    for (name, field) in GAUGES {
        gauge!(name).set(info.number(field) as f64);
    }
    counter!(names::REDIS_EVICTED).absolute(info.number("evicted_keys"));
    Ok(())
}
