//! Slots: looked up, made, refused, lost.

use freshline::{
    change::Event,
    coherence::{NarrowXid, Snapshot},
    fault::{Classified, Kind},
    replication::{BatchLimits, ReplicationError, Session, SlotName, SlotState},
};
use stage::{
    Stage,
    servers::{Home, Postgres, PostgresOptions},
};

use super::{Follower, PUBLICATION, follow, publish, session, settings, settings_at};

fn plain(t: &Stage) -> String {
    format!("select pg_create_logical_replication_slot('{}', 'pgoutput')", t.name())
}

#[tokio::test]
async fn a_session_knows_its_server() {
    let t = Stage::new().await;
    let session = session(&t).await;
    let system: String = t.value("select system_identifier::text from pg_control_system()").await;
    assert_eq!((&*session.server().system_id, session.server().timeline), (&*system, 1));
}

#[tokio::test]
async fn a_slot_is_found_where_its_last_acknowledgement_left_it() {
    let t = Stage::new().await;
    let mut session = session(&t).await;
    assert_eq!(session.slot().await.expect("an answer"), SlotState::Missing);
    t.sql(&plain(&t)).await;
    let confirmed: String =
        t.value("select confirmed_flush_lsn::text from pg_replication_slots where database = current_database()").await;
    let confirmed = confirmed.parse().expect("a position");
    assert_eq!(session.slot().await.expect("an answer"), SlotState::Ready { confirmed, holder: None });
}

#[tokio::test]
async fn a_slot_of_another_kind_is_refused() {
    let t = Stage::new().await;
    let name = t.name();
    let other = Stage::new().await;
    t.sql(&format!("select pg_create_logical_replication_slot('{name}_plugin', 'test_decoding')")).await;
    t.sql(&format!("select pg_create_physical_replication_slot('{name}_kind')")).await;
    other.sql(&format!("select pg_create_logical_replication_slot('{name}_place', 'pgoutput')")).await;
    for (suffix, said) in
        [("plugin", "its plugin is test_decoding, not pgoutput"), ("kind", "a physical slot"), ("place", "it belongs to database")]
    {
        let mut settings = settings(&t);
        settings.slot = SlotName::new(&format!("{name}_{suffix}")).expect("a name");
        let refused = Session::open(settings).await.expect("a session").slot().await.expect_err("another kind");
        assert!(refused.to_string().contains(said), "{refused}");
        assert_eq!(refused.kind(), Kind::Permanent);
        assert!(refused.remedy().expect("a remedy").contains("pg_drop_replication_slot"));
    }
    t.sql(&format!("select pg_drop_replication_slot('{name}_kind')")).await;
}

#[tokio::test]
async fn a_temporary_slot_streams_and_goes_with_its_session() {
    let t = Stage::new().await;
    publish(&t).await;
    t.sql("create table brief (id int primary key)").await;
    let mut session = session(&t).await;
    session.create_temporary_slot().await.expect("a slot");
    let mut stream = session.start().await.expect("a stream");
    t.sql("insert into brief values (1)").await;
    let (mut events, limits) = (Vec::new(), BatchLimits { events_max: 100, bytes_max: 1 << 20 });
    while !events.iter().any(|event| matches!(event, Event::Row(_))) {
        stream.next_batch(&mut events, limits).await.expect("changes");
    }
    drop(stream); // as in a process that was killed
    let slots = "select count(*) = 0 from pg_replication_slots where database = current_database()";
    t.until("the slot is gone", async || t.value::<bool>(slots).await).await;
}

#[tokio::test]
async fn a_new_slot_streams_exactly_what_its_snapshot_does_not_see() {
    let t = Stage::new().await;
    publish(&t).await;
    t.sql("create table counted (id int primary key, v int); insert into counted select g, 0 from generate_series(1, 4) g").await;
    let stop = tokio_util::sync::CancellationToken::new();
    let writers = (1..=4).map(|id| {
        let (pool, stop) = (t.pool().clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                sqlx::query("update counted set v = v + 1 where id = $1").bind(id).execute(&pool).await.expect("an update");
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for round in 0..5 {
        stage::until("some writes", async || t.value::<i64>("select sum(v) from counted").await > round * 50).await;
        let mut session = session(&t).await;
        let new = session.create_slot().await.expect("a slot");
        let seen = values_under(&t, &new.snapshot_name, &new.snapshot).await;
        let mut stream = Follower { stream: session.start().await.expect("a stream") };
        let first = first_values(stream.seen(&t).await, &new.snapshot);
        for (id, value) in first {
            assert_eq!(value, seen[id] + 1, "row {id} in round {round}");
        }
        stream.stream.close().await.expect("the stream ends");
        stage::until("the slot is gone", async || self::session(&t).await.drop_slot().await).await;
    }
    stop.cancel();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
}

/// The values that the exported snapshot shows to another session, by row.
async fn values_under(t: &Stage, name: &str, snapshot: &Snapshot) -> Vec<i64> {
    let mut transaction = t.pool().begin_with("begin isolation level repeatable read").await.expect("a transaction");
    let import = format!("set transaction snapshot '{name}'");
    sqlx::query(sqlx::AssertSqlSafe(import)).execute(&mut *transaction).await.expect("the snapshot is there until the start");
    let shown: String = sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(&mut *transaction).await.expect("it");
    assert_eq!(shown.parse::<Snapshot>().expect("a snapshot"), *snapshot);
    let values = sqlx::query_scalar("select v::int8 from counted order by id").fetch_all(&mut *transaction).await.expect("rows");
    transaction.rollback().await.expect("the end");
    std::iter::once(0).chain(values).collect()
}

/// The first value that is streamed of each row. No transaction that the snapshot sees may be streamed.
fn first_values(events: Vec<Event>, snapshot: &Snapshot) -> std::collections::BTreeMap<usize, i64> {
    let mut first = std::collections::BTreeMap::new();
    for event in events {
        match event {
            Event::Begin { xid: NarrowXid(xid), .. } => {
                let xid = NarrowXid(xid).widen(snapshot);
                assert!(!snapshot.sees(xid), "{xid} is in {snapshot} and streamed all the same");
            }
            Event::Row(change) => {
                let row = super::shown(&change.after.expect("the row after"));
                let (id, value) = row.split_once(',').expect("two columns");
                first.entry(id.parse().expect("an id")).or_insert(value.parse().expect("a value"));
            }
            _ => {}
        }
    }
    first
}

/// The error of making a slot, once it names what it waits for.
async fn waits_for(t: &Stage, named: &str) -> ReplicationError {
    let mut settings = settings(t);
    settings.creation_deadline = std::time::Duration::from_millis(150);
    let given_up = stage::until("it is given up and says why", async || {
        settings.creation_deadline *= 2; // on a busy machine it takes its time before it waits
        let waits = Session::open(settings.clone()).await.expect("a session").create_slot().await.expect_err("it waits");
        if waits.to_string().contains(named) { Ok(Some(vec![waits])) } else { Err(waits) }
    });
    given_up.await.remove(0)
}

#[tokio::test]
async fn making_a_slot_that_waits_is_given_up_and_says_for_whom() {
    let t = Stage::own().await;
    let mut open = t.pool().begin().await.expect("a transaction");
    sqlx::query("create table waited_for ()").execute(&mut *open).await.expect("an xid");
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *open).await.expect("a pid");
    let waits = waits_for(&t, &format!("process {pid} (postgres, ")).await;
    assert!(matches!(&waits, ReplicationError::SlotCreationWaits { .. }), "{waits}");
    assert!(waits.to_string().contains("idle in transaction"), "{waits}");
    assert_eq!(waits.kind(), Kind::Transient);
    open.rollback().await.expect("the end");
    stage::until("nothing is left of it", async || t.value::<i64>("select count(*) from pg_replication_slots").await == 0).await;
    session(&t).await.create_slot().await.expect("it need not wait any more");
}

#[tokio::test]
async fn a_slot_that_another_session_is_making_is_busy_until_it_is_made() {
    let t = Stage::own().await;
    t.sql("begin; create table waited_for (); prepare transaction 'waited_for'").await;
    let (mut first, mut second) = (session(&t).await, session(&t).await);
    let making = async { first.create_slot().await.expect("a slot") };
    let looking = async {
        let busy = stage::until("it is being made", async || second.slot().await.err().map(|busy| vec![busy])).await;
        assert!(matches!(&busy[0], ReplicationError::SlotBusy { message, .. } if message.contains("being made")), "{busy:?}");
        let busy = second.create_slot().await.expect_err("it exists");
        assert!(matches!(busy, ReplicationError::SlotBusy { .. }), "{busy:?}");
        t.sql("rollback prepared 'waited_for'").await;
    };
    let (made, ()) = tokio::join!(making, looking);
    let found = second.slot().await.expect("an answer");
    assert_eq!(found, SlotState::Ready { confirmed: made.consistent_point, holder: None });
}

#[tokio::test]
async fn making_a_slot_names_the_prepared_transaction_that_it_waits_for() {
    let t = Stage::own().await;
    t.sql("begin; create table waited_for (); prepare transaction 'forgotten'").await;
    waits_for(&t, "a prepared transaction: forgotten (since ").await;
}

#[tokio::test]
async fn making_a_slot_waits_out_the_gap() {
    let t = Stage::own().await;
    t.sql("create table held (id int)").await;
    t.postgres().hold_commits().await.expect("commits are held");
    let writer = async { t.sql("insert into held values (1)").await };
    let creator = async {
        stage::until("the commit is held", async || t.postgres().held_commits().await.map(|count| count == 1)).await;
        waits_for(&t, "waits for SyncRep").await;
        t.postgres().release_commits().await.expect("commits are released");
    };
    tokio::join!(writer, creator);
    session(&t).await.create_slot().await.expect("the gap is closed");
}

#[tokio::test]
async fn a_slot_has_one_consumer() {
    let t = Stage::new().await;
    let first = follow(&t).await;
    let mut second = session(&t).await;
    let pid: i64 = t.value("select active_pid::int8 from pg_replication_slots where database = current_database()").await;
    assert!(matches!(second.slot().await, Ok(SlotState::Ready { holder: Some(holder), .. }) if holder == pid));
    let busy = second.start().await.expect_err("one consumer at a time");
    assert!(matches!(&busy, ReplicationError::SlotBusy { message, .. } if message.contains(&pid.to_string())), "{busy:?}");
    assert_eq!(busy.kind(), Kind::Transient);
    drop(first);
    super::resume(&t).await;
}

#[tokio::test]
async fn a_stream_without_its_slot_is_refused() {
    let t = Stage::new().await;
    let missing = session(&t).await.start().await.expect_err("no slot");
    assert!(matches!(missing, ReplicationError::SlotMissing { .. }), "{missing:?}");
    session(&t).await.drop_slot().await.expect("what is gone is gone");
}

#[tokio::test]
async fn a_slot_dropped_behind_our_back_is_missing_afterwards() {
    let t = Stage::new().await;
    let mut stream = follow(&t).await;
    t.sql("select pg_terminate_backend(active_pid, 10000) from pg_replication_slots where database = current_database()").await;
    t.sql(&format!("select pg_drop_replication_slot('{}')", t.name())).await;
    assert_eq!(stream.end().await.kind(), Kind::Transient);
    assert_eq!(session(&t).await.slot().await.expect("an answer"), SlotState::Missing);
}

#[tokio::test]
async fn a_slot_whose_log_is_gone_is_lost() {
    let t = Stage::own().await;
    t.postgres().set("max_slot_wal_keep_size", "1").await.expect("a limit, in MB");
    t.sql(&plain(&t)).await;
    let lost = stage::until("the slot is lost", async || {
        t.sql("select pg_logical_emit_message(false, '', repeat('x', 2000000)); select pg_switch_wal()").await;
        t.sql("checkpoint").await;
        match session(&t).await.slot().await.expect("an answer") {
            SlotState::Lost { reason } => Some(vec![reason]),
            _ => None,
        }
    })
    .await;
    // From version 16 on Postgres says why.
    assert!(["wal_status is lost", "invalidation_reason is wal_removed"].contains(&lost[0].as_str()), "{lost:?}");
    let refused = session(&t).await.start().await.expect_err("its log is gone");
    assert!(matches!(refused, ReplicationError::SlotLost { .. }), "{refused:?}");
    let mut anew = session(&t).await;
    anew.drop_slot().await.expect("a lost slot can be dropped");
    anew.create_slot().await.expect("and made anew");
}

#[tokio::test]
async fn a_server_whose_log_carries_no_rows_is_refused() {
    let options = PostgresOptions { settings: vec![("wal_level".into(), "replica".into())], ..PostgresOptions::default() };
    let server = Postgres::start(Home::scratch().expect("a home"), options).await.expect("Postgres starts");
    let url = server.url(stage::Login::Superuser, "postgres").parse().expect("a url");
    let settings = freshline::replication::StreamSettings::new(url, SlotName::new("any").expect("a name"), PUBLICATION);
    let refused = Session::open(settings).await.expect_err("wal_level");
    assert!(matches!(&refused, ReplicationError::WalLevel { found } if found == "replica"), "{refused:?}");
    assert!(refused.remedy().expect("a remedy").contains("alter system set wal_level = logical"));
}

#[tokio::test]
async fn who_may_not_replicate_is_told_what_is_missing() {
    let t = Stage::new().await;
    let name = t.name();
    t.sql(&format!("create role {name}_plain login password 'right'")).await;
    let superuser = t.database_url(stage::Login::Superuser);
    let (_, server) = superuser.split_once('@').expect("a server");
    let as_role = |role: &str, password: &str| format!("postgres://{role}:{password}@{server}");
    let is_before_16 = t.value::<bool>("select current_setting('server_version_num')::int < 160000").await;
    let may_not_replicate =
        if is_before_16 { "must be superuser or replication role" } else { "permission denied to start WAL sender" };
    let urls = [
        (as_role(&format!("{name}_plain"), "right"), may_not_replicate),
        (as_role(&format!("{name}_plain"), "wrong"), "password authentication failed"),
        (as_role("nobody_at_all", "any"), "password authentication failed"),
        (superuser.replace(name, "no_such_database"), "does not exist"),
    ];
    for (url, said) in urls {
        let refused = Session::open(settings_at(&t, &url)).await.expect_err("refused");
        assert!(matches!(refused, ReplicationError::Forbidden { .. }), "{refused:?}");
        assert!(refused.to_string().contains(said), "{refused}");
        assert_eq!(refused.kind(), Kind::Permanent);
    }
    t.sql(&format!("drop role {name}_plain")).await;
}

#[tokio::test]
async fn a_publication_that_is_not_there_ends_the_stream_at_the_first_change_or_from_postgres_18_on_leaves_it_out() {
    let t = Stage::new().await;
    t.sql("create table told (id int)").await;
    let mut session = session(&t).await;
    session.create_slot().await.expect("a slot");
    let mut stream = Follower { stream: session.start().await.expect("a stream") };
    t.sql("insert into told values (1)").await;
    if t.value::<i32>("select current_setting('server_version_num')::int").await >= 180_000 {
        // With a warning in the server's log alone. That a publication goes is told by the migrations' event trigger.
        t.sql("select pg_logical_emit_message(true, 'after', '')").await;
        let events = stream.until("what comes after it", |event| matches!(event, Event::Message { .. })).await;
        assert!(super::rows(events).is_empty());
        return;
    }
    let ended = stream.end().await;
    assert!(matches!(ended, ReplicationError::PublicationMissing { .. }), "{ended:?}");
    assert_eq!(ended.kind(), Kind::Permanent);
    assert!(ended.remedy().expect("a remedy").starts_with("create publication \"Told, \"\"all\"\"\" "));
}
