//! Who may ask: this machine alone, and no page of anybody else.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use stage::{Login, Process, Stage, WAIT_MAX};

use crate::house::{House, ID, launch, problem};

#[tokio::test]
async fn pages_of_this_machine_may_ask_and_no_others() {
    let house = House::new().await;
    let told: Value = house.client.get(house.url("/")).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(told, json!({"sql": true, "usual": true, "holds_commits": true, "why_not": null}));
    for method in [Method::OPTIONS, Method::GET] {
        for (origin, may) in
            [("http://127.0.0.1:8080", true), ("http://localhost:1", true), ("https://example.com", false), ("null", false)]
        {
            let asked = house.client.request(method.clone(), house.url("/")).header(header::ORIGIN, origin);
            let answer = asked.header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST").send().await.expect("an answer");
            let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().expect("text"));
            assert_eq!(allowed, may.then_some(origin), "{method} {origin}");
        }
    }
    let body = json!({"id": ID, "price": "66.00"});
    let foreign = house.client.post(house.url("/sql")).header(header::ORIGIN, "https://example.com").json(&body);
    problem(foreign.send().await.expect("an answer"), 403, "foreign-page").await;
    // A name that somebody made point at this machine.
    let renamed = house.client.post(house.url("/sql")).header(header::HOST, "shop.example:80").json(&body);
    let renamed = renamed.send().await.expect("an answer");
    assert_eq!(renamed.status(), StatusCode::FORBIDDEN);
    assert_eq!(house.read(ID).await.0, "10.00");
}

#[tokio::test]
async fn it_does_not_start_for_others_nor_without_being_told_what_the_database_is_for() {
    let stage = Stage::new().await;
    for (name, value, told) in [
        ("FRESHLINE_DEMO_ADDRESS", "0.0.0.0:0", "is not on loopback"),
        ("FRESHLINE_DEMO_DATABASE", "production", "Write this-is-a-demonstration-database."),
    ] {
        let mut demo = Process::start(launch(&stage).variable(name, value)).expect("it starts");
        let ended = demo.wait(WAIT_MAX).await.expect("it ends");
        assert!(ended.code() == Some(2) && demo.tail().contains(told), "{name}={value}: {}", demo.tail());
    }
    let bare = stage::Launch::new("freshline-demo", stage::workspace_binary("freshline-demo").expect("built")).variables([
        ("FRESHLINE_DATABASE_URL", stage.database_url(Login::Superuser)),
        ("FRESHLINE_REDIS_URL", stage.redis_url(Login::Superuser)),
    ]);
    let mut demo = Process::start(bare).expect("it starts");
    assert_eq!(demo.wait(WAIT_MAX).await.expect("it ends").code(), Some(2), "{}", demo.tail());
}
