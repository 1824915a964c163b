//! The API's own document, the pages that show it, and Schemathesis, which tries the API by it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use stage::{Process, servers};

use crate::{
    cached::Town,
    support::{Answer, Api},
};

/// How long Schemathesis may take in all: several times what it does on a busy machine.
const TRIED_WITHIN: Duration = Duration::from_secs(300);

const TOKEN: &str = "a-token-of-many-characters";

/// Every operation of a document: path, method, itself.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().expect("methods").clone();
        methods.into_iter().map(|(method, operation)| (path.clone(), method, operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn the_document_says_of_each_call_what_it_does_and_how_it_is_refused() {
    let api = Api::alone().await;
    let answer = api.get("/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    assert_eq!(operations.len(), 22, "{operations:#?}");
    let mut ids = std::collections::BTreeSet::new();
    for (path, method, operation) in &operations {
        let told = |of: &Value| of["description"].as_str().is_some_and(|text| !text.is_empty());
        assert!(operation["summary"].is_string(), "{method} {path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}: its id is another's");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(told(parameter), "{method} {path}: {parameter}");
        }
        let responses = operation["responses"].as_object().expect("responses");
        // What takes nothing and asks nobody has nothing to refuse.
        let may_refuse = !["/livez", "/metrics"].contains(&path.as_str());
        assert_eq!(responses.contains_key("400") && responses.contains_key("500"), may_refuse, "{method} {path}");
        for (status, response) in responses {
            assert!(told(response), "{method} {path} {status}");
            let headers = response["headers"].as_object();
            assert!(headers.into_iter().flatten().all(|(_, header)| told(header)), "{method} {path} {status}: {response}");
            if status.starts_with(['4', '5']) && path != "/health" && (path != "/readyz" || status != "503") {
                assert!(response["content"]["application/problem+json"].is_object(), "{method} {path} {status}: {response}");
            }
        }
        let is_management = path.starts_with("/cache/") || path == "/events";
        assert_eq!(operation["security"].is_array(), is_management, "{method} {path}");
        assert_eq!(responses.contains_key("401"), is_management, "{method} {path}");
        let any = path.replace("{id}", "x").replace("{tag}", "x").replace("{key}", "x");
        let asked = Answer::of(api.request(Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method"), &any)).await;
        assert!(![404, 405].contains(&asked.status.as_u16()), "{method} {path} is documented, and not there");
    }
    assert!(!answer.body.contains("#/components/schemas/Document"), "a schema that nobody knows");
    let named = answer.body.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
    for name in named {
        assert!(document["components"]["schemas"][name].is_object(), "{name} is named, and not there");
    }
}

#[tokio::test]
async fn the_pages_come_from_this_server_alone() {
    let api = Api::alone().await;
    for page in ["/docs", "/redoc"] {
        let html = api.get(page).await;
        assert_eq!((html.status, html.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"), "{page}");
        let policy = html.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        let named = html.body.split("src=\"").skip(1).chain(html.body.split("href=\"/").skip(1).map(|_| "/docs/swagger-ui.css\""));
        for address in named.filter_map(|rest| rest.split('"').next()) {
            let file = api.get(address).await;
            assert_eq!((file.status, file.header("x-content-type-options")), (StatusCode::OK, "nosniff"), "{address}");
            let known = api.request(Method::GET, address).header("if-none-match", file.header("etag"));
            assert_eq!(Answer::of(known).await.status, StatusCode::NOT_MODIFIED, "{address}");
        }
    }
    api.get("/docs?x=1").await.problem(400, "bad-request");
}

#[tokio::test]
async fn the_page_is_served_with_a_validator_and_may_ask_this_machine_alone() {
    let api = Api::alone().await;
    let page = api.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    assert_eq!((page.header("cache-control"), page.header("x-content-type-options")), ("no-cache", "nosniff"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "), "{policy}");
    assert!(policy.contains("connect-src 'self' http://127.0.0.1:* http://localhost:*;") && !policy.contains("unsafe"), "{policy}");
    let known = Answer::of(api.request(Method::GET, "/").header("if-none-match", page.header("etag"))).await;
    assert_eq!((known.status, known.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    api.get("/web/none.js").await.problem(404, "no-such-route");
    api.get("/web/%2e%2e/Cargo.toml").await.problem(404, "no-such-route");
}

/// Needs Schemathesis, as its name says: see xtask's `test`.
#[tokio::test]
async fn schemathesis_finds_nothing_that_is_not_as_the_document_says() {
    let town = Town::new().await;
    town.cached("A-1").await;
    let configuration = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis.toml");
    let launch = servers::schemathesis().unwrap_or_else(|error| panic!("{error:#}"));
    let launch = ["--config-file", configuration, "run", "--seed", &(stage::seed() % 1_000_000).to_string()]
        .into_iter()
        .fold(launch, |launch, argument| launch.argument(argument));
    let api = Api::start(
        crate::support::launch(&town.stage)
            .variable("FRESHLINE_API_MANAGE_TOKEN", TOKEN)
            .variable("FRESHLINE_API_REDIS_DEADLINE_MS", "5000"),
    )
    .await;
    let launch = launch.argument(format!("http://{}/openapi.json", api.address())).variable("TOKEN", TOKEN);
    let launch = launch.variable("SCHEMATHESIS_HOOKS", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis_hooks.py"));
    let mut run = Process::start(launch).expect("it starts");
    let status = run.wait(TRIED_WITHIN).await.unwrap_or_else(|late| panic!("{late:#}: {}", run.tail()));
    let said = run.lines().join("\n");
    assert!(status.success(), "{said}");
    assert!(said.contains("passed"), "it tried nothing: {said}");
}
