//! `/usual`: the usual way serves what Postgres has ceased to show, and Freshline does not.

use std::collections::BTreeMap;

use reqwest::Response;
use serde_json::{Value, json};
use stage::{Login, Stage};

use crate::house::{House, ID, problem};

/// All that was told, in order.
async fn told(answer: Response) -> Vec<Value> {
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/x-ndjson".parse().expect("a value"))
    );
    let text = answer.text().await.expect("a whole body");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|wrong| panic!("{wrong}: {line}"))).collect()
}

/// What an end has to say, counted from the reads.
fn counted(events: &[Value], way: &str) -> Value {
    let reads: Vec<&Value> = events.iter().filter(|event| event["event"] == "read" && event["way"] == way).collect();
    let stale: Vec<&&Value> = reads.iter().filter(|read| read["is_stale"] == true).collect();
    let longest = stale.iter().filter_map(|read| read["stale_ms"].as_f64()).fold(0.0, f64::max);
    json!({"reads": reads.len(), "stale": stale.len(), "longest_stale_ms": longest})
}

fn end(events: &[Value]) -> &Value {
    let end = events.last().expect("a line");
    assert_eq!(end["event"], "end", "{end}");
    end
}

#[tokio::test]
async fn with_a_held_commit_the_usual_way_serves_stale_values_and_freshline_none() {
    let house = House::new().await;
    let order = json!({"id": ID, "hold_ms": 1000, "reads_per_s": 100, "ttl_ms": 2000, "rounds": 2});
    let events = told(house.post("/usual", &order).await).await;
    let end = end(&events);
    assert_eq!((&end["usual"], &end["freshline"]), (&counted(&events, "usual"), &counted(&events, "freshline")));
    assert!(end["usual"]["stale"].as_u64().is_some_and(|stale| stale > 10), "{end}");
    assert_eq!(end["freshline"]["stale"], 0, "{end}");
    assert_eq!(end["usual"]["reads"], end["freshline"]["reads"], "the same reads at the same instants");
    let mut phases: BTreeMap<u64, Vec<(u64, &str)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["event"] == "phase") {
        let at = event["at_us"].as_u64().expect("a time");
        phases.entry(event["round"].as_u64().expect("a number")).or_default().push((at, event["phase"].as_str().expect("text")));
    }
    for (round, mut phases) in phases {
        phases.sort_unstable();
        let order: Vec<&str> = phases.iter().map(|(_, phase)| *phase).collect();
        assert_eq!(order, ["began", "committing", "streamed", "deleted", "visible", "round-over"], "round {round}");
        let at = |phase: &str| phases.iter().find(|(_, found)| *found == phase).expect("it was there").0;
        assert!(at("visible") - at("committing") >= 1_000_000, "round {round} was held: {phases:?}");
    }
    house.clean().await;
    let price = format!("select price::text from products where id = '{ID}'");
    assert_eq!(house.stage.value::<String>(&price).await, "10.00", "the price is what it was");
}

#[tokio::test]
async fn one_comparison_runs_at_a_time_and_one_that_is_left_is_cleaned_up_after() {
    let house = House::new().await;
    let order = json!({"id": ID, "hold_ms": 3000, "ttl_ms": 60_000});
    let mut first = house.post("/usual", &order).await;
    first.chunk().await.expect("it goes on").expect("it has begun");
    problem(house.post("/usual", &order).await, 409, "already-running").await;
    stage::until("the commit is held", async || house.held().await == 1).await;
    drop(first);
    house.clean().await;
    let after = json!({"id": ID, "hold_ms": 50, "ttl_ms": 100, "rounds": 1});
    stage::until("another may run", async || house.post("/usual", &after).await.status() == 200).await;
    house.clean().await;
}

#[tokio::test]
async fn without_a_superuser_many_changes_go_through_the_gap_as_it_is() {
    let stage = Stage::own().await;
    stage.sql("create role shopkeeper login replication password 'secret'").await;
    stage.sql("grant select, update on products to shopkeeper; grant usage on schema public, freshline to shopkeeper").await;
    let url = format!("postgres://shopkeeper:secret@127.0.0.1:{}/{}", stage.postgres().port(), stage.name());
    let house = House::on(stage, &url).await;
    let about: Value = house.client.get(house.url("/")).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(about["holds_commits"], false, "{about}");
    assert!(about["why_not"].as_str().is_some_and(|why| why.contains("shopkeeper is no superuser")), "{about}");
    let order = json!({"id": ID, "hold_ms": 300, "reads_per_s": 200, "ttl_ms": 100, "rounds": 3});
    let events = told(house.post("/usual", &order).await).await;
    let end = end(&events);
    assert_eq!((&end["usual"], &end["freshline"]), (&counted(&events, "usual"), &counted(&events, "freshline")));
    assert_eq!(events.iter().filter(|event| event["phase"] == "round-over").count(), 200);
    // A change takes its time to come through the stream, in either way. What Freshline does not do is to go back.
    let mut newest: (u64, f64) = (0, 0.0);
    for read in events.iter().filter(|event| event["way"] == "freshline") {
        let price: f64 = read["value"].as_str().and_then(|price| price.parse().ok()).expect("a price");
        assert!(price >= newest.1, "an older price came back after {newest:?}: {read}");
        newest = (read["round"].as_u64().expect("a number"), price);
    }
    assert_eq!(newest.1, 210.0);
    house.clean().await;
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_by_name() {
    let stage = Stage::new().await;
    let url = stage.database_url(Login::Superuser);
    let house = House::on(stage, &url).await;
    for (body, told) in [
        (json!({"hold_ms": 1}), "id is missing"),
        (json!({"id": ID, "hold_ms": 3001}), "hold_ms is no whole number from 0 to 3000"),
        (json!({"id": ID, "reads_per_s": 0}), "reads_per_s is no whole number from 1 to 200"),
        (json!({"id": ID, "ttl_ms": 99}), "ttl_ms is no whole number from 100 to 60000"),
        (json!({"id": ID, "rounds": 1.5}), "rounds is no whole number from 1 to 500"),
        (json!({"id": ID, "roundz": 1}), "no member roundz"),
    ] {
        let problem = problem(house.post("/usual", &body).await, 422, "invalid-body").await;
        assert!(problem.to_string().contains(told), "{body}: {problem}");
    }
    let nobody = json!({"id": ID.replace('1', "2")});
    problem(house.post("/usual", &nobody).await, 404, "no-such-product").await;
}
