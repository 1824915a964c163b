//! A row's JSON from a query and from the output functions that the change stream prints with: the same bytes.

use freshline::{change::Datum, row_json::RowEncoder};
use sqlx::{Column, Row, TypeInfo, ValueRef, postgres::PgTypeInfo};
use stage::Stage;

/// A value of each type that a table is likely to have, and the awkward ones.
const VALUES: &str = r#"
    1::int2, -2::int4, 9223372036854775807::int8, 4294967295::oid, 12.50::numeric, 'NaN'::numeric, 1e20::float8, 0.1::float4,
    '-Infinity'::float8, true, false, null::text, 'a"b\c'::text, E'tab\tline\n'::text, 'x'::char(5), ''::char(3), 'é'::varchar(3),
    '{"b": [1, 2.50, "\u00fc"], "a": null}'::jsonb, '{"b" :1,  "b":2}'::json, '2024-02-29 12:00:00.120+00'::timestamptz,
    '0044-03-15 12:00:00+00 BC'::timestamptz, 'infinity'::timestamptz, '2024-02-29 12:00:00'::timestamp, '2024-02-29'::date,
    '12:00'::time, '1 day 2 hours'::interval, '\xdeadbeef'::bytea, '0190a0b0-0000-7000-8000-000000000001'::uuid, '{1,null,3}'::int4[],
    '{t,f}'::bool[], '10.0.0.1'::inet, '10.0.0.0/8'::inet, '::1'::inet, '10.0.0.0/8'::cidr, '[1,5)'::int4range, '(1,2)'::point,
    'B'::"char", 'public'::name, B'101'::bit(3), '08:00:2b:01:02:03'::macaddr"#;

fn encode(types: &[PgTypeInfo], values: &[Option<String>]) -> String {
    let names: Vec<String> = (0..types.len()).map(|n| format!("c{n}")).collect();
    let columns = names.iter().zip(types).map(|(name, kind)| (name.as_str(), kind.oid().map_or(0, |oid| oid.0)));
    let mut out = Vec::new();
    let data = values.iter().map(|value| value.as_deref().map_or(Datum::Null, Datum::Text));
    RowEncoder::new(columns).push(&mut out, data).expect("a whole row");
    String::from_utf8(out).expect("UTF-8")
}

/// What a statement's one row has as text; in the simple protocol every value is what its output function prints.
async fn texts(connection: &mut sqlx::PgConnection, sql: String) -> Vec<Option<String>> {
    let row = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_one(connection).await.expect("a row");
    let text = |n: usize| {
        let value = row.try_get_raw(n).expect("a column");
        (!value.is_null()).then(|| value.as_str().expect("text").to_owned())
    };
    (0..row.len()).map(text).collect()
}

#[tokio::test]
async fn a_query_and_the_stream_make_the_same_bytes() {
    let stage = Stage::new().await;
    let mut connection = stage.pool().acquire().await.expect("a connection");
    let row = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("select {VALUES}"))).fetch_one(&mut *connection).await.expect("a row");
    let types: Vec<PgTypeInfo> = row.columns().iter().map(|column| column.type_info().clone()).collect();
    let names: Vec<String> = (0..types.len()).map(|n| format!("c{n}")).collect();

    let casts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
    let query = format!("select {} from (select {VALUES}) t ({})", casts.join(", "), names.join(", "));
    let queried = encode(&types, &texts(&mut connection, query).await);

    for zone in ["UTC", "Asia/Kolkata", "America/St_Johns"] {
        texts(&mut connection, format!("set timezone = '{zone}'; select 1")).await;
        let streamed = encode(&types, &texts(&mut connection, format!("select {VALUES}")).await);
        // Only years before 1 and after 9999 keep the offset that they were printed with.
        let without_bc = |json: &str| json.split(',').filter(|part| !part.contains("BC")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            without_bc(&streamed),
            without_bc(&queried),
            "printed in {zone}, types {:?}",
            types.iter().map(TypeInfo::name).collect::<Vec<_>>()
        );
    }
    let value: serde_json::Value = serde_json::from_str(&queried).expect("JSON");
    assert_eq!(value["c19"], "2024-02-29T12:00:00.12Z");
    assert_eq!(value["c14"], "x");
}
