//! What a test stands on.

use stage::{Login, Stage};

#[tokio::test]
async fn each_test_has_a_database_and_a_redis_of_its_own() {
    let (one, other) = (Stage::new().await, Stage::new().await);
    one.sql("create table only_here (id int)").await;
    assert_eq!(one.value::<i64>("select count(*) from pg_tables where tablename = 'only_here'").await, 1);
    assert_eq!(other.value::<i64>("select count(*) from pg_tables where tablename = 'only_here'").await, 0);
    one.redis().run::<()>(&["SET", "key", "value"]).await.expect("a key is set");
    assert_eq!(one.redis().run::<i64>(&["DBSIZE"]).await.expect("the size of one"), 1);
    assert_eq!(other.redis().run::<i64>(&["DBSIZE"]).await.expect("the size of the other"), 0);
    assert_eq!(one.postgres().port(), other.postgres().port(), "they share the server");
}

#[tokio::test]
async fn a_database_is_dropped_with_its_slots_when_its_stage_is() {
    let kept = Stage::new().await;
    let gone = Stage::new().await;
    let name = gone.name().to_owned();
    gone.sql(&format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')")).await;
    assert_eq!(kept.value::<i64>(&format!("select count(*) from pg_replication_slots where slot_name = '{name}'")).await, 1);
    drop(gone);
    assert_eq!(kept.value::<i64>(&format!("select count(*) from pg_replication_slots where slot_name = '{name}'")).await, 0);
    assert_eq!(kept.value::<i64>(&format!("select count(*) from pg_database where datname = '{name}'")).await, 0);
}

#[tokio::test]
async fn what_sql_answers_is_a_position_that_its_changes_lie_before() {
    let t = Stage::new().await;
    let before = t.sql("create table moves (id int)").await;
    let after = t.sql("insert into moves values (1); insert into moves values (2)").await;
    assert!(after > before, "{after} is not after {before}");
}

#[tokio::test]
async fn each_role_logs_in_to_redis_and_none_may_administer_it() {
    let t = Stage::new().await;
    for login in Login::ROLES {
        let client = redis::Client::open(t.redis_url(login)).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("the role logs in");
        let me: String =
            redis::cmd("ACL").arg("WHOAMI").query_async(&mut connection).await.unwrap_or_else(|error| error.to_string());
        let info: String =
            redis::cmd("INFO").arg("server").query_async(&mut connection).await.expect("the role asks for the run id");
        assert!(info.contains("run_id:"), "{me}");
        let refused = redis::cmd("FLUSHALL").exec_async(&mut connection).await.expect_err("no role may flush");
        assert_eq!(refused.code(), Some("NOPERM"), "{refused}");
    }
}
