//! What these tests stand on: an API replica, an invalidator and the demonstration, on servers of their own.

use freshline::{
    coherence::{Link, Stripes},
    registry::{self, Role},
};
use reqwest::{Response, StatusCode, header};
use serde_json::{Value, json};
use stage::{Launch, Login, Process, Stage, WAIT_MAX, until};
use tokio::sync::Mutex;

/// The product that is changed.
pub const ID: &str = "01900000-0000-7000-8000-000000000001";

/// Another one.
pub const OTHER: &str = "01900000-0000-7000-8000-000000000002";

/// All of it, running.
pub struct House {
    pub stage: Stage,
    pub client: reqwest::Client,
    /// Locked by who kills it.
    pub demo: Mutex<Process>,
    base: String,
    api: String,
    _freshline: [Process; 2],
}

impl House {
    /// The demonstration as a superuser.
    pub async fn new() -> Self {
        let stage = Stage::own().await;
        let url = stage.database_url(Login::Superuser);
        Self::on(stage, &url).await
    }

    /// The demonstration with this URL of the stage's database.
    pub async fn on(stage: Stage, database_url: &str) -> Self {
        let insert = format!(
            "insert into products (id, sku, name, category, price) values ('{ID}', 'A', 'a', 'audio', 10), ('{OTHER}', 'B', 'b', 'audio', 20)"
        );
        stage.sql(&insert).await;
        let invalidator = stage.launch("freshline-invalidator", Login::Invalidator);
        let invalidator = started(invalidator.variable("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0"));
        let api = stage.launch("freshline-api", Login::Api).variables([
            ("FRESHLINE_API_ADDRESS", "127.0.0.1:0"),
            // A busy machine takes its time; that is not what these tests are about.
            ("FRESHLINE_API_SESSION_WAIT_MS", "20000"),
            ("FRESHLINE_API_STATEMENT_MS", "20000"),
        ]);
        let (api, api_url) = listening(api).await;
        let (demo, base) = listening(launch(&stage).variable("FRESHLINE_DATABASE_URL", database_url)).await;
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let house = Self { stage, client, demo: Mutex::new(demo), base, api: api_url, _freshline: [api, invalidator] };
        house.ready().await;
        house
    }

    /// Where the demonstration answers.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Waits until the demonstration is ready, knows of the replica, and that serves from the cache.
    async fn ready(&self) {
        until("the demonstration is ready", async || {
            self.client.get(self.url("/readyz")).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
        let stripes = Stripes::new(self.stage.name(), 1).expect("a layout");
        let client = redis::Client::open(self.stage.redis_url(Login::Superuser)).expect("a URL");
        let link = Link::connect(&client, WAIT_MAX).await.expect("Redis answers");
        until("the replica and the demonstration are registered", async || {
            let processes = registry::processes(&link, &stripes).await.expect("Redis answers");
            let at = |role, url: &str| {
                processes.iter().any(|one| one.role == role && one.address.as_deref() == url.strip_prefix("http://"))
            };
            at(Role::Api, &self.api) && at(Role::Demo, &self.base)
        })
        .await;
        until("the cache is open", async || self.read(ID).await.1.contains("; hit")).await;
    }

    /// Starts another in its place.
    pub async fn restart(&mut self) {
        let (demo, base) = listening(launch(&self.stage)).await;
        (self.demo, self.base) = (Mutex::new(demo), base);
        self.ready().await;
    }

    /// The price that the API serves, and the `Cache-Status` that it came with.
    pub async fn read(&self, id: &str) -> (String, String) {
        let answer = self.client.get(format!("{}/products/{id}", self.api)).send().await.expect("an answer");
        let caching = answer.headers().get("cache-status").map(|value| value.to_str().expect("text").to_owned());
        let body: Value = answer.json().await.expect("JSON");
        (body["price"].as_str().unwrap_or_default().to_owned(), caching.unwrap_or_default())
    }

    /// Posts this.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.client.post(self.url(path)).json(body).send().await.expect("an answer")
    }

    /// Posts what holds a commit for as long as may be, and waits until it is held. The answer is awaited by who drops it or not.
    pub async fn hold(&self) -> tokio::task::JoinHandle<reqwest::Result<Response>> {
        let request = self.client.post(self.url("/sql")).json(&json!({"id": ID, "price": "11.00", "hold_ms": 3000}));
        let asked = tokio::spawn(request.send());
        until("the commit is held", async || self.held().await == 1).await;
        asked
    }

    /// How many commits are held; not the one by which it is seen whether any would be.
    pub async fn held(&self) -> i64 {
        let held = "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and query ilike 'commit%'";
        self.stage.value(held).await
    }

    /// Waits until nothing is left of what the demonstration does: no slot, no key, no setting, nothing held.
    pub async fn clean(&self) {
        let left = "select (select count(*) from pg_replication_slots where slot_name <> current_database())
            + (select count(*) from pg_file_settings where name in ('synchronous_standby_names', 'synchronous_commit'))
            + (select count(*) from pg_stat_activity where wait_event = 'SyncRep')
            + (current_setting('synchronous_standby_names') <> '')::int + (current_setting('synchronous_commit') <> 'on')::int";
        until("nothing is left in Postgres", async || match self.stage.value::<i64>(left).await {
            0 => Ok(true),
            left => Err(left),
        })
        .await;
        let keys: Vec<String> = self.stage.redis().run(&["KEYS", "usual:*"]).await.expect("Redis answers");
        assert_eq!(keys, Vec::<String>::new());
    }
}

/// The answer as a problem of this status and type.
pub async fn problem(answer: Response, status: u16, name: &str) -> Value {
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{answer:?}");
    assert_eq!(answer.status().as_u16(), status, "{answer:?}");
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["type"], format!("urn:problem-type:freshline:{name}"), "{problem}");
    problem
}

/// How the demonstration is started on a stage.
pub fn launch(stage: &Stage) -> Launch {
    stage
        .launch("freshline-demo", Login::Superuser)
        .variables([("FRESHLINE_DEMO_ADDRESS", "127.0.0.1:0"), ("FRESHLINE_DEMO_DATABASE", "this-is-a-demonstration-database")])
}

fn started(launch: Launch) -> Process {
    Process::start(launch).expect("it starts")
}

/// Starts it, and answers with its base URL too.
async fn listening(launch: Launch) -> (Process, String) {
    let mut process = started(launch);
    let line = process.line("listening on ").await;
    let address = line.rsplit(' ').next().expect("an address");
    (process, format!("http://{address}"))
}
