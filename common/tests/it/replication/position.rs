//! Where the stream is, and what is acknowledged.

use freshline::{change::Event, coherence::Lsn};
use stage::Stage;

use super::{Follower, ends, follow, resume, told};

async fn confirmed(t: &Stage) -> Lsn {
    let shown: String =
        t.value("select confirmed_flush_lsn::text from pg_replication_slots where database = current_database()").await;
    shown.parse().expect("a position")
}

async fn flushed(t: &Stage) -> Lsn {
    t.value::<String>("select pg_current_wal_flush_lsn()::text").await.parse().expect("a position")
}

/// Three commits, and where they end.
async fn three_commits(t: &Stage, stream: &mut Follower) -> Vec<Lsn> {
    for id in 1..=3 {
        t.sql(&format!("insert into counted values ({id})")).await;
    }
    ends(&stream.seen(t).await)
}

#[tokio::test]
async fn an_idle_stream_reaches_what_is_not_published() {
    let t = Stage::new().await;
    t.sql("create unlogged table unpublished (id int)").await;
    let mut stream = follow(&t).await;
    for id in 1..=5 {
        t.sql(&format!("select pg_logical_emit_message(false, 'unpublished', '{id}'); insert into unpublished values ({id})"))
            .await;
        let written = flushed(&t).await;
        let events =
            stream.until("the position", |event| matches!(event, Event::Reached { position, .. } if *position >= written)).await;
        assert!(events.iter().all(|event| matches!(event, Event::Reached { .. })), "{events:?}");
        assert!(stream.stream.position() >= written);
    }
}

#[tokio::test]
async fn no_position_is_reached_before_the_commits_below_it_are_delivered() {
    let t = Stage::new().await;
    t.sql("create table counted (id int); create unlogged table unpublished (id int)").await;
    let mut stream = follow(&t).await;
    let writers = (0..3).map(|writer| {
        let pool = t.pool().clone();
        tokio::spawn(async move {
            for n in 0..200 {
                let sql = match (n + writer) % 3 {
                    0 => "insert into counted select generate_series(1, 50)",
                    1 => "insert into unpublished values (1)",
                    _ => "with a as (insert into counted values (1)) select pg_logical_emit_message(false, '', repeat('x', 5000))",
                };
                sqlx::query(sql).execute(&pool).await.expect(sql);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let (mut position, mut commits, mut reached) = (Lsn::ZERO, 0, 0);
    while commits < 400 {
        for event in stream.batch().await.expect("events") {
            match event {
                Event::Commit { end, .. } => {
                    assert!(end > position, "a commit that ends at {end} came after position {position} was reached");
                    (position, commits) = (end, commits + 1);
                }
                Event::Reached { position: next, .. } => {
                    assert!(next > position, "position {next} was reached after {position}");
                    (position, reached) = (next, reached + 1);
                }
                _ => {}
            }
        }
    }
    assert!(reached > 0, "no position was reached, so nothing was tested");
    for writer in writers {
        writer.await.expect("a writer ends");
    }
}

#[tokio::test]
async fn a_position_reached_comes_outside_transactions_only() {
    let t = Stage::new().await;
    t.sql("create table counted (id int)").await;
    let mut stream = follow(&t).await;
    t.sql("insert into counted select generate_series(1, 20000)").await;
    let events = stream.until("the commit", |event| matches!(event, Event::Commit { .. })).await;
    let mut inside = false;
    for event in events {
        match event {
            Event::Begin { .. } => inside = true,
            Event::Commit { .. } => inside = false,
            Event::Reached { .. } => assert!(!inside, "a position was reached inside a transaction"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_unasked() {
    let t = Stage::new().await;
    t.sql("create table counted (id int)").await;
    let mut stream = follow(&t).await;
    let before = confirmed(&t).await;
    let written = three_commits(&t, &mut stream).await;
    // The walsender shows what it was told last. Status updates go out while this waits: the walsender answers each.
    for _ in 0..3 {
        t.sql("select pg_logical_emit_message(false, '', '')").await;
        let next = flushed(&t).await;
        stream.until("the position", |event| matches!(event, Event::Reached { position, .. } if *position >= next)).await;
    }
    let told = "select coalesce(greatest(write_lsn, flush_lsn, replay_lsn), '0/0')::text from pg_stat_replication r
                join pg_replication_slots s on s.active_pid = r.pid where database = current_database()";
    assert_eq!(t.value::<String>(told).await, "0/0");
    assert_eq!(confirmed(&t).await, before);
    drop(stream);
    assert_eq!(three_ends(resume(&t).await, &t).await, written, "all of it comes again");
}

async fn three_ends(mut stream: Follower, t: &Stage) -> Vec<Lsn> {
    let mut ends = ends(&stream.seen(t).await);
    ends.truncate(3);
    ends
}

#[tokio::test]
async fn what_follows_the_acknowledged_commit_comes_again_and_nothing_else() {
    let t = Stage::new().await;
    t.sql("create table counted (id int)").await;
    let mut stream = follow(&t).await;
    let ends = three_commits(&t, &mut stream).await;
    stream.stream.acknowledge(ends[0]);
    stream.stream.close().await.expect("the stream ends");
    stage::until("the slot has heard", async || confirmed(&t).await == ends[0]).await;
    let mut again = resume(&t).await;
    assert_eq!(again.rows(&t).await.iter().map(told).collect::<Vec<_>>(), ["Insert counted - 2", "Insert counted - 3"]);
}

#[tokio::test]
async fn an_acknowledgement_goes_out_on_an_idle_stream() {
    let t = Stage::new().await;
    t.sql("create table counted (id int)").await;
    let mut stream = follow(&t).await;
    let ends = three_commits(&t, &mut stream).await;
    stream.stream.acknowledge(ends[1]);
    stage::until("the slot has heard", async || confirmed(&t).await == ends[1]).await;
    stream.stream.acknowledge(ends[0]);
    stream.stream.acknowledge(ends[2]);
    stage::until("the slot has heard", async || confirmed(&t).await == ends[2]).await;
}

#[tokio::test]
async fn an_acknowledgement_goes_out_while_nobody_takes_events() {
    let t = Stage::new().await;
    t.sql("create table counted (id int); create table stalled (body text)").await;
    let mut stream = follow(&t).await;
    let ends = three_commits(&t, &mut stream).await;
    t.sql("insert into stalled select repeat('x', 100000) from generate_series(1, 500)").await;
    let stuck = "select wait_event is not distinct from 'WalSenderWriteData' from pg_stat_activity a
                 join pg_replication_slots s on s.active_pid = a.pid where s.database = current_database()";
    stage::until("the walsender waits for us", async || t.value::<bool>(stuck).await).await;
    stream.stream.acknowledge(ends[2]);
    stage::until("the slot has heard", async || confirmed(&t).await == ends[2]).await;
}

#[tokio::test]
async fn a_position_reached_may_be_acknowledged_without_losing_a_commit() {
    let t = Stage::new().await;
    t.sql("create table counted (id int)").await;
    let mut stream = follow(&t).await;
    for id in 1..=20 {
        t.sql("select pg_logical_emit_message(false, '', '')").await;
        let written = flushed(&t).await;
        let reached = |event: &Event| matches!(event, Event::Reached { position, .. } if *position >= written);
        stream.until("the position", reached).await;
        let acknowledged = stream.stream.position();
        stream.stream.acknowledge(acknowledged);
        stage::until("the slot has heard", async || confirmed(&t).await >= acknowledged).await;
        drop(stream);
        t.sql(&format!("insert into counted values ({id})")).await;
        stream = resume(&t).await;
        assert_eq!(stream.rows(&t).await.iter().map(told).collect::<Vec<_>>(), [format!("Insert counted - {id}")]);
    }
}
