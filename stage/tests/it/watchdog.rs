//! Nothing outlives a test process, not even one that is killed with -9.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stage::servers::{Home, Postgres, PostgresOptions, Redis, RedisOptions};
use stage::{Launch, Process, until};

/// Set in the process that plays a test run: it starts servers, says so, and waits to be killed.
const PLAYS_A_TEST_RUN: &str = "STAGE_PLAYS_A_TEST_RUN";

#[tokio::test]
async fn servers_and_their_directories_are_gone_when_the_test_process_is_killed() {
    if std::env::var_os(PLAYS_A_TEST_RUN).is_some() {
        return play_a_test_run().await;
    }
    let own = std::env::current_exe().expect("our own program");
    let test = "watchdog::servers_and_their_directories_are_gone_when_the_test_process_is_killed";
    let launch = Launch::new("test run", own).variable(PLAYS_A_TEST_RUN, "1");
    let mut run = Process::start(launch.argument(test).argument("--exact").argument("--nocapture")).expect("it starts");
    let started = run.line("started ").await;
    let (pids, homes) = parse(&started);
    assert!(pids.iter().all(|pid| is_alive(*pid)) && homes.iter().all(|home| home.exists()), "{started}");
    run.kill().await.expect("the test run is killed");
    until("the servers are gone", async || !pids.iter().any(|pid| is_alive(*pid))).await;
    until("their directories are gone", async || !homes.iter().any(|home| home.exists())).await;
}

async fn play_a_test_run() {
    let home = || Home::scratch().expect("a scratch directory");
    let postgres = Postgres::start(home(), PostgresOptions::default()).await.expect("Postgres starts");
    let redis = Redis::start(home(), RedisOptions::default()).await.expect("Redis starts");
    let program =
        Process::start(Launch::new("child", "/bin/sh").argument("-c").argument("while :; do sleep 1; done")).expect("it starts");
    let pids = [postgres.pid().await.expect("it runs"), redis.pid().await.expect("it runs"), program.pid()];
    let homes = [postgres.home().path(), redis.home().path()].map(Path::display);
    println!("started {} {} {} {} {}", pids[0], pids[1], pids[2], homes[0], homes[1]);
    tokio::time::timeout(Duration::from_secs(120), std::future::pending::<()>()).await.expect_err("nobody killed us");
}

fn parse(line: &str) -> (Vec<u32>, Vec<PathBuf>) {
    let words: Vec<&str> = line.rsplit_once("started ").expect("the line of the test run").1.split(' ').collect();
    let (pids, homes) = words.split_at(3);
    (pids.iter().map(|pid| pid.parse().expect("a pid")).collect(), homes.iter().map(PathBuf::from).collect())
}

/// A zombie that nobody has reaped yet is not alive.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']) && !rest.is_empty())
}
