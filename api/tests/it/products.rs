//! Products, on a real Postgres and Redis.
//!
//! Without an invalidator the cache is closed, so that reads come from Postgres; everything that is asserted here holds with one, too.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use stage::Stage;

use crate::support::{Answer, Api};

fn id(product: &Value) -> &str {
    product["id"].as_str().expect("an id")
}

fn skus(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().map(|item| item["sku"].as_str().expect("a sku")).collect()
}

#[tokio::test]
async fn a_product_is_made_read_replaced_patched_and_deleted() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    let body = r#"{"sku":"AMP-1","name":"Amplifier","description":"Loud.","category":"audio","price":"199.90",
                   "stock_quantity":3,"attributes":{"watts":50,"exact":0.10000000000000000000000000000000001}}"#;
    let made = api.send(Method::POST, "/products", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let product = made.json();
    let path = format!("/products/{}", id(&product));
    assert_eq!(made.header("location"), path);
    assert_eq!((&product["price"], &product["stock_quantity"]), (&json!("199.90"), &json!(3)));
    assert!(made.body.contains("0.10000000000000000000000000000000001"), "a number lost digits: {made:?}");

    let read = api.get_after(made.header("freshline-token"), &path).await;
    assert_eq!((read.status, &read.body), (StatusCode::OK, &made.body), "what is read is what the write answered, byte for byte");
    assert_eq!(read.header("etag"), made.header("etag"));
    assert_eq!(read.header("content-type"), "application/json");
    assert_eq!(read.header("cache-control"), "private, no-store");

    let whole = r#"{"sku":"AMP-1","name":"Amplifier II","category":"audio","price":250}"#;
    let replaced = api.send(Method::PUT, &path, whole).await;
    assert_eq!(replaced.status, StatusCode::OK, "{replaced:?}");
    let now = replaced.json();
    assert_eq!((&now["description"], &now["stock_quantity"], &now["attributes"]), (&Value::Null, &json!(0), &json!({})));
    assert_eq!((&now["price"], &now["created_at"]), (&json!("250.00"), &product["created_at"]));

    let patch = r#"{"description":"Louder.","attributes":{"watts":75,"colour":"black"}}"#;
    let patched = api.send(Method::PATCH, &path, patch).await;
    assert_eq!(patched.status, StatusCode::OK, "{patched:?}");
    let again = api.send(Method::PATCH, &path, r#"{"description":null,"attributes":{"watts":null}}"#).await.json();
    assert_eq!((&again["name"], &again["description"]), (&json!("Amplifier II"), &Value::Null));
    assert_eq!(again["attributes"], json!({"colour": "black"}), "a merge patch of the attributes");

    let deleted = Answer::of(api.request(Method::DELETE, &path)).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (StatusCode::NO_CONTENT, ""));
    let gone = api.get_after(deleted.header("freshline-token"), &path).await;
    gone.problem(404, "no-such-product");
    assert!(gone.header("cache-status").starts_with("Freshline; "), "a missing row is cached as a value like any other");
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        api.send(method, &path, whole).await.problem(404, "no-such-product");
    }
}

#[tokio::test]
async fn a_sku_belongs_to_one_product() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    api.made("A-1", "1").await;
    let other = api.made("B-1", "1").await;
    let body = r#"{"sku":"A-1","name":"x","category":"c","price":1}"#;
    let path = format!("/products/{}", id(&other));
    for (method, path, body) in
        [(Method::POST, "/products", body), (Method::PUT, &path, body), (Method::PATCH, &path, r#"{"sku":"A-1"}"#)]
    {
        let problem = api.send(method, path, body).await.problem(409, "duplicate-sku");
        assert_eq!((&problem["errors"][0]["pointer"], &problem["errors"][0]["value"]), (&json!("/sku"), &json!("A-1")));
    }
}

#[tokio::test]
async fn what_only_the_table_refuses_is_told_by_field() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    // A space to Postgres, and none to Rust; nested beyond what the merge's recursion can do is neither.
    stage
        .sql("alter table products drop constraint products_name_check, add constraint products_name_check check (name <> 'no')")
        .await;
    let problem = api.send(Method::POST, "/products", r#"{"sku":"s","name":"no","category":"c","price":1}"#).await;
    assert_eq!(problem.problem(422, "invalid-product")["errors"][0]["pointer"], "/name");
}

#[tokio::test]
async fn each_order_is_walked_from_end_to_end_without_a_gap() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    for (sku, price) in [("a", "3"), ("b", "1"), ("c", "2"), ("d", "2"), ("e", "5")] {
        api.made(sku, price).await;
    }
    for (sort, expected) in [
        ("newest", ["e", "d", "c", "b", "a"]),
        ("price", ["b", "c", "d", "a", "e"]),
        ("-price", ["e", "a", "d", "c", "b"]),
        ("name", ["a", "b", "c", "d", "e"]),
    ] {
        for category in ["", "&category=audio"] {
            let mut walked = Vec::new();
            let mut path = format!("/products?limit=2&sort={sort}{category}");
            loop {
                let answer = api.get(&path).await;
                assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                let page = answer.json();
                walked.extend(skus(&page).into_iter().map(str::to_owned));
                let Some(next) = page["next"].as_str() else { break };
                let link = answer.header("link");
                path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a link").to_owned();
                assert!(path.contains(&format!("cursor={next}")), "{path}");
            }
            assert_eq!(walked, expected, "{sort}{category}");
        }
    }
    let elsewhere = api.get("/products?category=no%26such%20%22thing").await.json();
    assert_eq!(elsewhere, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn a_category_keeps_its_name_in_the_link() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    stage.sql("insert into products (sku, name, category, price) select n::text, 'x', 'R&B / \"ü\" 100%', 1 from generate_series(1, 2) n").await;
    let first = api.get("/products?limit=1&category=R%26B+/+%22%C3%BC%22+100%25").await;
    let path = first.header("link").trim_start_matches('<').split('>').next().expect("a path").to_owned();
    let second = api.get(&path).await.json();
    assert_eq!(skus(&first.json()).len() + skus(&second).len(), 2);
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn a_batch_answers_in_order_and_tells_what_is_missing() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    let (a, b) = (api.made("a", "1").await, api.made("b", "2").await);
    let missing = "0190b5a0-0000-7000-8000-000000000000";
    let answer = api.get(&format!("/products/batch?ids={},{missing},{},{}", id(&b), id(&a), id(&b))).await;
    assert_eq!(answer.status, StatusCode::OK);
    let batch = answer.json();
    assert_eq!((skus(&batch), &batch["missing"]), (vec!["b", "a"], &json!([missing])));
    assert!(answer.headers.contains_key("etag") && answer.headers.contains_key("age"));
}

#[tokio::test]
async fn each_read_says_where_it_came_from() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    let product = api.made("a", "1").await;
    for path in [
        format!("/products/{}", id(&product)),
        "/products".to_owned(),
        format!("/products/batch?ids={}", id(&product)),
        "/products/0190b5a0-0000-7000-8000-000000000000".to_owned(),
    ] {
        let answer = api.get(&path).await;
        assert!(answer.header("cache-status").starts_with("Freshline; "), "{answer:?}");
        assert!(answer.header("age").parse::<u64>().is_ok(), "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-cache", "{answer:?}");
        assert_eq!(answer.headers.contains_key("etag"), answer.status == StatusCode::OK, "{answer:?}");
    }
}

#[tokio::test]
async fn a_caller_who_has_it_is_not_sent_it_again() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    let product = api.made("a", "1").await;
    for path in [format!("/products/{}", id(&product)), "/products".to_owned()] {
        let first = api.get(&path).await;
        let again = Answer::of(api.request(Method::GET, &path).header("if-none-match", first.header("etag"))).await;
        assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
        assert_eq!(again.header("etag"), first.header("etag"));
    }
}

#[tokio::test]
async fn a_read_is_explained_on_request() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    let product = api.made("a", "1").await;
    let path = format!("/products/{}", id(&product));
    let explained = api.get(&format!("{path}?explain=true")).await.json();
    assert_eq!(explained["product"], product);
    for part in ["origin", "rule", "took_us", "steps", "load", "control", "redis", "entry", "fill"] {
        assert!(explained["explanation"].get(part).is_some(), "{part}: {explained}");
    }
    assert_eq!(api.get(&format!("{path}?explain=false")).await.json(), product);

    let list = api.get("/products?explain=true").await.json();
    assert!(list["explanation"]["page"]["tags"].is_array() && list["explanation"]["items"][0]["rule"].is_string(), "{list}");
    let missing = api.get("/products/0190b5a0-0000-7000-8000-000000000000?explain=true").await;
    assert!(missing.problem(404, "no-such-product")["explanation"]["rule"].is_string(), "{missing:?}");
}

#[tokio::test]
async fn a_write_that_explains_itself_tells_its_transaction_and_its_times() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    let draft = r#"{"sku":"A-1","name":"One","category":"audio","price":1}"#;
    let created = api.send(Method::POST, "/products?explain=true", draft).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let path = created.header("location").to_owned();
    let told = created.json();
    assert_eq!(format!("/products/{}", told["product"]["id"].as_str().expect("an id")), path, "{told}");
    let explained = format!("{path}?explain=true");
    let patched = api.send(Method::PATCH, &explained, r#"{"price":2}"#).await;
    assert_eq!(patched.header("etag"), api.get(&path).await.header("etag"), "what the product is now");
    let replaced = api.send(Method::PUT, &explained, draft).await;
    let deleted = Answer::of(api.request(Method::DELETE, &explained)).await;
    let mut last = (0, 0);
    for answer in [&created, &patched, &replaced, &deleted] {
        let write = answer.json()["write"].clone();
        let number = |name: &str| write[name].as_i64().unwrap_or_else(|| panic!("no {name}: {answer:?}"));
        assert!(answer.header("freshline-token").contains(&format!(
            ":{}:{}",
            write["xid"],
            write["end"].as_str().expect("an end")
        )));
        let (xid, began, committed) = (number("xid"), number("began_us"), number("committed_us"));
        assert!(xid > last.0 && began >= last.1 && committed >= began, "{write}");
        assert!((write["took_ms"].as_f64().expect("a time") - (committed - began) as f64 / 1_000.0).abs() < 0.01, "{write}");
        assert!(write["process"].is_string(), "{write}");
        last = (xid, committed);
    }
    assert_eq!((deleted.status, deleted.json().get("product")), (StatusCode::OK, None));
    api.send(Method::POST, "/products?explain=1", draft).await.problem(400, "bad-request");
    api.send(Method::POST, "/products?why=true", draft).await.problem(400, "bad-request");
}
