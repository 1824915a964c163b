//! The demonstration of docs/why-del-and-set-is-wrong.md, as a reader of it runs it: beside an `up`.

use std::process::Command;
use std::time::Duration;

use stage::servers::Home;
use stage::{Launch, Process, workspace_binary};

/// Everything is started well within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test]
async fn the_usual_way_is_seen_to_be_stale_on_the_terminal_and_freshline_is_not() {
    let scratch = Home::scratch().expect("a directory");
    let home = scratch.path().join("home").display().to_string();
    let programs = workspace_binary("freshline-demo").expect("built").parent().expect("a directory").display().to_string();
    let words = ["up", "--home", &home, "--programs", &programs, "--rows", "15"];
    let launch = words.into_iter().fold(Launch::new("up", env!("CARGO_BIN_EXE_xtask")).ended_in_order(), Launch::argument);
    let mut up = Process::start(launch).expect("up starts");
    up.line_within(PATIENCE, "the warm run is over").await;

    let words = ["usual-way", "--home", &home, "--rounds", "1", "--hold-ms", "1000", "--ttl-ms", "2000"];
    let ran = Command::new(env!("CARGO_BIN_EXE_xtask")).args(words).output().expect("it runs");
    let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{told}");
    let stale: Vec<&str> = told.lines().filter(|line| line.ends_with(": STALE")).collect();
    assert!(stale.len() == 1 && stale[0].contains("the usual way serves"), "{told}");
    let counted = |way: &str| -> Vec<String> {
        let row = told.lines().filter(|line| line.starts_with(way)).find_map(|row| row.strip_prefix(way)).expect("a row");
        row.split_whitespace().map(str::to_owned).collect()
    };
    let (usual, freshline) = (counted("the usual way  "), counted("Freshline      "));
    assert_eq!((&usual[0], freshline[1].as_str(), freshline[2].as_str()), (&freshline[0], "0", "-"), "{told}");
    assert!(usual[1].parse::<u64>().is_ok_and(|stale| stale > 0), "{told}");
    up.terminate().expect("it is told to stop");
    up.wait(PATIENCE).await.expect("it stops");
}
