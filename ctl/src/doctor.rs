//! `doctor`: every precondition of every part, each finding with its remedy. It mends nothing.
//!
//! A part is a function that answers with what it found. A broker has parts of its own, where one is configured.

mod cache;
mod clocks;
mod connect;
mod kafka;
mod nats;
mod postgres;
mod redis;
mod roles;

use freshline::broker::SourceConfig;
use serde::Serialize;

use crate::{
    FINDINGS, UNSEEN,
    options::Doctor as Options,
    paint::{self, Paint},
    servers::{Servers, Trouble},
};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// It is as it should be.
    Ok,
    /// Nothing is broken by it; it is worth knowing.
    Note,
    /// To be mended.
    Problem,
    /// It could not be looked at.
    Unseen,
}

/// What one check found.
#[derive(Debug, Serialize)]
pub struct Finding {
    check: &'static str,
    level: Level,
    says: String,
    /// The statement or setting that mends it.
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, says: says.into(), remedy: None }
    }

    fn note(check: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Note, says: says.into(), remedy: Some(remedy.into()) }
    }

    fn problem(check: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Problem, says: says.into(), remedy: Some(remedy.into()) }
    }
}

/// What one part came to.
#[derive(Debug, Serialize)]
struct Part {
    part: &'static str,
    findings: Vec<Finding>,
}

impl Part {
    fn new(part: &'static str, looked: Result<Vec<Finding>, Trouble>) -> Self {
        use freshline::{fault::Classified, telemetry::chain};
        let unseen = |trouble: Trouble| Finding {
            check: "reachable",
            level: Level::Unseen,
            says: chain(&trouble),
            remedy: trouble.remedy(),
        };
        Self { part, findings: looked.unwrap_or_else(|trouble| vec![unseen(trouble)]) }
    }
}

/// Looks at everything and tells it. 0: nothing to mend; 1: something; 2: not all could be looked at.
///
/// # Errors
/// Where the output cannot be written.
pub async fn run(servers: &Servers, options: &Options) -> Result<u8, Trouble> {
    let mut parts = vec![Part::new("postgres", postgres::look(servers).await), Part::new("roles", roles::look(servers).await)];
    parts.extend(broker(servers).await);
    parts.extend([
        Part::new("redis", redis::look(servers).await),
        Part::new("cache", cache::look(servers).await),
        Part::new("clocks", clocks::look(servers).await),
    ]);
    paint::put(&if options.json { serde_json::to_string_pretty(&parts)? + "\n" } else { shown(&parts) })?;
    Ok(match () {
        () if count(&parts, Level::Unseen) > 0 => UNSEEN,
        () if count(&parts, Level::Problem) > 0 => FINDINGS,
        () => 0,
    })
}

/// What stands between Postgres and the invalidator, if anything does.
async fn broker(servers: &Servers) -> Vec<Part> {
    match &servers.config.source {
        SourceConfig::Postgres => Vec::new(),
        SourceConfig::Nats { settings, consumer } => vec![Part::new("nats", nats::look(settings, consumer).await)],
        SourceConfig::Kafka(config) => {
            let mut parts = vec![Part::new("kafka", kafka::look(config).await)];
            if let Some(url) = &servers.config.connect_url {
                parts.push(Part::new("connect", connect::look(url, config).await));
            }
            parts
        }
    }
}

fn count(parts: &[Part], level: Level) -> usize {
    parts.iter().flat_map(|part| &part.findings).filter(|finding| finding.level == level).count()
}

fn shown(parts: &[Part]) -> String {
    let paint = Paint::of_output();
    let mut text = String::new();
    for part in parts {
        text += &format!("{}\n", paint.head(part.part));
        for Finding { check, level, says, remedy } in &part.findings {
            let word = match level {
                Level::Ok => paint.good("ok      "),
                Level::Note => paint.note("note    "),
                Level::Problem => paint.bad("problem "),
                Level::Unseen => paint.bad("unseen  "),
            };
            text += &format!("  {word} {check:<13} {}\n", says.replace('\n', "\n                         "));
            if let Some(remedy) = remedy {
                text += &format!("           {:<13} {}\n", paint.dim("remedy:"), remedy);
            }
        }
    }
    let counts = [(Level::Problem, "to mend"), (Level::Note, "worth knowing"), (Level::Unseen, "not to be seen")];
    let counts: Vec<String> = counts.iter().map(|(level, what)| format!("{} {what}", count(parts, *level))).collect();
    text + &format!("{}\n", counts.join(", "))
}
