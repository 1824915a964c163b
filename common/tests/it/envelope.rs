//! Envelopes against a real Postgres: what is made of a Debezium event is what Postgres prints, and a table is described as the
//! stream describes it.

use freshline::{
    change::Datum,
    envelope::{Numerics, Record, Relations, decode},
};
use sqlx::{Connection, PgConnection};
use stage::{Login, Stage};

async fn connection(t: &Stage) -> PgConnection {
    PgConnection::connect(&t.database_url(Login::Superuser)).await.expect("a connection")
}

/// What becomes of a row of `values` in Debezium's form.
async fn made_of(t: &Stage, columns: &[(String, String)]) -> Vec<Option<String>> {
    let relations = Relations::load(&mut connection(t).await).await.expect("the tables");
    let table = relations.get("public", "written").expect("the table");
    let row: Vec<String> = columns.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    let value = format!(
        r#"{{"op":"c","after":{{{}}},"source":{{"schema":"public","table":"written","txId":700,"lsn":1}}}}"#,
        row.join(",")
    );
    let Ok(Record::Change(envelope)) = decode(None, Some(value.as_bytes())) else { panic!("no change: {value}") };
    let (change, _) = envelope.change(table, Numerics::Text).expect("a change");
    let after = change.after.expect("a row");
    let text = |column| match after.get(column).expect("a column") {
        Datum::Text(text) => Some(text.to_owned()),
        Datum::Null | Datum::Unchanged => None,
    };
    (0..after.len()).map(text).collect()
}

/// Numbers that a generator of digits gets wrong first: powers, neighbours of powers, the ends of the range, and some any.
fn floats() -> Vec<f64> {
    let mut floats: Vec<f64> = (-320..=308).map(|exponent| format!("1e{exponent}").parse().expect("a number")).collect();
    floats.extend([f64::MIN_POSITIVE, 5e-324, f64::MAX, -0.0, 0.1, 1.0 / 3.0, 123_456_789.125, 9_007_199_254_740_993.0]);
    let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..400 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        floats.extend(Some(f64::from_bits(bits)).filter(|float| float.is_finite()));
    }
    floats
}

/// Asserts that each of these numbers of a type, as JSON writes it, becomes what Postgres prints: its texts of them are `printed`.
async fn assert_printed_alike(t: &Stage, type_name: &str, written: impl Iterator<Item = String>, printed: &[String]) {
    let columns: Vec<(String, String)> = written.enumerate().map(|(n, float)| (format!("c{n}"), float.replace('e', "E"))).collect();
    let definition: Vec<String> = columns.iter().map(|(name, _)| format!("{name} {type_name}")).collect();
    t.sql(&format!("create table written ({})", definition.join(", "))).await;
    let made = made_of(t, &columns).await;
    // The few that printers of floats do not agree on are unknown.
    let wrong: Vec<_> =
        printed.iter().zip(&made).filter(|(printed, made)| made.as_ref().is_some_and(|made| made != *printed)).collect();
    let unknown = made.iter().filter(|made| made.is_none()).count();
    assert!(unknown <= 20, "{unknown} are unknown");
    assert!(wrong.is_empty(), "{} of {}: {:?}", wrong.len(), printed.len(), &wrong[..wrong.len().min(5)]);
}

#[tokio::test]
async fn floats_are_printed_as_postgres_prints_them() {
    let (t, floats) = (Stage::new().await, floats());
    let printed = sqlx::query_scalar("select f::text from unnest($1::float8[]) f").bind(&floats).fetch_all(t.pool());
    let printed: Vec<String> = printed.await.expect("texts");
    assert_printed_alike(&t, "float8", floats.iter().map(|float| format!("{float:e}")), &printed).await;
}

#[tokio::test]
async fn single_floats_are_printed_as_postgres_prints_them() {
    let (t, floats) = (Stage::new().await, floats().into_iter().map(|float| f32::from_bits((float.to_bits() >> 32) as u32)));
    let floats: Vec<f32> = floats.filter(|float| float.is_finite()).chain([1e5, 999_999.0, 1e6, 1e-4, 1e-5]).collect();
    let printed = sqlx::query_scalar("select f::text from unnest($1::float4[]) f").bind(&floats).fetch_all(t.pool());
    let printed: Vec<String> = printed.await.expect("texts");
    assert_printed_alike(&t, "float4", floats.iter().map(|float| format!("{float:e}")), &printed).await;
}

#[tokio::test]
async fn moments_are_printed_as_postgres_prints_them() {
    let t = Stage::new().await;
    t.sql("create table written (a date, b timestamp, c timestamp(3), d time, e timestamptz, f timestamptz, g char(4), h bytea)")
        .await;
    let columns = [
        ("a", "20455"),
        ("b", "1767323045678900"),
        ("c", "1767323045120"),
        ("d", "11045678901"),
        ("e", r#""2026-01-02T01:04:05.500000Z""#),
        ("f", r#""-0043-03-15T00:00:00.000000Z""#),
        ("g", r#""ü""#),
        ("h", r#""3q2+7w==""#),
    ]
    .map(|(name, json)| (name.to_owned(), json.to_owned()));
    let made: Vec<String> = made_of(&t, &columns).await.into_iter().map(|text| text.expect("known")).collect();
    // Written as they are, they are read back as the same texts.
    let quoted: Vec<String> = made.iter().map(|text| format!("'{text}'")).collect();
    t.sql(&format!("insert into written values ({})", quoted.join(", "))).await;
    let mut connection = connection(&t).await;
    sqlx::raw_sql("set timezone = 'UTC'; set datestyle = 'ISO'").execute(&mut connection).await.expect("settings");
    let row = sqlx::raw_sql("select * from written").fetch_one(&mut connection).await.expect("the row");
    let printed: Vec<String> =
        (0..made.len()).map(|n| sqlx::Row::try_get_raw(&row, n).expect("a column").as_str().expect("text").to_owned()).collect();
    assert_eq!(made, printed);
}

#[tokio::test]
async fn a_table_is_described_by_its_key_its_identity_and_its_columns() {
    let t = Stage::new().await;
    t.sql(
        "create domain sku as varchar(20) check (value <> ''); create type mood as enum ('ok', 'bad');
         create table things (b int not null, a sku, m mood, twice int generated always as (b * 2) stored, gone int, primary key (b));
         alter table things drop column gone; alter table things replica identity full;
         create table plain (id int primary key, note text)",
    )
    .await;
    let relations = Relations::load(&mut connection(&t).await).await.expect("the tables");
    let things = relations.get("public", "things").expect("the table").relation();
    let columns: Vec<_> = things.columns.iter().map(|column| (&*column.name, column.in_identity)).collect();
    assert_eq!(columns, [("b", true), ("a", true), ("m", true)]);
    assert_eq!(*relations.key_columns(things), [0]);
    let plain = relations.get("public", "plain").expect("the table").relation();
    assert_eq!(plain.columns.iter().map(|column| column.in_identity).collect::<Vec<_>>(), [true, false]);
    assert!(relations.get("other", "things").is_none() && relations.get("pg_catalog", "pg_class").is_none());

    // What did not change stays the same object.
    let mut renewed = Relations::load(&mut connection(&t).await).await.expect("the tables");
    let before = renewed.get("public", "things").expect("the table").clone();
    t.sql("alter table plain add column more int").await;
    renewed.renew(Relations::load(&mut connection(&t).await).await.expect("the tables"));
    assert!(std::sync::Arc::ptr_eq(&before, renewed.get("public", "things").expect("the table")));
    assert_eq!(renewed.get("public", "plain").expect("the table").relation().columns.len(), 3);
}
