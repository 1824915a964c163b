//! Programs run as processes.

use std::time::Duration;

use stage::{Launch, Process, until};

/// Says who it is, and ends with 7 when asked to stop.
const POLITE: &str =
    "trap 'echo stopping; exit 7' TERM; echo \"hello $FRESHLINE_NAME\"; while :; do read -r line || sleep 0.05; done";

fn shell(script: &str) -> Launch {
    Launch::new("shell", "/bin/sh").argument("-c").argument(script)
}

#[tokio::test]
async fn a_process_is_heard_asked_to_stop_and_awaited() {
    let mut process = Process::start(shell(POLITE).variable("FRESHLINE_NAME", "world")).expect("it starts");
    assert_eq!(process.line("hello").await, "hello world");
    process.terminate().expect("it is asked to stop");
    let status = process.wait(Duration::from_secs(10)).await.expect("it stops");
    assert_eq!(status.code(), Some(7));
    assert_eq!(process.lines(), ["hello world", "stopping"]);
}

#[tokio::test]
async fn a_killed_process_is_started_again_with_the_same_settings() {
    let mut process = Process::start(shell(POLITE).variable("FRESHLINE_NAME", "again")).expect("it starts");
    process.line("hello").await;
    let pid = process.pid();
    process.restart().await.expect("it starts again");
    assert_ne!(process.pid(), pid);
    until("it says hello a second time", async || process.lines() == ["hello again", "hello again"]).await;
}

#[tokio::test]
async fn waiting_for_a_process_that_stays_ends_with_its_log() {
    let mut process = Process::start(shell(POLITE)).expect("it starts");
    process.line("hello").await;
    let error = process.wait(Duration::from_millis(50)).await.expect_err("it stays");
    assert!(error.to_string().contains("still running") && error.to_string().contains("hello"), "{error}");
}

#[tokio::test]
async fn a_dropped_process_is_gone() {
    let process = Process::start(shell(POLITE)).expect("it starts");
    let pid = process.pid();
    drop(process);
    assert!(!std::fs::exists(format!("/proc/{pid}")).expect("a look at /proc"), "{pid} still runs");
}

#[tokio::test]
async fn what_a_killed_process_has_started_goes_with_it() {
    let mut process = Process::start(shell("sleep 1000 & echo \"child $!\"; wait")).expect("it starts");
    let line = process.line("child ").await;
    let child = line.strip_prefix("child ").expect("a pid");
    process.kill().await.expect("it is killed");
    // Nobody may be there to reap it.
    let is_over = async || std::fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z "));
    until("its child is gone too", is_over).await;
}

#[tokio::test]
async fn a_process_that_is_to_end_in_order_is_asked_before_it_is_killed() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let note = scratch.path().join("note");
    let script = format!("trap 'echo done > {}; exit' TERM; echo ready; while :; do sleep 0.05; done", note.display());
    let mut process = Process::start(shell(&script).ended_in_order()).expect("it starts");
    process.line("ready").await;
    drop(process);
    assert_eq!(std::fs::read_to_string(note).expect("its last note"), "done\n");
}

#[tokio::test]
async fn our_variables_are_not_inherited_but_others_are() {
    let mut process = Process::start(shell("echo \"path ${PATH:+set} url ${FRESHLINE_REDIS_URL-unset}\"")).expect("it starts");
    assert_eq!(process.line("path").await, "path set url unset");
}

#[test]
fn a_program_that_was_not_built_is_an_error_that_says_how_to_build_it() {
    let error = stage::workspace_binary("no-such-program").expect_err("it is not there");
    assert!(error.to_string().contains("cargo build --workspace"), "{error}");
}
