//! `test`: everything that has to hold before a change is taken.

mod binaries;

use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;
use crate::docs::Docs;
use crate::tidy::Tidy;

/// The variables that carry the seed: to tests that ask `stage::seed`, to proptest and to bolero.
const SEED_VARIABLES: [&str; 3] = [stage::SEED_VARIABLE, "PROPTEST_RNG_SEED", "BOLERO_RANDOM_SEED"];

/// What is run, in this order: first what fails fastest.
const STEPS: [&[&str]; 8] = [
    &["fmt", "--all", "--check"],
    &["xtask", "tidy"],
    &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"],
    &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"],
    &["build", "--workspace", "--locked", "--quiet"],
    &["xtask", "docs"],
    &["test", "--workspace"],
    &["test", "--workspace", "--doc", "--locked", "--quiet"],
];

/// What the tests have in their names that need a broker, Prometheus, Schemathesis, a browser, or what checks containers. They are left out, and that is said,
/// where neither the machine nor its package registries have it; a test of the product itself never depends on that.
const WITH_BROKERS: [&str; 2] = ["nats", "kafka"];
const WITH_PROMETHEUS: [&str; 1] = ["prometheus"];
const WITH_CONTAINER_TOOLS: [&str; 3] = ["compose", "hadolint", "caddy"];
const WITH_SCHEMATHESIS: [&str; 1] = ["schemathesis"];
const WITH_BROWSER: [&str; 1] = ["in_a_browser"];

/// Check formatting, lints and house rules, then run all tests on servers of their own
#[derive(Debug, Clone, clap::Args)]
pub struct Test {
    /// Run generated tests with this seed, as printed by a run that failed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Fail where NATS, Kafka, Prometheus, Schemathesis, a browser, Compose, hadolint or Caddy cannot be had, instead of leaving out the tests that need them
    #[arg(long)]
    require_all: bool,
    /// Run only the tests whose names contain this
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Test {
    /// Runs each step, and ends with the first that fails.
    pub fn run(self) -> Result<ExitCode> {
        let seed = self.seed.unwrap_or_else(stage::new_seed);
        println!("seed {seed}: `cargo xtask test --seed {seed}` runs the generated tests like this again");
        let begun = Instant::now();
        stage::servers::ensure_build_tools()?;
        stage::servers::ensure()?;
        let wanted = [
            ("NATS or Kafka", &WITH_BROKERS[..], stage::servers::ensure_brokers()),
            ("Prometheus", &WITH_PROMETHEUS[..], stage::servers::ensure_prometheus()),
            ("Compose, hadolint or Caddy", &WITH_CONTAINER_TOOLS[..], stage::servers::ensure_container_tools()),
            ("Schemathesis", &WITH_SCHEMATHESIS[..], stage::servers::ensure_schemathesis()),
            ("a browser", &WITH_BROWSER[..], stage::servers::ensure_browser()),
        ];
        let missing: Vec<_> = wanted.into_iter().filter_map(|(what, tests, had)| Some((what, tests, had.err()?))).collect();
        if let (Some((what, _, why)), true) = (missing.first(), self.require_all) {
            bail!("{what} cannot be had: {why:#}");
        }
        let left_out: Vec<&str> = missing.iter().flat_map(|(_, tests, _)| tests.iter().copied()).collect();
        for step in STEPS {
            let line = format!("cargo {}", step.join(" "));
            println!("== {line}");
            let step_begun = Instant::now();
            if !self.step(step, seed, &left_out)? {
                println!("== FAILED after {}: {line}", seconds(step_begun.elapsed()));
                return Ok(ExitCode::FAILURE);
            }
            println!("== {} took {}", step[0], seconds(step_begun.elapsed()));
        }
        for (what, _, why) in missing {
            println!("== NOT RUN: what needs {what}, because it cannot be had here: {why:#}");
        }
        println!("== all of it took {}", seconds(begun.elapsed()));
        Ok(ExitCode::SUCCESS)
    }

    /// Whether the step succeeded. Tests with one of these words in their names are left out.
    fn step(&self, step: &[&str], seed: u64, left_out: &[&str]) -> Result<bool> {
        match step[0] {
            "xtask" if step[1] == "docs" => return Ok(Docs { check: true }.run()? == ExitCode::SUCCESS),
            "xtask" => return Ok(Tidy {}.run()? == ExitCode::SUCCESS),
            "deny" if !cargo().args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() => {
                println!("skipped: `cargo install --locked cargo-deny` installs it");
                return Ok(true);
            }
            _ => {}
        }
        let seeds = SEED_VARIABLES.map(|name| (name, seed.to_string()));
        let skips = left_out.iter().flat_map(|name| ["--skip", name]);
        if step == ["test", "--workspace"] {
            let Some(binaries) = binaries::build()? else { return Ok(false) };
            return binaries::run(binaries, |command| {
                command.arg("--quiet").args(&self.name).args(skips.clone()).envs(seeds.clone());
            });
        }
        let mut command = cargo();
        command.args(step).envs(seeds);
        if step[0] == "test" {
            command.args(&self.name).arg("--").args(skips);
        }
        Ok(command.status().with_context(|| format!("running cargo {}", step.join(" ")))?.success())
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
