//! What the table `products` and its functions promise to whoever writes, psql included.

use freshline::catalog::Product;
use stage::{Login, Stage};

use super::{connect, run};

/// 23514: a check is violated; 23502: null; 23505: not unique; 22003: out of range.
#[tokio::test]
async fn a_row_that_is_no_product_is_refused() {
    let cases = [
        ("id", "'f47ac10b-58cc-4372-a567-0e02b2c3d479'", "23514"),
        ("id", "null", "23502"),
        ("sku", "''", "23514"),
        ("sku", "E' \\t\\n'", "23514"),
        ("sku", "repeat('x', 65)", "23514"),
        ("sku", "null", "23502"),
        ("sku", "'TAKEN'", "23505"),
        ("name", "'   '", "23514"),
        ("name", "repeat('ü', 201)", "23514"),
        ("name", "null", "23502"),
        ("description", "repeat('x', 10001)", "23514"),
        ("category", "''", "23514"),
        ("category", "repeat('x', 65)", "23514"),
        ("category", "null", "23502"),
        ("price", "-0.01", "23514"),
        ("price", "'NaN'", "23514"),
        ("price", "10000000000", "22003"),
        ("price", "'Infinity'", "22003"),
        ("price", "null", "23502"),
        ("stock_quantity", "-1", "23514"),
        ("stock_quantity", "2147483648", "22003"),
        ("stock_quantity", "null", "23502"),
        ("attributes", "'[]'", "23514"),
        ("attributes", "'null'", "23514"),
        ("attributes", "null", "23502"),
    ];
    let stage = Stage::new().await;
    stage.sql("insert into products (sku, name, category, price) values ('TAKEN', 'x', 'x', 0), ('OTHER', 'x', 'x', 0)").await;
    let mut connection = connect(&stage, Login::Api).await;
    for (column, value, sqlstate) in cases {
        let update = format!("update products set {column} = {value} where sku = 'OTHER'");
        assert_eq!(run(&mut connection, &update).await, Err(sqlstate.to_owned()), "{update}");
    }
}

#[tokio::test]
async fn a_row_at_the_limits_is_a_product() {
    let cases = [
        ("sku", "repeat('ü', 64)"),
        ("name", "repeat('ü', 200)"),
        ("description", "repeat('x', 10000)"),
        ("description", "null"),
        ("price", "9999999999.99"),
        ("price", "0"),
        ("stock_quantity", "0"),
        ("attributes", "'{}'"),
    ];
    let stage = Stage::new().await;
    stage.sql("insert into products (sku, name, category, price) values ('A', 'x', 'x', 1)").await;
    let mut connection = connect(&stage, Login::Api).await;
    for (column, value) in cases {
        assert_eq!(run(&mut connection, &format!("update products set {column} = {value}")).await, Ok(()), "{column} = {value}");
    }
}

#[tokio::test]
async fn updated_at_tells_the_last_change_and_nothing_else() {
    let stage = Stage::new().await;
    let old = "insert into products (sku, name, category, price, created_at, updated_at) values ('A', 'x', 'x', 1, '2000-01-01', '2000-01-01')";
    stage.sql(old).await;
    let touched = "select updated_at > '2020-01-01' from products";
    stage.sql("update products set price = 1.00").await;
    assert!(!stage.value::<bool>(touched).await, "an update that changes nothing touched it");
    stage.sql("update products set updated_at = '1999-01-01', price = 2").await;
    assert!(stage.value::<bool>(touched).await, "a writer set it to what it liked");
    assert!(stage.value::<bool>("select created_at = '2000-01-01' from products").await, "an update changed when it was made");
}

#[tokio::test]
async fn the_columns_of_a_product_are_those_of_the_table() {
    let stage = Stage::new().await;
    let columns: Vec<(String, i64)> = sqlx::query_as(
        "select attname::text, atttypid::bigint from pg_attribute where attrelid = 'products'::regclass and attnum > 0 order by attnum",
    )
    .fetch_all(stage.pool())
    .await
    .expect("the columns");
    let columns: Vec<(&str, i64)> = columns.iter().map(|(name, type_id)| (name.as_str(), *type_id)).collect();
    assert_eq!(columns, Product::columns().map(|(name, type_id)| (name, i64::from(type_id))).collect::<Vec<_>>());
}

#[tokio::test]
async fn ids_made_in_order_sort_in_order() {
    let stage = Stage::new().await;
    // One call a statement: within one statement the clock may not move on.
    let ordered = "select count(*) from (
             select id, lag(id) over (order by n) as before from (select n, freshline.uuid_v7() as id from generate_series(1, 5000) as n) as made
         ) as pairs where substr(id::text, 1, 18) < substr(before::text, 1, 18)";
    assert_eq!(stage.value::<i64>(ordered).await, 0, "the time in an id went backwards");
    let shape = "select count(*) from (select freshline.uuid_v7()::text as id from generate_series(1, 1000)) as made
         where id !~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'";
    assert_eq!(stage.value::<i64>(shape).await, 0, "an id is not version 7");
    let clock = "select abs(extract(epoch from clock_timestamp()) * 1000
         - ('x' || translate(left(freshline.uuid_v7()::text, 13), '-', ''))::bit(48)::bigint) < 5000";
    assert!(stage.value::<bool>(clock).await, "an id does not begin with the time");
    let distinct = "select count(distinct freshline.uuid_v7()) from generate_series(1, 5000)";
    assert_eq!(stage.value::<i64>(distinct).await, 5000);
}

/// The examples of RFC 7396, appendix A.
#[tokio::test]
async fn a_merge_patch_merges_as_the_rfc_says() {
    let examples = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ];
    let stage = Stage::new().await;
    for (target, patch, merged) in examples {
        let same = format!("select freshline.merge_patch('{target}', '{patch}') = '{merged}'::jsonb");
        assert!(stage.value::<bool>(&same).await, "{target} patched with {patch} is not {merged}");
    }
}
