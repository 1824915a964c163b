//! What is wrong with a server is found before a stream is asked for.

use freshline::replication::{Finding, Follower, preflight};
use stage::{Login, Stage};

use super::{publish, settings, settings_at};

/// Whoever is connected, reading the slot.
const READER: Follower<'_> = Follower { role: None, has_slot: true };

async fn findings(t: &Stage) -> Vec<Finding> {
    let mut connection = t.pool().acquire().await.expect("a connection");
    preflight(&mut connection, &settings(t), READER).await.expect("an answer")
}

fn has(findings: &[Finding], problem: &str, remedy: &str) -> bool {
    findings.iter().any(|finding| finding.problem.contains(problem) && finding.remedy.contains(remedy))
}

#[tokio::test]
async fn a_server_that_is_ready_has_no_findings() {
    let t = Stage::new().await;
    publish(&t).await;
    assert_eq!(findings(&t).await, []);
}

#[tokio::test]
async fn a_publication_that_tells_too_little_is_found() {
    let t = Stage::new().await;
    let missing = findings(&t).await;
    assert!(
        has(&missing, "there is no publication \"Told, \"\"all\"\"\"", "create publication \"Told, \"\"all\"\"\""),
        "{missing:?}"
    );
    t.sql("create table filtered (id int primary key)").await;
    // Version 14 has no row filters.
    let has_filters = t.value::<bool>("select current_setting('server_version_num')::int >= 150000").await;
    let only = if has_filters { "where (id > 5)" } else { "" };
    t.sql(&format!("create publication \"Told, \"\"all\"\"\" for table filtered {only} with (publish = 'insert')")).await;
    let narrow = findings(&t).await;
    assert!(has(&narrow, "leaves out some kinds", "truncate"), "{narrow:?}");
    assert_eq!(has(&narrow, "filters the rows of filtered", "set table filtered"), has_filters, "{narrow:?}");
}

#[tokio::test]
async fn a_role_that_may_not_replicate_is_found() {
    let t = Stage::new().await;
    publish(&t).await;
    let role = format!("{}_plain", t.name());
    t.sql(&format!("create role {role} login password 'p'")).await;
    let url = t.database_url(Login::Superuser);
    let (_, server) = url.split_once('@').expect("a server");
    let settings = settings_at(&t, &format!("postgres://{role}:p@{server}"));
    let mut connection = sqlx::ConnectOptions::connect(&settings.server).await.expect("a connection");
    let found = preflight(&mut connection, &settings, READER).await.expect("an answer");
    assert!(has(&found, "may not replicate", &format!("alter role \"{role}\" replication")), "{found:?}");
    let by_broker = preflight(&mut connection, &settings, Follower { has_slot: false, ..READER }).await.expect("an answer");
    assert_eq!(by_broker, [], "who reads from a broker replicates nothing");
    sqlx::Connection::close(connection).await.expect("the end");
    t.sql(&format!("drop role {role}")).await;
}

#[tokio::test]
async fn a_server_that_would_wait_for_the_stream_is_found() {
    let t = Stage::own().await;
    publish(&t).await;
    for (names, counted) in [("*", true), ("FIRST 1 (real, freshline)", true), ("ANY 1 (real, other)", false), ("", false)] {
        t.postgres().set("synchronous_standby_names", names).await.expect("standbys");
        assert_eq!(has(&findings(&t).await, "commits would wait for it", "name the real standbys"), counted, "{names:?}");
    }
}

#[tokio::test]
async fn a_server_without_room_is_found() {
    let t = Stage::own().await;
    publish(&t).await;
    let slots: i64 = t.value("select current_setting('max_replication_slots')::int8").await;
    t.sql(&format!("select pg_create_physical_replication_slot('s' || g) from generate_series(1, {slots}) g")).await;
    let full = findings(&t).await;
    assert!(has(&full, "replication slots are in use", "alter system set max_replication_slots"), "{full:?}");
}
