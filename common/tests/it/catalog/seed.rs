//! Products to begin with.

use freshline::catalog::{GENERATED_ROWS_MAX, Loaded, SeedError, generate, plant};
use sqlx::{Connection, PgConnection};
use stage::Stage;

async fn connection(stage: &Stage) -> PgConnection {
    stage.postgres().connect(stage.name()).await.expect("a connection")
}

async fn digest(stage: &Stage) -> String {
    stage.value("select md5(string_agg(p::text, '|' order by id)) from products p").await
}

#[tokio::test]
async fn the_fifteen_are_planted_once_and_stay_the_newest() {
    let stage = Stage::new().await;
    let mut connection = connection(&stage).await;
    assert_eq!(plant(&mut connection).await.expect("planted"), Loaded { present: 0, added: 15 });
    stage.sql("update products set price = 1 where sku = 'KITE-DELTA'; delete from products where sku = 'TENT-2P'").await;
    assert_eq!(plant(&mut connection).await.expect("planted"), Loaded { present: 14, added: 1 });
    assert!(stage.value::<bool>("select price = 1 from products where sku = 'KITE-DELTA'").await, "a change was undone");
    assert!(stage.value::<i64>("select count(distinct category) from products").await >= 6);
    generate(&mut connection, 100, 1, |_| {}).await.expect("made");
    let newest =
        "select count(*) from (select sku from products order by id desc limit 15) as newest where sku !~ '^[A-Z]{2}-[0-9]{8}$'";
    assert_eq!(stage.value::<i64>(newest).await, 15);
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn a_seed_makes_the_same_rows_in_one_run_or_in_many() {
    let (one, other) = (Stage::new().await, Stage::new().await);
    let mut connection_one = connection(&one).await;
    let mut seen = Vec::new();
    let loaded = generate(&mut connection_one, 25_000, 7, |rows| seen.push(rows)).await.expect("made");
    assert_eq!(loaded, Loaded { present: 0, added: 25_000 });
    assert_eq!(seen, [0, 20_000, 25_000]);

    let mut connection_other = connection(&other).await;
    for rows in [1, 999, 999, 20_500, 10, 25_000] {
        generate(&mut connection_other, rows, 7, |_| {}).await.expect("made");
    }
    assert_eq!(digest(&one).await, digest(&other).await);
    assert_eq!(one.value::<i64>("select count(*) from products").await, 25_000);
    for connection in [connection_one, connection_other] {
        connection.close().await.expect("closed");
    }
}

/// So many that the indexes are made afterwards: none may be missing then.
#[tokio::test]
async fn a_large_load_leaves_the_table_as_it_was_but_for_the_rows() {
    let stage = Stage::new().await;
    let definitions = "select string_agg(pg_get_indexdef(indexrelid), ';' order by indexrelid::regclass::text)
         from pg_index where indrelid = 'products'::regclass and indisvalid";
    let before: String = stage.value(definitions).await;
    let mut connection = connection(&stage).await;
    plant(&mut connection).await.expect("planted");
    generate(&mut connection, 100_000, 1, |_| {}).await.expect("made");
    assert_eq!(stage.value::<String>(definitions).await, before);
    assert_eq!(stage.value::<i64>("select count(*) from products").await, 100_015);
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn another_seed_makes_other_rows() {
    let (one, other) = (Stage::new().await, Stage::new().await);
    for (stage, seed) in [(&one, 1), (&other, 2)] {
        generate(&mut connection(stage).await, 100, seed, |_| {}).await.expect("made");
    }
    assert_ne!(digest(&one).await, digest(&other).await);
}

#[tokio::test]
async fn more_rows_than_are_made_are_refused() {
    let stage = Stage::new().await;
    let refused = generate(&mut connection(&stage).await, GENERATED_ROWS_MAX + 1, 1, |_| {}).await;
    assert!(matches!(refused, Err(SeedError::TooMany { asked }) if asked == GENERATED_ROWS_MAX + 1));
}
