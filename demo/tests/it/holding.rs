//! Commits held in the gap: nobody else waits for them, and they are let go whatever happens to who holds them.

use std::time::Duration;

use serde_json::{Value, json};
use stage::{Login, Stage, servers::Shutdown, until};

use crate::house::{House, ID, OTHER, problem};

#[tokio::test]
async fn a_held_commit_is_invisible_for_as_long_and_nobody_else_waits() {
    let house = House::new().await;
    let asked = house.hold().await;
    house.stage.sql(&format!("update products set price = 21 where id = '{OTHER}'")).await;
    let price = format!("select price::text from products where id = '{ID}'");
    assert_eq!(house.stage.value::<String>(&price).await, "10.00");
    assert_eq!(house.held().await, 1, "another commit came and went meanwhile");
    let second = house.post("/sql", &json!({"id": OTHER, "price": "22.00", "hold_ms": 100})).await;
    problem(second, 409, "already-running").await;
    let changed: Value = asked.await.expect("no panic").expect("an answer").json().await.expect("JSON");
    assert!(changed["took_ms"].as_f64().is_some_and(|took| took >= 3000.0), "{changed}");
    assert_eq!(house.stage.value::<String>(&price).await, "11.00");
    house.clean().await;
}

#[tokio::test]
async fn a_commit_held_by_one_that_was_killed_is_let_go_by_the_next() {
    let mut house = House::new().await;
    let asked = house.hold().await;
    house.demo.lock().await.kill().await.expect("it is killed");
    assert!(asked.await.expect("no panic").is_err(), "nobody answers");
    assert_eq!(house.held().await, 1, "nobody has let go");
    // Until then the whole server goes on as if nothing were held.
    house.stage.sql(&format!("update products set price = 21 where id = '{OTHER}'")).await;
    // Also where it is started anew, with the marker in its settings.
    house.stage.postgres().restart(Shutdown::Fast).await.expect("it starts again");
    house.stage.sql(&format!("update products set price = 22 where id = '{OTHER}'")).await;
    house.restart().await;
    house.clean().await;
    until("what was held is served", async || house.read(ID).await.0 == "11.00").await;
}

#[tokio::test]
async fn one_that_is_asked_to_end_lets_go_first() {
    let house = House::new().await;
    let asked = house.hold().await;
    let ended = house.demo.lock().await.stop(Duration::from_secs(20)).await.expect("it ends");
    assert!(ended.success(), "{ended}");
    house.clean().await;
    drop(asked);
}

#[tokio::test]
async fn what_somebody_else_has_set_is_left_alone_and_said_to_be_in_the_way() {
    let stage = Stage::own().await;
    stage.sql("alter system set synchronous_commit = off").await;
    let url = stage.database_url(Login::Superuser);
    let house = House::on(stage, &url).await;
    let told: Value = house.client.get(house.url("/")).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!((&told["holds_commits"], &told["sql"], &told["usual"]), (&json!(false), &json!(true), &json!(true)));
    assert!(told["why_not"].as_str().is_some_and(|why| why.contains("synchronous_commit to off")), "{told}");
    let refused = house.post("/sql", &json!({"id": ID, "price": "11.00", "hold_ms": 100})).await;
    problem(refused, 409, "commits-not-held").await;
    let left = "select setting from pg_file_settings where name = 'synchronous_commit'";
    assert_eq!(house.stage.value::<String>(left).await, "off");
}
