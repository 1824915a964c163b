//! `status`: where the cache stands, for people and for programs. What is away is told, and the rest is shown.

mod broker;
mod figures;

use std::time::Duration;

use freshline::{
    coherence::{Lsn, RedisTime, Source, Standing},
    registry::{self, Process, Role},
    replication::{HeldBack, held_back},
    shutdown,
};
use serde::Serialize;

use crate::{
    UNSEEN,
    broker::{self as brokers, Broker},
    options::Status as Options,
    paint::{self, Paint},
    servers::{Servers, Trouble},
};

/// How often `--watch` looks again.
const AGAIN_EVERY: Duration = Duration::from_secs(2);

/// Where the cache stands.
#[derive(Debug, Default, Serialize)]
struct Status {
    /// Where changes come from: `postgres`, `nats` or `kafka`; none where no invalidator runs.
    source: Option<String>,
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    cache: Option<Standing>,
    /// Log written by Postgres and not yet applied.
    lag_bytes: Option<u64>,
    /// The broker, where one stands between Postgres and the invalidator.
    broker: Option<Broker>,
    /// What freshness rests on where no position proves it, and what to change.
    freshness_by_age: Option<[&'static str; 2]>,
    /// Every slot of the server.
    slots: Vec<HeldBack>,
    /// What could not be looked at, and why.
    unseen: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Postgres {
    /// Its history: system identifier, timeline, start of the checkpointer; none where it does not tell.
    history: Option<String>,
    /// The end of its log.
    insert: String,
    #[serde(skip)]
    insert_at: Lsn,
}

#[derive(Debug, Serialize)]
struct Redis {
    run: String,
    processes: Vec<Process>,
    #[serde(skip)]
    now: RedisTime,
}

/// Shows it once, or again and again.
///
/// # Errors
/// Where the output cannot be written.
pub async fn run(servers: &Servers, options: &Options) -> Result<u8, Trouble> {
    loop {
        let status = look(servers).await;
        let text = match (options.json, options.watch) {
            (true, true) => serde_json::to_string(&status)? + "\n",
            (true, false) => serde_json::to_string_pretty(&status)? + "\n",
            (false, watched) => (if watched { Paint::of_output().clear() } else { "" }).to_owned() + &shown(&status, servers),
        };
        paint::put(&text)?;
        if !options.watch {
            return Ok(if status.unseen.is_empty() { 0 } else { UNSEEN });
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN_EVERY) => {}
            () = shutdown::requested() => return Ok(0),
        }
    }
}

async fn look(servers: &Servers) -> Status {
    let (mut status, postgres, redis) = (Status::default(), look_at_postgres(servers).await, look_at_redis(servers).await);
    match postgres {
        Ok((postgres, slots)) => (status.postgres, status.slots) = (Some(postgres), slots),
        Err(trouble) => status.unseen.push(trouble.told()),
    }
    match redis {
        Ok((redis, cache)) => {
            let invalidator = redis.processes.iter().find(|process| process.role == Role::Invalidator);
            status.source = invalidator.and_then(|process| process.source.clone());
            (status.redis, status.cache) = (Some(redis), Some(cache));
        }
        Err(trouble) => status.unseen.push(trouble.told()),
    }
    match brokers::look(&servers.config).await {
        Ok(broker) => status.broker = broker,
        Err(untold) => status.unseen.push(Trouble::from(untold).told()),
    }
    let is_proven = status.cache.as_ref().is_none_or(|cache| !cache.is_open() || cache.freshness_us.is_some());
    let unproven = status.broker.as_ref().and_then(|broker| broker::unproven(broker, is_proven));
    status.freshness_by_age = unproven.map(|(says, remedy)| [says, remedy]);
    let insert = status.postgres.as_ref().map(|postgres| postgres.insert_at);
    let position = status.cache.as_ref().and_then(|cache| cache.position_at);
    status.lag_bytes = insert.zip(position).map(|(insert, position)| insert.get().saturating_sub(position.get()));
    status
}

async fn look_at_postgres(servers: &Servers) -> Result<(Postgres, Vec<HeldBack>), Trouble> {
    let mut connection = servers.postgres().await?;
    let insert = "select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end)::text";
    let insert: String = servers.asked(sqlx::query_scalar(insert).fetch_one(&mut connection)).await?;
    // A database without our migrations has no history to tell, and everything else.
    let history =
        sqlx::query_scalar::<_, Option<String>>("select freshline.source()").fetch_one(&mut connection).await.ok().flatten();
    let slots = servers.asked(held_back(&mut connection)).await?;
    Ok((Postgres { history, insert_at: insert.parse().unwrap_or(Lsn::ZERO), insert }, slots))
}

async fn look_at_redis(servers: &Servers) -> Result<(Redis, Standing), Trouble> {
    let link = servers.redis().await?;
    let cache = Standing::read(&link, servers.stripes()).await.map_err(|source| servers.no_redis(source))?;
    let processes = registry::processes(&link, servers.stripes()).await.map_err(|source| servers.no_redis(source))?;
    Ok((Redis { run: link.run().to_string(), processes, now: link.now() }, cache))
}

fn shown(status: &Status, servers: &Servers) -> String {
    let paint = Paint::of_output();
    let mut text: String = status.unseen.iter().map(|unseen| format!("{}\n", paint.bad(unseen))).collect();
    text += &paint::columns(&facts(status, servers, paint), "");
    if let Some(redis) = &status.redis {
        text += &format!("{}\n", paint.head("processes"));
        text += &if redis.processes.is_empty() { "  none is registered\n".to_owned() } else { processes(redis) };
    }
    text += &status.broker.as_ref().map(|broker| broker::shown(broker, paint)).unwrap_or_default();
    if status.postgres.is_some() {
        text += &format!("{}\n", paint.head("slots"));
        text += &if status.slots.is_empty() { "  none\n".to_owned() } else { paint::columns(&slots(&status.slots), "  ") };
    }
    text
}

fn facts(status: &Status, servers: &Servers, paint: Paint) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![format!("{name:<11}"), value]);
    let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    row("source", or_dash(&status.source));
    if let Some(cache) = &status.cache {
        let told = format!("{} of {} stripes are open", cache.open, cache.stripes);
        row("cache", if cache.is_open() { paint.good(&told) } else { paint.bad(&told) });
        row("generation", or_dash(&cache.generation) + if cache.stripes > 1 { " (first stripe)" } else { "" });
        row("history", history(cache, status.postgres.as_ref(), paint));
        row("position", or_dash(&cache.position));
        let lag = status.lag_bytes.map(|lag| paint::bytes(i64::try_from(lag).unwrap_or(i64::MAX)));
        row("lag", lag.map_or_else(|| "-".to_owned(), |lag| format!("{lag} of log not yet applied")));
        match status.freshness_by_age {
            Some([says, remedy]) => row("freshness", paint.note(&format!("{says}; remedy: {remedy}"))),
            None => row("freshness", freshness(cache, servers, paint)),
        }
        row("fences", format!("{} dependencies wait for transactions to be visible", cache.fenced));
    }
    rows
}

fn history(cache: &Standing, postgres: Option<&Postgres>, paint: Paint) -> String {
    let told = cache.history.clone().unwrap_or_else(|| "-".to_owned());
    let its = postgres.and_then(|postgres| postgres.history.as_ref());
    match (its, told.parse::<Source>()) {
        (Some(its), Ok(_)) if *its != told => paint.bad(&format!("{told}, and Postgres is in {its}")),
        _ => told,
    }
}

fn freshness(cache: &Standing, servers: &Servers, paint: Paint) -> String {
    let bound = servers.config.max_staleness;
    match cache.freshness_us {
        None => paint.bad("cannot be said"),
        Some(age) => {
            let told = format!("nothing older than {} is missing (bound {} ms)", paint::micros(age), bound.as_millis());
            if Duration::from_micros(age) <= bound { paint.good(&told) } else { paint.bad(&told) }
        }
    }
}

fn processes(redis: &Redis) -> String {
    let mut rows =
        vec![["role", "host", "pid", "address", "admin", "up", "version", "ready", "figures"].map(str::to_owned).to_vec()];
    let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    rows.extend(redis.processes.iter().map(|process| {
        let up_ms = (redis.now.as_micros() / 1000).saturating_sub(process.started_ms);
        vec![
            process.role.to_string(),
            process.host.clone(),
            process.pid.to_string(),
            dash(&process.address),
            dash(&process.admin_address),
            paint::micros(up_ms.saturating_mul(1000)),
            process.version.clone(),
            figures::ready(process).to_owned(),
            figures::told(process),
        ]
    }));
    paint::columns(&rows, "  ")
}

fn slots(slots: &[HeldBack]) -> Vec<Vec<String>> {
    let mut rows = vec![["slot", "read by", "holds back", "unacknowledged", "log"].map(str::to_owned).to_vec()];
    rows.extend(slots.iter().map(|slot| {
        vec![
            slot.slot.clone(),
            slot.active_pid.map_or_else(|| "nobody".to_owned(), |pid| format!("process {pid}")),
            paint::bytes(slot.retained_bytes),
            slot.unacknowledged_bytes.map_or_else(|| "-".to_owned(), paint::bytes),
            slot.wal_status.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }));
    rows
}
