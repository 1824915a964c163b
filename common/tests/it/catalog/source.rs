//! `freshline.source()`, and what sessions make of it.

use freshline::cache::ReadProof;
use freshline::catalog::{Reads, read_pool};
use freshline::coherence::Source;
use stage::servers::Shutdown;
use stage::{Login, Stage};
use uuid::Uuid;

use super::{DEADLINE, options, session_options};

async fn source(stage: &Stage) -> Option<Source> {
    let text = stage.value::<Option<String>>("select freshline.source()").await?;
    Some(text.parse().expect("a system identifier, a timeline and a start"))
}

async fn proof(reads: &Reads) -> ReadProof {
    stage::until("a read", async || reads.product(Uuid::nil()).await.ok()).await;
    reads.product(Uuid::nil()).await.expect("a read").proof
}

fn reads(stage: &Stage) -> Reads {
    Reads::new(read_pool(options(stage, Login::Warmer), &session_options()), DEADLINE)
}

#[tokio::test]
async fn a_source_is_the_system_the_timeline_and_the_start_of_the_checkpointer() {
    let stage = Stage::new().await;
    let Source { system, timeline, started_us: start } = source(&stage).await.expect("a source");
    assert_eq!(i64::try_from(system).ok(), Some(stage.value::<i64>("select system_identifier from pg_control_system()").await));
    assert_eq!(timeline, 1);
    let now = stage.value::<i64>("select (extract(epoch from clock_timestamp()) * 1000000)::bigint").await;
    let postmaster = stage.value::<i64>("select (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint").await;
    assert!((postmaster.cast_unsigned()..now.cast_unsigned()).contains(&start), "{postmaster} {start} {now}");
    assert_eq!(proof(&reads(&stage)).await.source, source(&stage).await);
}

/// After a crash of one backend the server recovers by itself, on the same timeline, and hands out transaction ids again.
#[tokio::test]
async fn a_crash_restart_is_another_source() {
    let stage = Stage::own().await;
    let reads = reads(&stage);
    let before = proof(&reads).await.source.expect("a source");
    let pid = stage.value::<i32>("select pg_backend_pid()").await;
    stage.postgres().kill_backend(pid).await.expect("killed");
    stage
        .until("the crash was seen", async || stage.postgres().ready().await.is_ok() && reads.product(Uuid::nil()).await.is_ok())
        .await;
    let after = stage.until("another source", async || proof(&reads).await.source.filter(|source| *source != before)).await;
    assert_eq!((before.system, before.timeline), (after.system, after.timeline));
    assert!(after.started_us > before.started_us);
}

#[tokio::test]
async fn a_session_opened_on_a_standby_has_no_source_even_after_the_promotion() {
    let stage = Stage::own().await;
    let before = source(&stage).await.expect("a source");
    stage.postgres().stop(Shutdown::Fast).await.expect("stopped");
    stage.postgres().home().write("data/standby.signal", "").expect("written");
    stage.postgres().start_again().await.expect("a standby");
    assert!(
        stage
            .until("a standby", async || sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(stage.pool()).await.ok())
            .await
    );

    assert_eq!(source(&stage).await, None);
    let old = reads(&stage);
    assert_eq!(proof(&old).await.source, None);

    assert!(stage.value::<bool>("select pg_promote()").await);
    assert_eq!(proof(&old).await.source, None, "the same session");
    let after = proof(&reads(&stage)).await.source.expect("a source");
    assert_eq!((after.system, after.timeline), (before.system, 2));
}
