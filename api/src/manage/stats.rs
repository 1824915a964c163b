//! The cache in numbers: how readers of this process were served, what Redis says of itself, and where the stripes stand.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use freshline::{
    coherence::{Info, LinkError, Standing},
    fault::in_full,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Manager;
use crate::{
    extract::NoQuery,
    openapi::OfManagement,
    problem::Problem,
    tally::{Kind, Served, Tally},
};

/// The cache in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// This process: its reads are counted here, and those of other replicas there. `freshline status` lists them all.
    process: Counted,
    /// What Redis says of itself; none where it does not answer.
    redis: Option<RedisStats>,
    /// Where the stripes stand; none where Redis does not answer.
    cache: Option<Standing>,
    /// What could not be looked at, and why.
    unseen: Vec<String>,
}

/// Reads since a process began.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counted {
    /// Its name in the registry.
    id: String,
    /// For how long it has counted.
    uptime_seconds: u64,
    /// All reads.
    all: Served,
    /// Reads of products.
    product: Served,
    /// Reads of which products are on a page.
    page: Served,
    /// Reads of which categories there are.
    categories: Served,
    /// How many values each rule kept from being served by the first look at the cache.
    refusals: BTreeMap<&'static str, u64>,
}

/// What Redis says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedisStats {
    /// `Redis` or `Valkey`.
    server: &'static str,
    version: String,
    uptime_seconds: u64,
    memory: Memory,
    clients: Clients,
    commands: Commands,
    keyspace: Keyspace,
}

/// Its memory.
#[derive(Debug, Serialize, ToSchema)]
pub struct Memory {
    used_bytes: u64,
    peak_bytes: u64,
    /// What it may use; 0 for as much as there is.
    max_bytes: u64,
    /// What it does when that is full.
    policy: String,
}

/// Those who are connected to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Clients {
    connected: u64,
    blocked: u64,
    max: u64,
}

/// What it was asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Commands {
    processed: u64,
    per_second: u64,
}

/// What it holds, of whomever.
#[derive(Debug, Serialize, ToSchema)]
pub struct Keyspace {
    keys: u64,
    with_ttl: u64,
    /// Look-ups of keys that were there, whatever the cache then made of them.
    hits: u64,
    misses: u64,
    expired: u64,
    evicted: u64,
}

/// The cache in numbers
///
/// Hits, misses and refusals are those of the process that answers, since it began.
#[utoipa::path(
    get,
    path = "/cache/stats",
    tag = "management",
    responses((status = 200, description = "The numbers. Where Redis is away, those of this process.", body = Stats), OfManagement),
    security(("token" = []))
)]
pub async fn stats(State(manager): State<Arc<Manager>>, _: NoQuery) -> Result<Json<Stats>, Problem> {
    let process = Counted::of(&manager);
    Ok(Json(match seen(&manager).await {
        Ok((redis, cache)) => Stats { process, redis: Some(redis), cache: Some(cache), unseen: Vec::new() },
        Err(error) => Stats { process, redis: None, cache: None, unseen: vec![in_full(&error)] },
    }))
}

async fn seen(manager: &Manager) -> Result<(RedisStats, Standing), LinkError> {
    let link = manager.services.links.get().ok_or(LinkError::Down(None))?;
    let info = Info::read(&link).await?;
    Ok((RedisStats::of(&info), Standing::read(&link, manager.stripes()).await?))
}

impl Counted {
    fn of(manager: &Manager) -> Self {
        let services = &manager.services;
        let tally: &Tally = &services.tally;
        Self {
            id: services.process.clone(),
            uptime_seconds: services.began.elapsed().as_secs(),
            all: tally.all(),
            product: tally.served(Kind::Product),
            page: tally.served(Kind::Page),
            categories: tally.served(Kind::Categories),
            refusals: tally.refusals().map(|(refusal, count)| (refusal.as_str(), count)).collect(),
        }
    }
}

impl RedisStats {
    fn of(info: &Info) -> Self {
        let text = |name| info.text(name).unwrap_or("unknown").to_owned();
        let (keys, with_ttl) =
            info.beginning("db").map(|(_, counts)| counted(counts)).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        Self {
            server: info.server(),
            version: info.version().to_owned(),
            uptime_seconds: info.number("uptime_in_seconds"),
            memory: Memory {
                used_bytes: info.number("used_memory"),
                peak_bytes: info.number("used_memory_peak"),
                max_bytes: info.number("maxmemory"),
                policy: text("maxmemory_policy"),
            },
            clients: Clients {
                connected: info.number("connected_clients"),
                blocked: info.number("blocked_clients"),
                max: info.number("maxclients"),
            },
            commands: Commands {
                processed: info.number("total_commands_processed"),
                per_second: info.number("instantaneous_ops_per_sec"),
            },
            keyspace: Keyspace {
                keys,
                with_ttl,
                hits: info.number("keyspace_hits"),
                misses: info.number("keyspace_misses"),
                expired: info.number("expired_keys"),
                evicted: info.number("evicted_keys"),
            },
        }
    }
}

/// The keys of a database, and those with a TTL: `keys=3,expires=1,avg_ttl=0`.
fn counted(counts: &str) -> (u64, u64) {
    let field = |name: &str| {
        let found = counts.split(',').find_map(|count| count.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    (field("keys"), field("expires"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_database_are_counted() {
        assert_eq!(counted("keys=30,expires=10,avg_ttl=5,subexpiry=0"), (30, 10));
        assert_eq!(counted("nonsense"), (0, 0));
    }
}
