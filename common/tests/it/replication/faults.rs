//! The connection, the server or a message fails.

use std::time::Duration;

use freshline::{
    change::Event,
    fault::{Classified, Kind},
    replication::{BatchLimits, ReplicationError, Session},
};
use stage::{Fault, Login, Stage, servers::Shutdown};

use super::{Follower, LIMITS, ends, follow, publish, resume, rows, session, settings, settings_at, told};

#[tokio::test]
async fn a_terminated_walsender_costs_nothing_but_a_new_connection() {
    let t = Stage::new().await;
    t.sql("create table counted (id int)").await;
    let mut stream = follow(&t).await;
    t.sql("insert into counted values (1)").await;
    let end = ends(&stream.seen(&t).await)[0];
    stream.stream.acknowledge(end);
    let confirmed =
        format!("select confirmed_flush_lsn = '{end}'::pg_lsn from pg_replication_slots where database = current_database()");
    stage::until("the slot has heard", async || t.value::<bool>(&confirmed).await).await;
    t.sql("select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()").await;
    let ended = stream.end().await;
    assert!(matches!(ended, ReplicationError::Unavailable { .. }), "{ended:?}");
    assert_eq!(ended.kind(), Kind::Transient);
    assert_eq!(stream.end().await.to_string(), ended.to_string(), "an ended stream stays ended");
    t.sql("insert into counted values (2)").await;
    let told: Vec<String> = resume(&t).await.rows(&t).await.iter().map(told).collect();
    assert_eq!(told, ["Insert counted - 2"]);
}

#[tokio::test]
async fn what_came_before_the_end_is_delivered_before_the_error() {
    let t = Stage::new().await;
    t.sql("create table counted (id int)").await;
    let mut stream = follow(&t).await;
    t.sql("insert into counted values (1)").await;
    let sent = "select sent_lsn >= pg_current_wal_flush_lsn() from pg_stat_replication r
                join pg_replication_slots s on s.active_pid = r.pid where database = current_database()";
    stage::until("it has been sent", async || t.value::<bool>(sent).await).await;
    t.sql("select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()").await;
    let mut events = Vec::new();
    let ended = loop {
        match stream.batch().await {
            Ok(batch) => events.extend(batch),
            Err(ended) => break ended,
        }
    };
    assert_eq!(ended.kind(), Kind::Transient);
    assert_eq!(rows(events).len(), 1);
}

#[tokio::test]
async fn a_lost_connection_is_transient() {
    let t = Stage::new().await;
    let proxy = t.postgres_proxy().await;
    publish(&t).await;
    session(&t).await.create_slot().await.expect("a slot");
    let through = settings_at(&t, &proxy.before(&t.database_url(Login::Superuser)));
    let stream = stage::until("a stream", async || Session::open(through.clone()).await?.start().await.map(Some)).await;
    let mut stream = Follower { stream };
    proxy.cut();
    let ended = stream.end().await;
    assert!(matches!(ended, ReplicationError::Disconnected { .. }), "{ended:?}");
    assert_eq!(ended.kind(), Kind::Transient);
    proxy.set(Fault::Refuse);
    let refused = stage::until("refused", async || Session::open(through.clone()).await.err().map(|error| vec![error])).await;
    assert!(matches!(refused[0], ReplicationError::Disconnected { .. }), "{refused:?}");
}

#[tokio::test]
async fn silence_is_taken_for_a_loss() {
    let t = Stage::new().await;
    let proxy = t.postgres_proxy().await;
    publish(&t).await;
    session(&t).await.create_slot().await.expect("a slot");
    let mut through = settings_at(&t, &proxy.before(&t.database_url(Login::Superuser)));
    through.server_timeout = Duration::from_secs(1);
    through.answer_deadline = Duration::from_millis(500);
    let stream = stage::until("a stream", async || Session::open(through.clone()).await?.start().await.map(Some)).await;
    let mut stream = Follower { stream };
    // Idle, but alive, for far longer than the silence that is borne: the walsender keeps speaking.
    let alive = std::time::Instant::now();
    while alive.elapsed() < Duration::from_secs(4) {
        let mut events = Vec::new();
        let next = stream.stream.next_batch(&mut events, LIMITS);
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_millis(100), next).await {
            panic!("an idle stream ended: {error:?}");
        }
    }
    proxy.set(Fault::BlackHole);
    let ended = stream.end().await;
    assert!(matches!(ended, ReplicationError::Silent { .. }), "{ended:?}");
    assert_eq!(ended.kind(), Kind::Transient);
    let late = Session::open(through).await.expect_err("nobody answers");
    assert!(matches!(late, ReplicationError::Late { .. }), "{late:?}");
    assert_eq!(late.kind(), Kind::Transient);
}

#[tokio::test]
async fn a_crash_of_the_server_is_transient_and_loses_nothing() {
    let t = Stage::own().await;
    t.sql("create table counted (id int)").await;
    let mut stream = follow(&t).await;
    t.sql("insert into counted values (1)").await;
    t.postgres().restart(Shutdown::Immediate).await.expect("it starts again");
    assert_eq!(stream.end().await.kind(), Kind::Transient);
    let told: Vec<String> = resume(&t).await.rows(&t).await.iter().map(told).collect();
    assert_eq!(told, ["Insert counted - 1"]);
}

/// A fast shutdown waits until each walsender's client has acknowledged all that was sent.
#[tokio::test]
async fn a_server_that_is_told_to_stop_waits_for_an_acknowledgement_or_until_we_leave() {
    for acknowledges in [true, false] {
        let t = Stage::own().await;
        t.sql("create table counted (id int)").await;
        let mut stream = follow(&t).await;
        t.sql("insert into counted values (1)").await;
        stream.seen(&t).await;
        let stopping = t.postgres().stop(Shutdown::Fast);
        let leaving = async {
            stage::until("it takes no more sessions", async || Session::open(settings(&t)).await.err().map(|_| ())).await;
            assert!(!is_shut_down(&t), "it has not waited");
            if acknowledges {
                let ended = loop {
                    stream.stream.acknowledge(stream.stream.position());
                    if let Err(ended) = stream.batch().await {
                        break ended;
                    }
                };
                assert_eq!(ended.kind(), Kind::Transient);
            }
            drop(stream);
        };
        let (stopped, ()) = tokio::join!(stopping, leaving);
        stopped.expect("it stops");
        assert!(is_shut_down(&t), "it had to be killed");
    }
}

fn is_shut_down(t: &Stage) -> bool {
    let log = std::fs::read_to_string(t.postgres().home().path().join("postgres.log")).expect("its log");
    log.contains("database system is shut down")
}

#[tokio::test]
async fn a_message_beyond_the_bound_ends_the_stream_and_says_what_to_allow() {
    let t = Stage::new().await;
    t.sql("create table large (body text)").await;
    publish(&t).await;
    session(&t).await.create_slot().await.expect("a slot");
    let mut settings = settings(&t);
    settings.message_len_max = 100_000;
    let stream = stage::until("a stream", async || Session::open(settings.clone()).await?.start().await.map(Some)).await;
    t.sql("insert into large values (repeat('x', 200000))").await;
    let ended = Follower { stream }.end().await;
    assert!(matches!(ended, ReplicationError::MessageTooLong { len: 200_000.., max: 100_000 }), "{ended:?}");
    assert_eq!(ended.kind(), Kind::Permanent);
    assert!(ended.remedy().expect("a remedy").contains("200"));
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let t = Stage::new().await;
    t.sql("create table counted (id int)").await;
    let mut stream = follow(&t).await;
    let writer = async {
        for id in 0..300 {
            t.sql(&format!("insert into counted values ({id})")).await;
        }
    };
    let reader = async {
        let mut events = Vec::new();
        while ends(&events).len() < 300 {
            let next = stream.stream.next_batch(&mut events, BatchLimits { events_max: 3, bytes_max: 1000 });
            match tokio::time::timeout(Duration::from_micros(200), next).await {
                Ok(taken) => taken.expect("events"),
                Err(_) => tokio::task::yield_now().await,
            }
        }
        events
    };
    let ((), events) = tokio::join!(writer, reader);
    let seen: Vec<String> = rows(events).iter().map(told).collect();
    assert_eq!(seen, (0..300).map(|id| format!("Insert counted - {id}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_takes_what_is_there_within_its_limits() {
    let t = Stage::new().await;
    t.sql("create table counted (id int, body text)").await;
    let mut stream = follow(&t).await;
    t.sql("insert into counted select g, repeat('x', 1000) from generate_series(1, 1000) g").await;
    let mut rows = 0;
    while rows < 1000 {
        let mut events =
            vec![Event::Reached { position: freshline::coherence::Lsn::ZERO, place: freshline::change::Place::default() }];
        stream.stream.next_batch(&mut events, BatchLimits { events_max: 7, bytes_max: 3000 }).await.expect("events");
        assert!((2..=8).contains(&events.len()), "{} events", events.len() - 1);
        let taken = events.iter().filter(|event| matches!(event, Event::Row(_))).count();
        assert!(taken <= 3, "{taken} rows are more than 3000 bytes");
        rows += taken;
    }
}
