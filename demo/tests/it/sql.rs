//! `/sql`: a row changed by plain SQL, and Freshline none the wiser until the change stream tells it.

use serde_json::{Value, json};
use stage::until;

use crate::house::{House, ID, OTHER, problem};

#[tokio::test]
async fn a_row_changed_by_plain_sql_is_served_anew_by_freshline() {
    let house = House::new().await;
    assert_eq!(house.read(ID).await.0, "10.00");
    let answer = house.post("/sql", &json!({"id": ID, "price": "12.5", "stock_quantity": 7})).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let changed: Value = answer.json().await.expect("JSON");
    assert_eq!(changed["statement"], format!("update products set price = 12.50, stock_quantity = 7 where id = '{ID}'"));
    let (began, committed) = (changed["began_us"].as_u64().expect("a time"), changed["committed_us"].as_u64().expect("a time"));
    assert!(began <= committed && changed["took_ms"].is_f64() && changed["process"].is_string(), "{changed}");
    until("the API serves it", async || house.read(ID).await.0 == "12.50").await;
    let xid: String = house.stage.value(&format!("select xmin::text from products where id = '{ID}'")).await;
    assert_eq!(changed["xid"], xid);
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_by_name_and_changes_nothing() {
    let house = House::new().await;
    for (body, status, kind, told) in [
        (json!({"price": "1.00"}), 422, "invalid-body", "id is missing"),
        (json!({"id": "x", "price": "1.00"}), 422, "invalid-body", "is not the id of a product"),
        (json!({"id": ID}), 422, "invalid-body", "Nothing is to be changed"),
        (json!({"id": ID, "price": 1}), 422, "invalid-body", "price is no text"),
        (json!({"id": ID, "price": "1.001"}), 422, "invalid-body", "at most two decimals"),
        (json!({"id": ID, "price": "1'; drop table products"}), 422, "invalid-body", "a decimal number"),
        (json!({"id": ID, "stock_quantity": -1}), 422, "invalid-body", "stock_quantity is no whole number"),
        (json!({"id": ID, "price": "1.00", "hold_ms": 3001}), 422, "invalid-body", "from 0 to 3000"),
        (json!({"id": ID, "price": "1.00", "name": "x"}), 422, "invalid-body", "no member name"),
        (json!([]), 422, "invalid-body", "not an object"),
        (json!({"id": ID.replace('1', "2"), "price": "1.00"}), 404, "no-such-product", "No product has the id"),
        (json!({"id": "x".repeat(5000), "price": "1.00"}), 413, "body-too-large", "4096"),
    ] {
        let problem = problem(house.post("/sql", &body).await, status, kind).await;
        assert!(problem.to_string().contains(told), "{body}: {problem}");
    }
    let malformed = house.client.post(house.url("/sql")).header("content-type", "application/json").body("{").send().await;
    problem(malformed.expect("an answer"), 400, "malformed-body").await;
    let plain = house.client.post(house.url("/sql")).header("content-type", "text/plain").body("{}").send().await;
    problem(plain.expect("an answer"), 415, "unsupported-media-type").await;
    let get = house.client.get(house.url("/sql")).send().await.expect("an answer");
    assert_eq!(problem(get, 405, "method-not-allowed").await["status"], 405);
    problem(house.client.get(house.url("/nothing")).send().await.expect("an answer"), 404, "no-such-route").await;
    assert_eq!((house.read(ID).await.0.as_str(), house.read(OTHER).await.0.as_str()), ("10.00", "20.00"));
}
