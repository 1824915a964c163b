//! Traces: what a collector hears of a read, a write, and the change that the write made.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, routing::post};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use stage::{Feed, Login, Process, Source, Stage, until};
use tokio::net::TcpListener;

use crate::support::{Answer, Api, launch};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Hears what processes send it.
struct Collector {
    spans: Arc<Mutex<Vec<Value>>>,
    url: String,
    _serving: tokio_util::task::AbortOnDropHandle<()>,
}

/// Keeps each span, with the name of the service that it is of.
async fn keep(State(spans): State<Arc<Mutex<Vec<Value>>>>, Json(request): Json<Value>) {
    for resource in request["resourceSpans"].as_array().expect("resources") {
        let service = resource["resource"]["attributes"][0]["value"]["stringValue"].clone();
        for span in
            resource["scopeSpans"].as_array().expect("scopes").iter().flat_map(|scope| scope["spans"].as_array().expect("spans"))
        {
            let mut span = span.clone();
            span["service"] = service.clone();
            spans.lock().expect("no panic").push(span);
        }
    }
}

impl Collector {
    async fn new() -> Self {
        let spans = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/v1/traces", post(keep)).with_state(Arc::clone(&spans));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { spans, url, _serving: tokio_util::task::AbortOnDropHandle::new(serving) }
    }

    fn spans(&self) -> Vec<Value> {
        self.spans.lock().expect("no panic").clone()
    }

    /// Waits for a span of this name, and answers with it.
    async fn heard(&self, name: &str) -> Value {
        until(&format!("the span {name}"), async || {
            let spans = self.spans();
            let found = spans.iter().find(|span| span["name"] == name).cloned();
            found.map(Some).ok_or_else(|| spans.iter().map(|span| span["name"].to_string()).collect::<Vec<_>>())
        })
        .await
    }

    /// What tells a process to trace what its caller asks to be, and nothing else.
    fn settings(&self) -> [(&'static str, String); 2] {
        [("FRESHLINE_TRACES_URL", self.url.clone()), ("FRESHLINE_TRACES_RATIO", "0".to_owned())]
    }
}

/// Sends a request with this `traceparent`.
async fn traced(api: &Api, method: Method, path: &str, traceparent: &str, json: &str) -> Answer {
    let request = api.request(method, path).header("traceparent", traceparent).header("content-type", "application/json");
    Answer::of(request.body(json.to_owned())).await
}

fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().expect("attributes");
    &attributes.iter().find(|attribute| attribute["key"] == name).unwrap_or_else(|| panic!("no {name}: {span}"))["value"]
}

stage::over_sources! { [postgres: Postgres, nats: Nats, kafka_relay: KafkaRelay, kafka: Kafka] [
    a_change_is_linked_to_the_write_that_made_it,
] }

async fn a_change_is_linked_to_the_write_that_made_it(source: Source) {
    let (stage, collector) = (Stage::new().await, Collector::new().await);
    let feed = Feed::new(&stage, source).await;
    let invalidator = stage.launch("freshline-invalidator", Login::Invalidator).variables(feed.variables(&stage));
    let invalidator = invalidator.variable("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0").variables(collector.settings());
    let mut invalidator = Process::start(invalidator).expect("the invalidator starts");
    invalidator.line("the cache is open").await;
    let api = Api::start(launch(&stage).variables(collector.settings())).await;
    let product = api.made("traced", "10").await;
    let path = format!("/products/{}", product["id"].as_str().expect("an id"));
    let written = traced(&api, Method::PATCH, &path, &format!("00-{TRACE}-{PARENT}-01"), r#"{"price": 11}"#).await;
    assert_eq!(written.status, StatusCode::OK, "{written:?}");

    let apply = collector.heard("transaction.apply").await;
    let write = collector.heard("PATCH /products/{id}").await;
    assert_eq!((&write["traceId"], &write["parentSpanId"], &write["kind"]), (&TRACE.into(), &PARENT.into(), &2.into()));
    assert_eq!((&apply["links"][0]["traceId"], &apply["links"][0]["spanId"]), (&write["traceId"], &write["spanId"]));
    assert_ne!(apply["traceId"], write["traceId"], "a trace of its own");
    let services = (apply["service"].as_str(), write["service"].as_str());
    assert_eq!(services, (Some("freshline-invalidator"), Some("freshline-api")));
    let xid = written
        .header("freshline-token")
        .split(['.', '/', ':', '-'])
        .any(|part| apply["attributes"][0]["value"]["stringValue"] == part);
    assert!(xid, "{apply} is of the transaction of {:?}", written.headers);
    let sql = collector.heard("product.write").await;
    assert_eq!((&sql["traceId"], &sql["parentSpanId"]), (&write["traceId"], &write["spanId"]));
    let others: Vec<Value> = collector.spans().into_iter().filter(|span| span["name"] == "POST /products").collect();
    assert!(others.is_empty(), "nobody asked for {others:?}");
}

#[tokio::test]
async fn a_read_is_traced_as_its_caller_says_step_by_step() {
    let (stage, collector) = (Stage::new().await, Collector::new().await);
    let invalidator = stage.launch("freshline-invalidator", Login::Invalidator);
    let mut invalidator = Process::start(invalidator.variable("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0")).expect("it starts");
    invalidator.line("the cache is open").await;
    let api = Api::start(launch(&stage).variables(collector.settings())).await;
    let product = api.made("read", "10").await;
    let path = format!("/products/{}", product["id"].as_str().expect("an id"));
    until("the replica has a Redis", async || api.get("/readyz").await.status == StatusCode::OK).await;

    let ignored = traced(&api, Method::GET, "/products?category=none", &format!("00-{TRACE}-{PARENT}-00"), "").await;
    assert!(!ignored.headers.contains_key("traceparent"), "{ignored:?}");
    let read = traced(&api, Method::GET, &path, &format!("00-{TRACE}-{PARENT}-01"), "").await;
    assert!(read.header("traceparent").starts_with(&format!("00-{TRACE}-")), "{read:?}");

    assert!(read.header("cache-status").ends_with("stored; detail=missing"), "{read:?}");
    let answered = collector.heard("GET /products/{id}").await;
    assert_eq!(attribute(&answered, "http.response.status_code")["intValue"], "200");
    assert_eq!(attribute(&answered, "freshline.cache_status")["stringValue"], read.header("cache-status"));
    for step in ["cache.look", "lease.take", "value.load", "value.fill"] {
        let step = collector.heard(step).await;
        assert_eq!((&step["traceId"], &step["parentSpanId"]), (&answered["traceId"], &answered["spanId"]), "{step}");
    }
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span["traceId"] == TRACE && span["name"] != "GET /products"), "{spans:?}");
}

#[tokio::test]
async fn what_was_not_sent_yet_is_sent_when_the_process_ends() {
    let (stage, collector) = (Stage::new().await, Collector::new().await);
    let mut api = Api::start(launch(&stage).variables(collector.settings())).await;
    traced(&api, Method::GET, "/nowhere", &format!("00-{TRACE}-{PARENT}-01"), "").await;
    api.process.terminate().expect("it is told to end");
    let ended = api.process.wait(stage::WAIT_MAX).await.expect("it ends");
    assert!(ended.success(), "{ended}");
    let names: Vec<Value> = collector.spans().into_iter().map(|span| span["name"].clone()).collect();
    assert_eq!(names, ["GET nowhere"]);
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let stage = Stage::new().await;
    // Port 1 of this machine: nobody listens there.
    let settings = [("FRESHLINE_TRACES_URL", "http://127.0.0.1:1"), ("FRESHLINE_TRACES_RATIO", "1")];
    let api = Api::start(launch(&stage).variables(settings)).await;
    until("the spans are given up", async || {
        assert_eq!(api.get("/products?limit=1").await.status, StatusCode::OK);
        let metrics = api.get("/metrics").await.body;
        let lost =
            metrics.lines().find_map(|line| line.strip_prefix(r#"freshline_spans_total{outcome="failed"} "#)?.parse::<u64>().ok());
        if lost > Some(0) { Ok(()) } else { Err(metrics) }
    })
    .await;
}
