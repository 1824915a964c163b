//! Every statement that feeds the cache walks along an index, whatever the planner knows of its parameters.

use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};
use stage::Stage;
use uuid::Uuid;

/// The statements of the library as they were compiled: text and parameter types.
fn statements() -> Vec<(String, Vec<String>)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../.sqlx");
    let files = std::fs::read_dir(directory).expect("the compiled statements");
    let statement = |file: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a statement");
        let statement: Value = serde_json::from_str(&text).expect("JSON");
        let types = statement["describe"]["parameters"]["Left"].as_array().cloned().unwrap_or_default();
        // An array of uuids is {"Array": …} or "UuidArray"; a scalar is its name.
        let types = types.iter().map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)).collect();
        (statement["query"].as_str().expect("its text").to_owned(), types)
    };
    files.map(statement).collect()
}

/// A statement that feeds the cache, the index it has to use, and a value in the middle of the table for each parameter.
fn case(statement: &str, types: &[String], category: &str, middle: Uuid) -> (&'static str, Vec<String>) {
    let has = |part: &str| statement.contains(part);
    let indexes = [
        ("(category, id)", "products_category_id"),
        ("(price, id)", "products_price_id"),
        ("(category, price, id)", "products_category_price_id"),
        ("(name, id)", "products_name_id"),
        ("(category, name, id)", "products_category_name_id"),
    ];
    let index = indexes.into_iter().find(|(columns, _)| has(columns)).map_or("products_pkey", |(_, index)| index);
    let value = |(place, name): (usize, &String)| match name.as_str() {
        "Uuid" => format!("'{middle}'"),
        "Int8" => "21".into(),
        // The category is the last parameter, wherever it is one.
        "Text" if has("(category, ") && place + 1 == types.len() => format!("'{category}'"),
        "Text" if has("price, id)") => "'100'".into(),
        "Text" => "'Dunmore'".into(),
        _ => format!("array['{middle}', '{middle}']::uuid[]"),
    };
    (index, types.iter().enumerate().map(value).collect())
}

async fn plan(connection: &mut PgConnection, mode: &str, statement: &str, values: &[String]) -> Value {
    let explain = format!(
        "set plan_cache_mode = {mode}; deallocate all; prepare asked as {statement}; explain (analyze, format json) execute asked ({})",
        values.join(", ")
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(connection).await.expect("a plan");
    let plan = rows.last().expect("a plan").try_get_raw(0).expect("a column");
    serde_json::from_str(plan.as_str().expect("text")).expect("JSON")
}

/// Every node of a plan.
fn nodes(plan: &Value) -> Vec<&Value> {
    let below = plan["Plans"].as_array().into_iter().flatten().flat_map(nodes);
    std::iter::once(plan).chain(below).collect()
}

/// All of the table is read by this index, or by any: at most a page and one row more, and nothing is thrown away on the way.
fn check(plan: &Value, index: Option<&str>) -> Result<(), String> {
    let nodes = nodes(&plan[0]["Plan"]);
    let scans: Vec<_> = nodes.iter().filter(|node| node["Relation Name"] == "products").collect();
    let indexed = |scan: &&&Value| index.map_or(scan["Index Name"].is_string(), |index| scan["Index Name"] == index);
    if scans.is_empty() || !scans.iter().all(indexed) {
        return Err(format!("not by {}", index.unwrap_or("an index")));
    }
    let rows = |scan: &&Value| {
        scan["Actual Rows"].as_f64().unwrap_or(f64::MAX) + scan["Rows Removed by Filter"].as_f64().unwrap_or_default()
    };
    match scans.into_iter().map(rows).sum::<f64>() {
        few if few <= 21.0 => Ok(()),
        many => Err(format!("{many} rows for a page of 20")),
    }
}

#[tokio::test]
async fn statements_that_feed_the_cache_use_their_index() {
    let stage = Stage::new().await;
    let mut connection = stage.postgres().connect(stage.name()).await.expect("a connection");
    freshline::catalog::generate(&mut connection, 20_000, 1, |_| {}).await.expect("a large table");
    let middle = stage.value("select id from products order by id offset 10000 limit 1").await;
    let feeding: Vec<_> = statements().into_iter().filter(|(statement, _)| statement.contains("pg_current_snapshot()")).collect();
    assert_eq!(feeding.len(), 11, "one, many, the categories, and four orders with and without a category");
    for (statement, types) in feeding {
        // One with many products, one with none. For that one an index without the category would be walked to its end; of those with
        // it any will do.
        for (category, any) in [("audio", false), ("none such", true)] {
            let (index, values) = case(&statement, &types, category, middle);
            // The categories are walked along by whichever index begins with them.
            let index = (!any && !statement.starts_with("with recursive")).then_some(index);
            for mode in ["force_custom_plan", "force_generic_plan"] {
                let plan = plan(&mut connection, mode, &statement, &values).await;
                check(&plan, index).unwrap_or_else(|wrong| panic!("{mode}, {category}: {wrong}:\n{statement}\n{plan:#}"));
            }
        }
    }
    connection.close().await.expect("closed");
}
