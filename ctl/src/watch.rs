//! `watch`: what is done, as the trail tells it.

use std::time::Duration;

use freshline::{
    coherence::{LinkError, RedisTime},
    registry::{self, Role},
    shutdown,
    trail::{self, Effect, Filter, Record, Told},
};

use crate::{
    options::Watch as Options,
    paint::{self, Paint},
    servers::{ANSWER_WITHIN, Servers, Trouble},
};

/// How long one look waits for something to come.
const BLOCK: Duration = Duration::from_secs(2);

/// Shows what comes, until it is interrupted.
///
/// # Errors
/// Where Redis is away, the output cannot be written, or the table has no rules.
pub async fn run(servers: &Servers, options: &Options) -> Result<u8, Trouble> {
    let filter = match (&options.key, &options.table) {
        (Some(name), _) => Filter::Name(name.clone()),
        (None, Some(table)) => Filter::Table(servers.table(table)?.clone()),
        (None, None) => Filter::All,
    };
    tokio::select! {
        () = shutdown::requested() => Ok(0),
        ended = follow(servers, options, &filter) => ended.map(|()| 0),
    }
}

async fn follow(servers: &Servers, options: &Options, filter: &Filter) -> Result<(), Trouble> {
    let link = servers.redis_patient(BLOCK + ANSWER_WITHIN).await?;
    let away = |source: LinkError| servers.no_redis(source);
    let mut after = match options.history {
        true => "0".to_owned(),
        false => trail::last(&link, servers.stripes()).await.map_err(away)?,
    };
    let processes = registry::processes(&link, servers.stripes()).await.map_err(away)?;
    if !processes.iter().any(|process| process.role == Role::Invalidator) {
        eprintln!("no invalidator is registered: nothing will come until one runs");
    }
    eprintln!("watching; Ctrl-C ends it");
    let paint = Paint::of_output();
    loop {
        for told in trail::follow(&link, servers.stripes(), &after, BLOCK).await.map_err(away)? {
            if filter.takes(&servers.rules, &told.record) {
                paint::put(&line(&told, options.json, paint)?)?;
            }
            after = told.id;
        }
    }
}

fn line(told: &Told, is_json: bool, paint: Paint) -> Result<String, Trouble> {
    if is_json {
        return Ok(serde_json::to_string(told)? + "\n");
    }
    let Told { at_ms, record: Record { effect, name, xid, end, skipped, .. }, .. } = told;
    let skipped =
        if *skipped > 0 { paint.dim(&format!("… {skipped} more were done, and are not told\n")) } else { String::new() };
    let word = format!("{effect:<8}");
    let word = match effect {
        Effect::Removed | Effect::Replaced | Effect::Tag => word,
        Effect::Visible => paint.dim(&word),
        Effect::Open => paint.good(&word),
        Effect::Bump | Effect::Closed | Effect::Hole => paint.bad(&word),
    };
    let by = match (xid, end) {
        (Some(xid), Some(end)) => format!("  transaction {xid} to {end}"),
        (Some(xid), None) => format!("  transaction {xid}"),
        (None, _) => String::new(),
    };
    let name = if name.is_empty() { "everything" } else { name };
    Ok(format!("{skipped}{}  {word}  {name}{}\n", clock(*at_ms), paint.dim(&by)))
}

/// The time of day in UTC.
fn clock(at_ms: u64) -> String {
    let (seconds, millis) = (at_ms / 1000 % 86_400, at_ms % 1000);
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A time of Redis's clock in UTC, to the millisecond.
pub fn time_of_day(at: RedisTime) -> String {
    clock(at.as_micros() / 1000)
}
