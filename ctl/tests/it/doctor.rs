//! `doctor` finds what it names, with the remedy, and ends with the code that says so.

use freshline::dead_letters::{DeadLetters, Letter};
use stage::{Login, Stage};

use crate::house::{House, Ran, assert_found, ended, findings, launch, run};

async fn doctor(stage: &Stage) -> Ran {
    run(stage, &["doctor", "--json"]).await
}

#[tokio::test]
async fn a_sound_house_has_nothing_to_mend() {
    let house = House::new().await;
    let ran = doctor(&house.stage).await;
    assert_eq!(findings(&ran, "problem"), Vec::<String>::new());
    assert_eq!(findings(&ran, "unseen"), Vec::<String>::new());
    assert_eq!(ran.code, Some(0));
    let text = run(&house.stage, &["doctor"]).await.text;
    assert!(text.contains("0 to mend") && text.contains("max_slot_wal_keep_size is -1"), "{text}");
}

/// What is broken by a statement, what then is said, and the statement that mends it.
const BREAKABLE: [(&str, &[&str], &str); 9] = [
    (
        "alter publication freshline set (publish = 'insert')",
        &["leaves out some kinds of change", "alter publication \"freshline\" set"],
        "alter publication freshline set (publish = 'insert, update, delete, truncate')",
    ),
    (
        "alter publication freshline drop table products",
        &["does not carry it", "add table public.products"],
        "alter publication freshline add table products",
    ),
    (
        "alter table products replica identity nothing",
        &["the row before a change", "replica identity full"],
        "alter table products replica identity full",
    ),
    ("alter event trigger freshline_ddl disable", &["freshline_ddl", "DDL"], "alter event trigger freshline_ddl enable"),
    (
        "revoke select on products from freshline_warmer",
        &["freshline_warmer may not select", "grant select on public.products to freshline_warmer"],
        "grant select on public.products to freshline_warmer",
    ),
    (
        "revoke update on products from freshline_api",
        &["freshline_api may not update", "grant update"],
        "grant update on public.products to freshline_api",
    ),
    (
        "revoke insert on freshline.dead_letters from freshline_invalidator",
        &["freshline_invalidator may not insert", "grant insert"],
        "grant insert on freshline.dead_letters to freshline_invalidator",
    ),
    (
        "revoke execute on function freshline.source() from freshline_invalidator",
        &["freshline.source()", "execute on function"],
        "grant execute on function freshline.source() to freshline_invalidator",
    ),
    (
        "alter table freshline.dead_letters rename to gone",
        &["dead letters", "apply the migrations"],
        "alter table freshline.gone rename to dead_letters",
    ),
];

#[tokio::test]
async fn what_a_statement_breaks_is_found_with_its_remedy_which_mends_it() {
    let house = House::new().await;
    for (breaks, said, mends) in BREAKABLE {
        house.stage.sql(breaks).await;
        let ran = doctor(&house.stage).await;
        assert_found(&ran, "problem", said);
        assert_eq!(ran.code, Some(1), "{breaks}");
        house.stage.sql(mends).await;
    }
    house.drained().await;
    assert_eq!(findings(&doctor(&house.stage).await, "problem"), Vec::<String>::new());
}

#[tokio::test]
async fn an_unsound_redis_is_found() {
    let house = House::new().await;
    let set = async |name: &str, value: &str| house.stage.redis().run::<()>(&["CONFIG", "SET", name, value]).await.expect("set");
    set("maxmemory-policy", "allkeys-lru").await;
    assert_found(&doctor(&house.stage).await, "problem", &["maxmemory-policy is allkeys-lru", "volatile-lru"]);
    set("maxmemory-policy", "noeviction").await;
    let used: String = house.stage.redis().run(&["INFO", "memory"]).await.expect("an answer");
    let used: u64 = used.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok()).expect("a number");
    set("maxmemory", &(used + (1 << 16)).to_string()).await;
    assert_found(&doctor(&house.stage).await, "problem", &["fills are refused", "maxmemory"]);
}

#[tokio::test]
async fn a_cache_that_nobody_works_on_is_found() {
    let mut house = House::new().await;
    house.invalidator.stop(stage::WAIT_MAX).await.expect("it ends");
    let ran = ended(launch(&house.stage, &["doctor", "--json"]).variable("FRESHLINE_MAX_STALENESS_MS", "500")).await;
    assert_found(&ran, "problem", &["nobody reads from slot", "pg_drop_replication_slot"]);
    assert_found(&ran, "problem", &["no invalidator is registered", "start the invalidator"]);
    house.stage.redis().run::<()>(&["FLUSHALL"]).await.expect("flushed");
    assert_found(&doctor(&house.stage).await, "problem", &["1 of 1 stripes are closed", "start the invalidator"]);
}

#[tokio::test]
async fn a_slot_and_a_letter_that_nobody_looks_after_are_worth_knowing() {
    let house = House::new().await;
    let other = format!("{}_other", house.stage.name());
    house.stage.sql(&format!("select pg_create_logical_replication_slot('{other}', 'pgoutput')")).await;
    let letters = DeadLetters::new(house.stage.database_url(Login::Invalidator).parse().expect("a URL"));
    let letter = Letter { source: "nats", place: "seq 1", subject: None, table: None, reason: "no JSON", raw: b"x" };
    letters.write(&letter).await.expect("written");
    let ran = doctor(&house.stage).await;
    assert_found(&ran, "note", &[&other, "nobody reads"]);
    assert_found(&ran, "note", &["1 new", "freshline dead-letters list"]);
    assert_eq!(ran.code, Some(0), "notes are nothing to mend: {}", ran.text);
}

#[tokio::test]
async fn the_slots_of_all_shards_are_looked_at_and_only_theirs_are_ours() {
    let stage = Stage::new().await;
    let [one, two] = ["1of2", "2of2"].map(|shard| format!("{}_{shard}", stage.name()));
    stage.sql(&format!("select pg_create_logical_replication_slot('{one}', 'pgoutput')")).await;
    let variables = [("FRESHLINE_SHARD", "2/2"), ("FRESHLINE_STRIPES", "2"), ("FRESHLINE_SLOT", stage.name())];
    let ran = ended(launch(&stage, &["doctor", "--json"]).variables(variables)).await;
    assert_found(&ran, "problem", &[&one, "nobody reads", "the invalidator, shard 1/2"]);
    assert_found(&ran, "note", &[&two, "there is no slot", "the invalidator, shard 2/2"]);
}

#[tokio::test]
async fn how_much_a_slot_may_hold_back_is_a_setting() {
    let house = House::new().await;
    let fill = "select count(pg_logical_emit_message(false, 'filler', repeat('x', 100000))) from generate_series(1, 15)";
    let other = format!("{}_other", house.stage.name());
    house.stage.sql(&format!("select pg_create_logical_replication_slot('{other}', 'pgoutput')")).await;
    house.stage.sql(fill).await;
    assert_found(&doctor(&house.stage).await, "note", &[&other, "nobody reads"]);
    let ran = ended(launch(&house.stage, &["doctor", "--json"]).variable("FRESHLINE_SLOT_WARN_BYTES", "1048576")).await;
    assert_found(&ran, "problem", &[&other, "holds back"]);
}

#[tokio::test]
async fn a_server_that_cannot_carry_changes_is_found() {
    let stage = Stage::own().await;
    stage.postgres().set("synchronous_standby_names", "*").await.expect("set");
    assert_found(&doctor(&stage).await, "problem", &["synchronous_standby_names", "name the real standbys"]);
    stage.postgres().set("synchronous_standby_names", "").await.expect("set");
    stage.sql("alter system set wal_level = 'replica'").await;
    stage.postgres().restart(stage::servers::Shutdown::Fast).await.expect("restarted");
    let ran = doctor(&stage).await;
    assert_found(&ran, "problem", &["wal_level is replica", "alter system set wal_level = logical"]);
    assert_eq!(ran.code, Some(1));
}

#[tokio::test]
async fn a_server_that_is_away_is_no_finding_but_nothing_that_could_be_seen() {
    let stage = Stage::new().await;
    let away = [("FRESHLINE_DATABASE_URL", "postgres://u@127.0.0.1:1/d"), ("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/")];
    for (variable, url) in away {
        let ran = ended(launch(&stage, &["doctor", "--json"]).variable(variable, url)).await;
        assert_found(&ran, "unseen", &["127.0.0.1:1", variable]);
        assert_eq!(ran.code, Some(2));
    }
}
