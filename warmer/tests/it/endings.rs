//! How a run ends before its time, and how fast it may go.

use std::time::{Duration, Instant};

use crate::rig::{Rig, end};

/// How many values are cached.
async fn cached(rig: &Rig) -> usize {
    let pattern = format!("{{{}.*v:*", rig.stage.name());
    rig.stage.redis().run::<Vec<String>>(&["KEYS", &pattern]).await.expect("Redis answers").len()
}

#[tokio::test]
async fn a_run_that_is_asked_to_end_finishes_its_chunks_and_tells_what_was_done() {
    let rig = Rig::open().await;
    let ids = rig.products(5000).await;
    let mut run = rig.start(&["--all", "--rate", "100", "--chunk", "5"]);
    rig.stage.until("some are warm", async || cached(&rig).await >= 10).await;
    run.terminate().expect("told");
    let run = end(run).await;
    run.assert_code(1);
    let (filled, not_offered) = (run.counts["filled"], run.counts["not-offered"]);
    assert!((10..5000).contains(&filled), "{run:?}");
    assert_eq!(run.counts["ids"], filled + not_offered, "{run:?}");
    run.assert_said("it was asked to");
    assert_eq!(rig.assert_true(&ids).await, filled, "the summary is exact");
}

#[tokio::test]
async fn a_run_that_waits_for_input_can_be_ended() {
    let rig = Rig::open().await;
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_freshline-warmer"))
        .args(["--ids-file", "-"])
        .envs([
            ("FRESHLINE_DATABASE_URL", rig.stage.database_url(stage::Login::Warmer)),
            ("FRESHLINE_REDIS_URL", rig.stage.redis_url(stage::Login::Warmer)),
            ("FRESHLINE_NAMESPACE", rig.stage.name().to_owned()),
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the warmer starts");
    let is_there = "select count(*) > 0 from pg_stat_activity where datname = current_database() and usename = 'freshline_warmer'";
    rig.stage.until("it has begun", async || rig.stage.value::<bool>(is_there).await).await;
    let pid = i32::try_from(child.id().expect("it runs")).expect("small");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).expect("told");
    let input = child.stdin.take(); // waiting would close it, and the run then ends because it has all its ids
    let status = tokio::time::timeout(stage::WAIT_MAX, child.wait()).await.expect("it ends").expect("it ended");
    assert_eq!(status.code(), Some(1));
    drop(input);
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_nothing_wrong_and_the_next_one_finishes_its_work() {
    let rig = Rig::open().await;
    let ids = rig.products(3000).await;
    let mut run = rig.start(&["--all", "--chunk", "7"]);
    rig.stage.until("some are warm", async || cached(&rig).await >= 50).await;
    run.kill().await.expect("killed");
    assert!(rig.assert_true(&ids).await >= 50);
    let next = rig.warm(&["--all"]).await;
    next.assert_code(0);
    assert_eq!(next.counts["filled"] + next.counts["already-there"], 3000, "{next:?}");
    assert_eq!(rig.assert_true(&ids).await, 3000);
}

#[tokio::test]
async fn a_rate_is_never_exceeded() {
    let rig = Rig::open().await;
    rig.products(150).await;
    let begun = Instant::now();
    let run = rig.warm(&["--all", "--rate", "100", "--concurrency", "8"]).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 150), ("filled", 150)]);
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
}
