//! What the tests stand on: a stage with a running invalidator, and the command run on it.

use freshline::coherence::{Link, Stripes};
use serde_json::Value;
use stage::{Launch, Login, Process, Stage, WAIT_MAX};

/// A stage with a running invalidator, and one product in it.
pub struct House {
    pub stage: Stage,
    pub invalidator: Process,
    source: Vec<(&'static str, String)>,
}

/// What a run of the command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub text: String,
}

impl Ran {
    /// Its output, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// The one product.
pub const ID: &str = "01900000-0000-7000-8000-000000000001";

impl House {
    /// On the server that all tests share.
    pub async fn new() -> Self {
        Self::on(Stage::new().await).await
    }

    /// On this stage, once the cache is open.
    pub async fn on(stage: Stage) -> Self {
        stage.sql(&format!("insert into products (id, sku, name, category, price) values ('{ID}', 'A', 'a', 'audio', 1)")).await;
        Self::by(stage, &[]).await
    }

    /// On this stage, with an invalidator that is told where changes come from, as the command will be.
    pub async fn by(stage: Stage, source: &[(&'static str, String)]) -> Self {
        let launch = stage.launch("freshline-invalidator", Login::Invalidator).variables(source.iter().cloned());
        let invalidator = Process::start(launch.variable("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0"));
        let house = Self { stage, invalidator: invalidator.expect("the invalidator starts"), source: source.to_vec() };
        house.drained().await;
        house
    }

    /// Runs the command, told where changes come from.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        ended(launch(&self.stage, arguments).variables(self.source.iter().cloned())).await
    }

    /// The key of the one product.
    pub fn key() -> String {
        format!("products:{ID}")
    }

    /// How names are laid out.
    pub fn stripes(&self) -> Stripes {
        Stripes::new(self.stage.name(), 1).expect("a layout")
    }

    /// A connection to Redis.
    pub async fn link(&self) -> Link {
        let client = redis::Client::open(self.stage.redis_url(Login::Superuser)).expect("a URL");
        Link::connect(&client, WAIT_MAX).await.expect("Redis answers")
    }

    /// Waits until the cache is open, its bound is proven, and everything written so far is applied.
    pub async fn drained(&self) {
        let end = self.stage.sql("select 1").await;
        self.stage
            .until("all is applied", async || {
                let cache = status(&self.stage).await.json()["cache"].clone();
                let position = cache["position"].as_str().and_then(|position| position.parse::<freshline::coherence::Lsn>().ok());
                cache["freshness_us"].is_u64() && position.is_some_and(|position| position.get() >= end)
            })
            .await;
    }

    /// Fills the cache with every product.
    pub async fn warm(&self) {
        let mut warmer =
            Process::start(self.stage.launch("freshline-warmer", Login::Warmer).argument("--all")).expect("the warmer starts");
        assert!(warmer.wait(WAIT_MAX).await.expect("it ends").success(), "{}", warmer.tail());
    }
}

/// The command with these arguments, to be run on a stage.
pub fn launch(stage: &Stage, arguments: &[&str]) -> Launch {
    let launch = stage.launch("freshline", Login::Superuser).variable("FRESHLINE_SLOT", stage.name());
    // In Redis it has the rights that it is documented to need, and no others.
    let launch = launch.variable("FRESHLINE_REDIS_URL", stage.redis().operator_url());
    arguments.iter().fold(launch, |launch, argument| launch.argument(*argument))
}

/// Runs it to its end.
pub async fn ended(launch: Launch) -> Ran {
    let mut process = Process::start(launch).expect("it starts");
    let status = process.wait(WAIT_MAX).await.expect("it ends");
    Ran { code: status.code(), text: process.lines().join("\n") }
}

/// Runs the command on a stage.
pub async fn run(stage: &Stage, arguments: &[&str]) -> Ran {
    ended(launch(stage, arguments)).await
}

/// `status --json`.
pub async fn status(stage: &Stage) -> Ran {
    run(stage, &["status", "--json"]).await
}

/// The findings of a level, each as `check: says; remedy`.
pub fn findings(ran: &Ran, level: &str) -> Vec<String> {
    let parts = ran.json();
    let all = parts.as_array().expect("parts").iter().flat_map(|part| part["findings"].as_array().expect("findings").clone());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    all.filter(|finding| finding["level"] == level)
        .map(|finding| format!("{}: {}; {}", text(&finding["check"]), text(&finding["says"]), text(&finding["remedy"])))
        .collect()
}

/// That some finding of this level says all of this.
#[track_caller]
pub fn assert_found(ran: &Ran, level: &str, said: &[&str]) {
    let found = findings(ran, level);
    let is_found = found.iter().any(|finding| said.iter().all(|said| finding.contains(said)));
    assert!(is_found, "no {level} says {said:?}:\n{}", found.join("\n"));
}
