//! The cache: whether it is open, of the right history, and fresh; and who works on it.

use freshline::{
    broker::SourceConfig,
    coherence::{Control, Link, controls},
    registry::{self, Process, Role},
};

use super::Finding;
use crate::{
    broker::kafka::ROUTED,
    paint,
    servers::{Servers, Trouble},
};

/// Looks at what lies in Redis.
///
/// # Errors
/// Where Redis cannot be asked.
pub async fn look(servers: &Servers) -> Result<Vec<Finding>, Trouble> {
    let link = servers.redis().await?;
    let controls = controls(&link, servers.stripes()).await.map_err(|source| servers.no_redis(source))?;
    let processes = registry::processes(&link, servers.stripes()).await.map_err(|source| servers.no_redis(source))?;
    let mut findings = vec![open(&controls, &link, &processes)];
    let open: Vec<&Control> = controls.iter().flatten().filter(|control| control.run == link.run()).collect();
    findings.extend(fresh(servers, &open, &link));
    findings.extend(history(servers, &open).await);
    findings.push(workers(&processes));
    findings.extend(other_source(servers.config.source.name(), &processes));
    Ok(findings)
}

fn open(controls: &[Option<Control>], link: &Link, processes: &[Process]) -> Finding {
    let closed = controls.iter().filter(|control| control.is_none()).count();
    let foreign = controls.iter().flatten().filter(|control| control.run != link.run()).count();
    let remedy = match processes.iter().find(|process| process.role == Role::Invalidator) {
        None => "start the invalidator, which opens it".to_owned(),
        Some(Process { host, admin_address: Some(address), .. }) => {
            format!("the invalidator on {host} says what it waits for: curl http://{address}/readyz?verbose")
        }
        Some(Process { host, pid, .. }) => format!("see what the invalidator on {host}, pid {pid}, logs"),
    };
    match (closed, foreign) {
        (0, 0) => Finding::ok("open", format!("all of {} stripes", controls.len())),
        (0, _) => Finding::problem("open", format!("{foreign} of {} stripes are of another Redis process", controls.len()), remedy),
        _ => Finding::problem("open", format!("{closed} of {} stripes are closed", controls.len()), remedy),
    }
}

fn fresh(servers: &Servers, open: &[&Control], link: &Link) -> Option<Finding> {
    let oldest = open.iter().map(|control| control.at).min()?;
    let (age, bound) = (oldest.age_at(link.now()), servers.config.max_staleness);
    let says = format!("nothing older than {} is missing", paint::micros(u64::try_from(age.as_micros()).unwrap_or(u64::MAX)));
    if age <= bound {
        return Some(Finding::ok("freshness", says));
    }
    let says = if oldest.as_micros() == 0 { "nothing is proven yet".to_owned() } else { says };
    let says = format!("{says}, beyond the bound of {} ms: values are served while they are younger than that", bound.as_millis());
    Some(match &servers.config.source {
        // It cannot be otherwise, and the layout has been told.
        SourceConfig::Kafka(kafka) if kafka.topics.len() > 1 => Finding::note("freshness", says, ROUTED),
        SourceConfig::Kafka(_) if oldest.as_micros() == 0 => {
            Finding::problem("freshness", format!("{says}; no marker has come back to every partition"), ROUTED)
        }
        _ => Finding::problem("freshness", says, "see why the invalidator does not keep up: its log, freshline status"),
    })
}

/// Whether the cache follows the Postgres that is asked here. Where Postgres is away, its own part says so.
async fn history(servers: &Servers, open: &[&Control]) -> Option<Finding> {
    let mut connection = servers.postgres().await.ok()?;
    let told: Option<String> =
        servers.asked(sqlx::query_scalar("select freshline.source()").fetch_one(&mut connection)).await.ok()?;
    let (told, first) = (told?, open.first()?);
    if open.iter().all(|control| control.source.to_string() == told) {
        return Some(Finding::ok("history", "the cache follows this Postgres"));
    }
    let says = format!("the cache follows {}, and this Postgres is in {told}", first.source);
    let remedy =
        "name the same primary in FRESHLINE_DATABASE_URL everywhere; after a crash or promotion the invalidator opens anew";
    Some(Finding::problem("history", says, remedy))
}

/// Whether the invalidator was told another source than this command.
fn other_source(ours: &str, processes: &[Process]) -> Option<Finding> {
    let theirs = processes.iter().filter_map(|process| process.source.as_deref()).find(|theirs| !theirs.starts_with(ours))?;
    let says = format!("FRESHLINE_SOURCE is {ours} here, and an invalidator reads from {theirs}");
    Some(Finding::problem("source", says, "give this command the same FRESHLINE_… variables as the invalidator"))
}

fn workers(processes: &[Process]) -> Finding {
    let count = |role: Role| processes.iter().filter(|process| process.role == role).count();
    if count(Role::Invalidator) == 0 {
        return Finding::problem("processes", "no invalidator is registered: changes are not applied", "start the invalidator");
    }
    let roles = [Role::Api, Role::Invalidator, Role::Relay, Role::Warmer];
    let told: Vec<String> =
        roles.into_iter().filter(|role| count(*role) > 0).map(|role| format!("{} × {role}", count(role))).collect();
    let mut versions: Vec<&str> = processes.iter().map(|process| process.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    match versions.as_slice() {
        [_] => Finding::ok("processes", told.join(", ")),
        _ => Finding::note(
            "processes",
            format!("{}, of versions {}", told.join(", "), versions.join(" and ")),
            "nothing, while they are being replaced; else start all of one version",
        ),
    }
}
