//! What `compose/` tells Prometheus and Grafana, tried on a real Prometheus that scrapes real processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use stage::servers::{Home, Prometheus, check_with_promtool};
use stage::{Feed, Login, Process, Source, Stage, until_within};

/// All panels have data well within this: some need two scrapes of a process that has just started.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many products there are.
const PRODUCTS: u32 = 400;

fn file(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What follows these words at the beginning of a line, in each that begins so.
fn after(text: &str, words: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(words)).map(|rest| rest.trim().to_owned()).collect()
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let (rules, runbooks) = (text("compose/prometheus/alerts.yml"), text("docs/runbooks.md"));
    let alerts = after(&rules, "- alert: ");
    assert!(alerts.len() > 20, "{alerts:?}");
    assert_eq!(alerts, after(&runbooks, "## "), "in the same order");
    let links: Vec<String> = alerts.iter().map(|alert| format!("docs/runbooks.md#{}", alert.to_lowercase())).collect();
    assert_eq!(after(&rules, "runbook_url: "), links);
}

#[test]
fn prometheus_takes_our_configuration_and_each_alert_fires_on_what_it_is_for() {
    for (check, path) in [
        (&["check", "config"][..], "compose/prometheus/prometheus.yml"),
        (&["check", "rules"], "compose/prometheus/alerts.yml"),
        (&["test", "rules"], "compose/prometheus/alerts_test.yml"),
    ] {
        let path = file(path);
        check_with_promtool(&[check, &[path.to_str().expect("text")]].concat()).unwrap_or_else(|error| panic!("{error:#}"));
    }
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let dashboards: String = dashboards().iter().map(Value::to_string).collect();
    for metric in freshline::telemetry::ALL {
        assert!(dashboards.contains(metric.name), "{} is on no dashboard", metric.name);
    }
}

fn dashboards() -> Vec<Value> {
    let files = fs::read_dir(file("compose/grafana/dashboards")).expect("dashboards");
    let read = |path: PathBuf| serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON");
    files.map(|entry| read(entry.expect("a file").path())).collect()
}

/// The queries of all panels, each with the panel that makes it.
fn panels() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for dashboard in dashboards() {
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let of = format!("{}: {}", dashboard["title"], panel["title"]);
                queries.push((of, target["expr"].as_str().expect("a query").to_owned()));
            }
        }
    }
    assert!(queries.len() > 40, "{queries:?}");
    queries
}

/// Every process of ours, on real servers, with a NATS between, and a Prometheus that scrapes them as Compose's would.
struct Watched {
    prometheus: Prometheus,
    client: reqwest::Client,
    api: String,
    stage: Stage,
    _processes: Vec<Process>,
    _feed: Feed,
}

impl Watched {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let row = "select 'sku-' || n, 'thing ' || n, 'audio', n from generate_series";
        stage.sql(&format!("insert into products (sku, name, category, price) {row}(1, {PRODUCTS}) n")).await;
        let mut feed = Feed::new(&stage, Source::Nats).await;
        let relay = address(feed.relay().expect("NATS has a relay")).await;
        let start = |name: &str, login, variables: Vec<(&str, String)>, arguments: &[&str]| {
            let launch = stage.launch(name, login).variables(variables);
            Process::start(arguments.iter().fold(launch, |launch, argument| launch.argument(*argument))).expect("it starts")
        };
        let any = || "127.0.0.1:0".to_owned();
        let of_invalidator = [feed.variables(&stage), vec![("FRESHLINE_INVALIDATOR_ADDRESS", any())]].concat();
        let mut invalidator = start("freshline-invalidator", Login::Invalidator, of_invalidator, &[]);
        let mut api = start("freshline-api", Login::Api, vec![("FRESHLINE_API_ADDRESS", any())], &[]);
        // Slow enough to be seen.
        let slowly = ["--all", "--chunk", "5", "--rate", "5"];
        let mut warmer = start("freshline-warmer", Login::Warmer, vec![("FRESHLINE_WARMER_ADDRESS", any())], &slowly);
        let listening = api.line("listening on ").await;
        let listening = listening.rsplit(' ').next().expect("an address").to_owned();
        let targets = [
            ("freshline-api", listening.clone()),
            ("freshline-invalidator", address(&mut invalidator).await),
            ("freshline-relay", relay),
            ("freshline-warmer", address(&mut warmer).await),
        ];
        let prometheus = prometheus(&targets).await;
        let (client, api_url) = (reqwest::Client::new(), format!("http://{listening}"));
        Self { prometheus, client, api: api_url, stage, _processes: vec![api, invalidator, warmer], _feed: feed }
    }

    /// A little of everything that callers do, and somebody with SQL.
    async fn live(&self) {
        let ids: Vec<String> = sqlx::query_scalar("select id::text from products order by sku limit 5")
            .fetch_all(self.stage.pool())
            .await
            .expect("products");
        for id in ids.iter().chain(&ids) {
            self.get(&format!("/products/{id}")).await;
        }
        for path in ["/products?limit=10", "/products/0190b5a0-0000-7000-8000-000000000000", "/nowhere"] {
            self.get(path).await;
        }
        let write = self.client.patch(format!("{}/products/{}", self.api, ids[0])).header("content-type", "application/json");
        write.body(r#"{"price": 12.5}"#).send().await.expect("an answer");
        self.stage.sql("update products set price = price + 1 where sku = 'sku-9'").await;
    }

    async fn get(&self, path: &str) {
        self.client.get(format!("{}{path}", self.api)).send().await.expect("an answer");
    }

    /// What Prometheus answers.
    async fn asked(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}/api/v1/{path}", self.prometheus.url())).send().await.expect("an answer");
        let answer: Value = serde_json::from_str(&answer.text().await.expect("a whole answer")).expect("JSON");
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// How many series a query answers with.
    async fn series(&self, query: &str) -> usize {
        let data = self.asked(&format!("query?query={}", utf8_percent_encode(query, NON_ALPHANUMERIC))).await;
        data["result"].as_array().map_or(0, Vec::len)
    }
}

/// Where a process says that it answers.
async fn address(process: &mut Process) -> String {
    let line = process.line("metrics and readiness at http://").await;
    line.rsplit('/').next().expect("an address").to_owned()
}

/// With the jobs and alerts of Compose's, at these addresses and every second.
async fn prometheus(targets: &[(&str, String)]) -> Prometheus {
    let jobs: BTreeSet<String> = after(&text("compose/prometheus/prometheus.yml"), "- job_name: ").into_iter().collect();
    let tried: BTreeSet<String> = targets.iter().map(|(job, _)| (*job).to_owned()).chain(["prometheus".to_owned()]).collect();
    assert_eq!(jobs, tried, "each job of Compose's is tried");
    let home = Home::scratch().expect("a directory");
    home.write("alerts.yml", &text("compose/prometheus/alerts.yml")).expect("a file");
    let scrapes: String = targets
        .iter()
        .map(|(job, address)| format!("  - job_name: {job}\n    static_configs: [{{ targets: [\"{address}\"] }}]\n"))
        .collect();
    let global = "global: { scrape_interval: 1s, evaluation_interval: 1s }\nrule_files: [alerts.yml]\nscrape_configs:\n";
    Prometheus::start(home, &format!("{global}{scrapes}")).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| *word == "up" || word.starts_with("freshline_") || word.starts_with("process_")).collect()
}

#[tokio::test]
async fn prometheus_has_data_for_every_panel_and_every_alert_of_a_real_stack_over_nats() {
    let watched = Watched::new().await;
    let panels = panels();
    until_within(PATIENCE, "every panel has data", async || {
        watched.live().await;
        let mut empty = Vec::new();
        for (panel, query) in &panels {
            if watched.series(query).await == 0 {
                empty.push(format!("{panel}: {query}"));
            }
        }
        if empty.is_empty() { Ok(()) } else { Err(empty.join("\n")) }
    })
    .await;

    let rules = watched.asked("rules").await;
    let rules: Vec<&Value> =
        rules["groups"].as_array().expect("groups").iter().flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    assert_eq!(rules.len(), after(&text("compose/prometheus/alerts.yml"), "- alert: ").len());
    for rule in rules {
        let (name, expression) = (&rule["name"], rule["query"].as_str().expect("an expression"));
        watched.series(expression).await;
        for metric in named(expression) {
            assert!(watched.series(metric).await > 0, "{name} asks for {metric}, which nobody tells");
        }
        assert_eq!((rule["health"].as_str(), rule["state"] == "firing"), (Some("ok"), false), "{rule}");
    }
}
