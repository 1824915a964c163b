//! Bad input: refused with the field, its value and what to send instead.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api};

const ID: &str = "0190b5a0-0000-7000-8000-000000000000";
const FIELDS: &str = r#""sku":"A-1","name":"Amplifier","category":"audio","price":10"#;

/// The one fault of a problem, which has to say what to do.
fn fault(problem: &Value) -> &Value {
    let faults = problem["errors"].as_array().expect("errors");
    assert_eq!(faults.len(), 1, "{problem}");
    assert!(faults[0]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{problem}");
    assert!(faults[0]["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{problem}");
    &faults[0]
}

#[tokio::test]
async fn a_body_that_is_no_product_is_refused_by_field_and_value() {
    let api = Api::alone().await;
    let long = "x".repeat(201);
    // The body, the field as a JSON pointer, the value as it is shown, a part of the detail.
    let cases: &[(&str, &str, Option<&str>, &str)] = &[
        (r#"{"name":"a","category":"c","price":1}"#, "/sku", None, "missing"),
        (r#"{"sku":"s","category":"c","price":1}"#, "/name", None, "missing"),
        (r#"{"sku":"s","name":"a","price":1}"#, "/category", None, "missing"),
        (r#"{"sku":"s","name":"a","category":"c"}"#, "/price", None, "missing"),
        (r#"{FIELDS,"colour":"red"}"#, "/colour", Some("\"red\""), "No product has a field"),
        (r#"{FIELDS,"a/b~c":1}"#, "/a~1b~0c", Some("1"), "No product has a field"),
        (r#"{FIELDS,"id":"x"}"#, "/id", Some("\"x\""), "kept by the catalogue"),
        (r#"{FIELDS,"created_at":"x"}"#, "/created_at", Some("\"x\""), "kept by the catalogue"),
        (r#"{FIELDS,"price":11}"#, "/price", Some("11"), "twice"),
        (r#"{"sku":7,"name":"a","category":"c","price":1}"#, "/sku", Some("7"), "has to be a string"),
        (r#"{"sku":"","name":"a","category":"c","price":1}"#, "/sku", Some("\"\""), "blank"),
        (r#"{"sku":"s","name":"  ","category":"c","price":1}"#, "/name", Some("\"  \""), "blank"),
        (r#"{"sku":"s","name":"LONG","category":"c","price":1}"#, "/name", None, "201 characters"),
        (r#"{"sku":"s\u0000","name":"a","category":"c","price":1}"#, "/sku", Some(r#""s\u0000""#), "U+0000"),
        (r#"{"sku":"\ud800","name":"a","category":"c","price":1}"#, "/sku", Some(r#""\ud800""#), "no character"),
        (r#"{"sku":null,"name":"a","category":"c","price":1}"#, "/sku", Some("null"), "null"),
        (r#"{"sku":"s","name":"a","category":"c","price":-1}"#, "/price", Some("-1"), "below 0"),
        (r#"{"sku":"s","name":"a","category":"c","price":"-0.01"}"#, "/price", Some("\"-0.01\""), "below 0"),
        (r#"{"sku":"s","name":"a","category":"c","price":1.005}"#, "/price", Some("1.005"), "two decimals"),
        (r#"{"sku":"s","name":"a","category":"c","price":10000000000}"#, "/price", Some("10000000000"), "above"),
        (r#"{"sku":"s","name":"a","category":"c","price":1e400}"#, "/price", Some("1e400"), "exponent"),
        (r#"{"sku":"s","name":"a","category":"c","price":"NaN"}"#, "/price", Some("\"NaN\""), "not a decimal number"),
        (r#"{"sku":"s","name":"a","category":"c","price":[1]}"#, "/price", Some("[1]"), "an array"),
        (r#"{FIELDS,"stock_quantity":-1}"#, "/stock_quantity", Some("-1"), "below 0"),
        (r#"{FIELDS,"stock_quantity":1.5}"#, "/stock_quantity", Some("1.5"), "whole number"),
        (r#"{FIELDS,"stock_quantity":2147483648}"#, "/stock_quantity", Some("2147483648"), "above"),
        (r#"{FIELDS,"stock_quantity":"1"}"#, "/stock_quantity", Some("\"1\""), "has to be a number"),
        (r#"{FIELDS,"attributes":[]}"#, "/attributes", Some("[]"), "has to be an object"),
        (r#"{FIELDS,"attributes":{"a":"\u0000"}}"#, "/attributes", Some(r#"{"a":"\u0000"}"#), "U+0000"),
        (r#"{FIELDS,"attributes":{"a":1e999}}"#, "/attributes", Some(r#"{"a":1e999}"#), "out of range"),
        (r#"{FIELDS,"description":5}"#, "/description", Some("5"), "has to be a string"),
        ("[1,2]", "", Some("[1,2]"), "not an object"),
        ("\"text\"", "", Some("\"text\""), "not an object"),
    ];
    for (body, pointer, value, detail) in cases {
        let body = body.replace("FIELDS", FIELDS).replace("LONG", &long);
        for (method, path) in [(Method::POST, "/products".to_owned()), (Method::PUT, format!("/products/{ID}"))] {
            let problem = api.send(method, &path, &body).await.problem(422, "invalid-product");
            let fault = fault(&problem);
            assert_eq!(fault["pointer"], *pointer, "{body}: {problem}");
            assert!(fault["detail"].as_str().is_some_and(|text| text.contains(detail)), "{body}: {problem}");
            if let Some(value) = value {
                assert_eq!(fault["value"], *value, "{body}: {problem}");
            }
        }
    }
}

#[tokio::test]
async fn every_fault_of_a_body_is_told_at_once() {
    let api = Api::alone().await;
    let problem = api.send(Method::POST, "/products", r#"{"sku":1,"price":-1,"x":0}"#).await.problem(422, "invalid-product");
    let pointers: Vec<_> = problem["errors"].as_array().expect("errors").iter().map(|fault| fault["pointer"].clone()).collect();
    assert_eq!(json!(pointers), json!(["/x", "/sku", "/name", "/category", "/price"]));
}

#[tokio::test]
async fn a_patch_may_leave_out_any_field_and_remove_only_what_may_be_absent() {
    let api = Api::alone().await;
    let path = format!("/products/{ID}");
    let patch = async |body: &str| {
        let request = api.request(Method::PATCH, &path).header("content-type", "application/merge-patch+json");
        Answer::of(request.body(body.to_owned())).await
    };
    for field in ["sku", "name", "category", "price", "stock_quantity", "attributes"] {
        let problem = patch(&format!(r#"{{"{field}":null}}"#)).await.problem(422, "invalid-product");
        assert_eq!(fault(&problem)["pointer"], format!("/{field}"));
        assert_eq!(fault(&problem)["value"], "null");
    }
    // These reach the database, which is not there.
    for taken in ["{}", r#"{"description":null}"#, r#"{"price":"1.50"}"#, r#"{"attributes":{"a":null}}"#] {
        patch(taken).await.problem(503, "database-unavailable");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_where_it_breaks() {
    let api = Api::alone().await;
    for (body, detail) in [
        (&b""[..], "EOF"),
        (b"{", "EOF"),
        (b"{\"sku\":}", "column 8"),
        (b"{\"sku\":\"a\",}", "trailing comma"),
        (b"{} {}", "trailing characters"),
        (b"\xff\xfe", "not UTF-8 from byte 0"),
        (b"{\"sku\":\"\xc3(\"}", "not UTF-8 from byte 8"),
    ] {
        let request = api.request(Method::POST, "/products").header("content-type", "application/json").body(body);
        let problem = Answer::of(request).await.problem(400, "malformed-body");
        assert_eq!(fault(&problem)["pointer"], "", "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(detail)), "{detail}: {problem}");
    }
}

#[tokio::test]
async fn a_long_value_is_cut_where_it_is_shown() {
    let api = Api::alone().await;
    let body = format!(r#"{{{FIELDS},"x":"{}"}}"#, "ü".repeat(500));
    let problem = api.send(Method::POST, "/products", &body).await.problem(422, "invalid-product");
    let shown = fault(&problem)["value"].as_str().expect("a value").to_owned();
    assert_eq!((shown.chars().count(), shown.ends_with('…')), (61, true), "{shown}");
}

#[tokio::test]
async fn a_parameter_that_cannot_be_read_is_named() {
    let api = Api::alone().await;
    let many = vec![ID; 101].join(",");
    let cases = [
        ("/products?limit=0", "limit", "0"),
        ("/products?limit=101", "limit", "101"),
        ("/products?limit=+5", "limit", " 5"),
        ("/products?limit=ten", "limit", "ten"),
        ("/products?limit=", "limit", ""),
        ("/products?limit=5&limit=6", "limit", "6"),
        ("/products?sort=cheap", "sort", "cheap"),
        ("/products?cursor=xyz", "cursor", "xyz"),
        ("/products?sort=price&cursor=00190b5a00000700080000000000000000", "cursor", "00190b5a00000700080000000000000000"),
        ("/products?category=", "category", ""),
        ("/products?category=%20", "category", " "),
        ("/products?category=a%00", "category", "a\0"),
        ("/products?page=2", "page", "2"),
        ("/products?explain=yes", "explain", "yes"),
        ("/products/batch", "ids", "(none)"),
        ("/products/batch?ids=", "ids", ""),
        ("/products/batch?ids=1,2", "ids", "1,2"),
        (&format!("/products/batch?ids={ID},"), "ids", ""),
        (&format!("/products/batch?ids={many}"), "ids", ""),
        (&format!("/products/{ID}?fields=name"), "fields", "name"),
        ("/products/42", "id", "42"),
        ("/products/0190b5a00000700080000000000000ff", "id", "0190b5a00000700080000000000000ff"),
        ("/products/0190b5a0-0000-7000-8000-00000000000g", "id", "0190b5a0-0000-7000-8000-00000000000g"),
    ];
    for (path, parameter, value) in cases {
        let problem = api.get(path).await.problem(400, "bad-request");
        let fault = fault(&problem);
        assert_eq!(fault["parameter"], parameter, "{path}: {problem}");
        match value {
            "(none)" => assert!(fault.get("value").is_none(), "{path}: {problem}"),
            "" => {}
            value => assert_eq!(fault["value"], value, "{path}: {problem}"),
        }
    }
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let problem = api.send(method.clone(), "/products/42", "{}").await.problem(400, "bad-request");
        assert_eq!(fault(&problem)["parameter"], "id", "{method}");
    }
    let problem = api.send(Method::POST, "/products?dry=1", "{}").await.problem(400, "bad-request");
    assert_eq!(fault(&problem)["parameter"], "dry");
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    let api = Api::alone().await;
    let token = "7412345678901234567/1/1763719200000000:841:0/16B3748";
    for wrong in ["x", "", "1:2:3", &token.replace("841", "0841"), &format!("{token}:1")] {
        for path in [format!("/products/{ID}"), "/products".to_owned(), format!("/products/batch?ids={ID}")] {
            let problem = api.get_after(wrong, &path).await.problem(400, "bad-request");
            assert_eq!(fault(&problem)["header"], "Freshline-Token", "{wrong}");
        }
    }
    let twice =
        api.request(Method::GET, &format!("/products/{ID}")).header("freshline-token", token).header("freshline-token", token);
    Answer::of(twice).await.problem(400, "bad-request");
    // A good one is taken, and then the database is asked.
    api.get_after(token, &format!("/products/{ID}")).await.problem(503, "database-unavailable");
}
