//! `status`: what is running, for people and for programs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::checkout::Where;
use crate::state::{Member, Source, State, Urls};
use crate::up::ready;

/// Show what is running, and where; ends with 1 if nothing is
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// As JSON: for each process its name, pid, addresses and log, the URLs of Postgres and Redis for each login, and the broker's
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

/// What `--json` prints.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Whether an `up` runs here.
    up: bool,
    /// Whether everything has been ready once.
    ready: bool,
    /// The pid of the `up`.
    supervisor_pid: Option<u32>,
    processes: Vec<Process>,
    postgres: Option<Urls>,
    redis: Option<Urls>,
    source: Option<Source>,
    broker: Option<String>,
}

#[derive(Debug, Serialize)]
struct Process {
    name: String,
    /// None while it does not run.
    pid: Option<u32>,
    address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
    log: PathBuf,
    /// What `/readyz` answers now; none where there is no such thing.
    ready: Option<bool>,
}

impl Status {
    /// Prints it.
    pub async fn run(self) -> Result<ExitCode> {
        let place = self.place.place()?;
        let state = if place.is_up()? { State::read(&place)? } else { None };
        let report = report(state).await;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print(&report);
        }
        Ok(if report.up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn report(state: Option<State>) -> Report {
    let Some(state) = state else {
        return Report::default();
    };
    let client = reqwest::Client::new();
    let processes = futures::future::join_all(state.processes.into_iter().map(|member| process(&client, member))).await;
    let State { supervisor, ready, postgres, redis, source, broker, .. } = state;
    Report { up: true, ready, supervisor_pid: Some(supervisor.pid), processes, postgres, redis, source, broker }
}

async fn process(client: &reqwest::Client, member: Member) -> Process {
    let ready = match member.admin_address {
        Some(address) => Some(ready::ask(client, address).await.is_ok()),
        None => None,
    };
    let pid = member.identity.filter(|identity| identity.is_alive()).map(|identity| identity.pid);
    Process { name: member.name, pid, address: member.address, admin_address: member.admin_address, log: member.log, ready }
}

fn print(report: &Report) {
    let Some(pid) = report.supervisor_pid else {
        return println!("Nothing is up. `cargo xtask up` starts it.");
    };
    println!("Up (pid {pid}){}", if report.ready { "" } else { ", still starting" });
    for process in &report.processes {
        let pid = process.pid.map_or("-".to_owned(), |pid| pid.to_string());
        let address = process.address.or(process.admin_address).map_or(String::new(), |address| address.to_string());
        let state = match (process.ready, process.pid) {
            (Some(true), _) => "ready",
            (Some(false), Some(_)) => "not ready",
            (None, Some(_)) => "running",
            (None, None) if process.address.is_none() => "finished", // the warm run listens nowhere
            (_, None) => "not running",
        };
        println!("  {:11} {pid:>8}  {state:11}  {address:21}  {}", process.name, process.log.display());
    }
    println!("`cargo xtask status --json` has the URLs of Postgres, Redis and the broker.");
}
