//! Redis: whether it is one that the protocol can use, and has room.

use freshline::{
    coherence::Info,
    fault::{Classified, Kind},
};

use super::Finding;
use crate::{
    paint,
    servers::{Servers, Trouble},
};

/// Memory in use, of what may be used, from which on it is told.
const MEMORY_PERCENT_MAX: u64 = 90;

/// Looks at Redis.
///
/// # Errors
/// Where it cannot be asked.
pub async fn look(servers: &Servers) -> Result<Vec<Finding>, Trouble> {
    let link = match servers.redis().await {
        Ok(link) => link,
        // An answer, and one that can be mended.
        Err(Trouble::Redis { source, .. }) if source.kind() == Kind::Permanent => {
            let remedy = source.remedy().unwrap_or_default();
            return Ok(vec![Finding::problem("server", freshline::telemetry::chain(&source), remedy)]);
        }
        Err(trouble) => return Err(trouble),
    };
    let info = Info::read(&link).await.map_err(|source| servers.no_redis(source))?;
    Ok(vec![
        server(&format!("{} {}", info.server(), info.version()), info.text("role").unwrap_or("master")),
        eviction(info.text("maxmemory_policy").unwrap_or("unknown")),
        memory(info.number("used_memory"), info.number("maxmemory")),
    ])
}

fn server(version: &str, role: &str) -> Finding {
    if role == "master" {
        return Finding::ok("server", version);
    }
    let says = format!("{version} is a replica: it takes no writes, and its run is not the master's");
    Finding::problem("server", says, "name the master in FRESHLINE_REDIS_URL")
}

fn eviction(policy: &str) -> Finding {
    if !policy.starts_with("allkeys-") {
        return Finding::ok("eviction", format!("maxmemory-policy is {policy}: keys without a TTL stay"));
    }
    Finding::problem(
        "eviction",
        format!("maxmemory-policy is {policy}: it may evict the control record, which empties the cache"),
        "config set maxmemory-policy volatile-lru, and write it into redis.conf",
    )
}

fn memory(used: u64, max: u64) -> Finding {
    let told = |count: u64| paint::bytes(i64::try_from(count).unwrap_or(i64::MAX));
    if max == 0 {
        let says = format!("{} in use, and maxmemory is 0: nothing bounds it but the machine", told(used));
        return Finding::note("memory", says, "config set maxmemory to what the machine can spare");
    }
    let says = format!("{} of {} in use", told(used), told(max));
    if used.saturating_mul(100) < max.saturating_mul(MEMORY_PERCENT_MAX) {
        return Finding::ok("memory", says);
    }
    Finding::problem(
        "memory",
        format!("{says}: fills are refused when it is full"),
        "raise maxmemory, or lower FRESHLINE_VALUE_TTL_MS",
    )
}
