//! `status`: what is told of a cache that stands, and of one that does not.

use std::time::Duration;

use stage::{Login, Process};

use crate::house::{House, ended, launch, run, status};

#[tokio::test]
async fn it_tells_where_the_cache_stands() {
    let house = House::new().await;
    let ran = status(&house.stage).await;
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let told = ran.json();
    assert_eq!((told["source"].as_str(), told["cache"]["open"].as_u64()), (Some("postgres"), Some(1)), "{told}");
    assert_eq!(told["cache"]["history"], told["postgres"]["history"], "{told}");
    assert!(told["lag_bytes"].is_u64() && told["cache"]["generation"].is_string(), "{told}");
    let slot = told["slots"].as_array().expect("slots").iter().find(|slot| slot["slot"] == house.stage.name()).expect("its slot");
    assert!(slot["active_pid"].is_i64() && slot["retained_bytes"].is_i64(), "{slot}");
}

#[tokio::test]
async fn a_process_is_registered_while_it_runs() {
    let mut house = House::new().await;
    let api = house.stage.launch("freshline-api", Login::Api).variable("FRESHLINE_API_ADDRESS", "127.0.0.1:0");
    let mut api = Process::start(api).expect("the API starts");
    let roles = async || -> Vec<(String, u64)> {
        let told = status(&house.stage).await.json();
        let processes = told["redis"]["processes"].as_array().cloned().unwrap_or_default();
        let role = |process: &serde_json::Value| Some((process["role"].as_str()?.to_owned(), process["pid"].as_u64()?));
        processes.iter().filter_map(role).collect()
    };
    let both = [("api".to_owned(), u64::from(api.pid())), ("invalidator".to_owned(), u64::from(house.invalidator.pid()))];
    house.stage.until("both are registered", async || roles().await == both).await;
    assert!(api.stop(Duration::from_secs(20)).await.expect("it ends").success());
    assert_eq!(roles().await, both[1..], "one that ended in order is not there any more");
    house.invalidator.stop(Duration::from_secs(20)).await.expect("it ends");
    assert_eq!(status(&house.stage).await.json()["redis"]["processes"], serde_json::json!([]));
}

#[tokio::test]
async fn what_is_away_is_named_with_its_remedy_and_the_rest_is_shown() {
    let house = House::new().await;
    let nowhere = "redis://127.0.0.1:1/";
    let ran = ended(launch(&house.stage, &["status"]).variable("FRESHLINE_REDIS_URL", nowhere)).await;
    assert_eq!(ran.code, Some(2), "{}", ran.text);
    for said in ["Redis at", "127.0.0.1:1", "FRESHLINE_REDIS_URL", "slots", house.stage.name()] {
        assert!(ran.text.contains(said), "not said: {said}\n{}", ran.text);
    }
}

#[tokio::test]
async fn it_is_for_people_without_colours_where_nobody_sees_them() {
    let house = House::new().await;
    let ran = run(&house.stage, &["status"]).await;
    for said in ["source", "generation", "position", "freshness", "fences", "invalidator"] {
        assert!(ran.text.contains(said), "not said: {said}\n{}", ran.text);
    }
    assert!(!ran.text.contains('\u{1b}'), "{}", ran.text);
}
