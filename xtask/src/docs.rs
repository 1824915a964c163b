//! `docs`: the pages that are made from the code: settings, `.env.example`, metrics.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use freshline::telemetry::{ALL, MetricKind, PROCESS};

use crate::{cargo::cargo, checkout::root};

/// The processes, and what is said of each before its settings.
const PROCESSES: [(&str, &str); 6] = [
    ("freshline-api", "Answers HTTP. Logs in to Postgres as `freshline_api`."),
    ("freshline-invalidator", "Applies changes. Logs in to Postgres as `freshline_invalidator`, which may replicate."),
    (
        "freshline-relay",
        "Publishes changes to NATS JetStream or Kafka. Logs in to Postgres as `freshline_invalidator`, which may replicate.",
    ),
    ("freshline-warmer", "Fills keys. Logs in to Postgres as `freshline_warmer`. What to warm is said by options: see `--help`."),
    (
        "freshline",
        "The control command: looks at the processes above. Logs in as whoever runs it: the owner of the tables sees all.",
    ),
    (DEMO, "Changes rows by plain SQL and holds commits, to be looked at: never in production. Logs in as a superuser."),
];

/// `cargo xtask up` starts it and says all that it has to be told, so it is not in the example: whoever copies that runs a shop.
const DEMO: &str = "freshline-demo";

/// Write docs/settings.md, .env.example and docs/metrics.md from the code; with --check only say whether they are as the code says
#[derive(Debug, Clone, clap::Args)]
pub struct Docs {
    /// Change nothing, and fail if a page is not as the code says
    #[arg(long)]
    pub check: bool,
}

impl Docs {
    /// Builds the programs and asks them.
    pub fn run(self) -> Result<ExitCode> {
        let built = cargo().args(["build", "--workspace", "--quiet"]).status();
        if !built.context("running cargo build")?.success() {
            bail!("the programs cannot be built");
        }
        let mut is_stale = false;
        for (path, text) in [("docs/settings.md", settings()?), (".env.example", env_example()?), ("docs/metrics.md", metrics()?)] {
            is_stale |= self.page(&root().join(path), &text)?;
        }
        Ok(if is_stale { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Writes a page, or answers whether it is stale.
    fn page(&self, path: &Path, text: &str) -> Result<bool> {
        if !self.check {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
            return Ok(false);
        }
        let is_stale = fs::read_to_string(path).ok().as_deref() != Some(text);
        if is_stale {
            println!("{} is not as the code says: run `cargo xtask docs`", path.display());
        }
        Ok(is_stale)
    }
}

fn settings() -> Result<String> {
    let mut page = String::from(
        "# Settings\n\nMade from the code by `cargo xtask docs`. Every process reads `FRESHLINE_…` variables and nothing else; all faults \
         are told\nat once, each with the variable, its value and the remedy. A misspelt variable is refused.\n",
    );
    for (name, what) in PROCESSES {
        write!(page, "\n## {name}\n\n{what}\n\n{}", listed(name, "table")?)?;
    }
    Ok(page)
}

fn env_example() -> Result<String> {
    let mut page = String::from("# Made from the code by `cargo xtask docs`. What is commented out is the default.\n");
    for (name, what) in PROCESSES.into_iter().filter(|(name, _)| *name != DEMO) {
        writeln!(page, "\n# ---- {name}: {what}\n\n{}", listed(name, "env")?.trim_end())?;
    }
    Ok(page)
}

/// What a program says of its settings.
fn listed(name: &str, form: &str) -> Result<String> {
    let program = stage::workspace_binary(name)?;
    let told = Command::new(&program)
        .args([if name == "freshline" { "settings" } else { "--settings" }, form])
        .output()
        .with_context(|| format!("running {name}"))?;
    if !told.status.success() {
        bail!("{name} did not tell its settings as {form}: {}", String::from_utf8_lossy(&told.stderr));
    }
    Ok(String::from_utf8(told.stdout)?)
}

fn metrics() -> Result<String> {
    let mut page = String::from(
        "# Metrics\n\nMade from the code by `cargo xtask docs`. Each process answers `/metrics` in Prometheus's text format, on its own \
         address; the warmer while a run lasts, where `FRESHLINE_WARMER_ADDRESS` says.\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in ALL.iter().chain(&PROCESS) {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(page, "| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.meaning)?;
    }
    Ok(page)
}
