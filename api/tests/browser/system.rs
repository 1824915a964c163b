//! What the page stands on: two API replicas and one that wants a token, the invalidator and the demonstration, on servers of their own.

use freshline::coherence::{CacheKey, Control, Stripes};
use serde_json::{Value, json};
use stage::{Login, Process, Stage, until};

use crate::support::{Api, launch};

/// What the third replica wants to be shown.
pub const TOKEN: &str = "the-token-of-this-test";

/// The system, running.
pub struct System {
    pub stage: Stage,
    pub invalidator: Process,
    pub demo: Process,
    replicas: [Api; 2],
    guarded: Api,
    stripes: Stripes,
}

impl System {
    /// On a Postgres of its own, whose commits the demonstration holds; with the fifteen products of a fresh catalogue.
    pub async fn new() -> Self {
        let stage = Stage::own().await;
        let stripes = Stripes::new(stage.name(), 1).expect("a layout");
        let mut connection = stage.pool().acquire().await.expect("a session");
        freshline::catalog::plant(&mut connection).await.expect("a catalogue");
        drop(connection);
        let invalidator = stage.launch("freshline-invalidator", Login::Invalidator);
        let invalidator = invalidator.variable("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0");
        let invalidator = Process::start(invalidator).expect("the invalidator starts");
        let demo = stage.launch("freshline-demo", Login::Superuser).variables([
            ("FRESHLINE_DEMO_ADDRESS", "127.0.0.1:0"),
            ("FRESHLINE_DEMO_DATABASE", "this-is-a-demonstration-database"),
        ]);
        let demo = Process::start(demo).expect("the demonstration starts");
        // Whatever origin the page has: its port is chosen by the system, and once it comes through a proxy of the test.
        // A busy machine may keep Redis waiting, which is not what these tests are about.
        let api = launch(&stage).variables([("FRESHLINE_API_CORS_ORIGINS", "*"), ("FRESHLINE_API_REDIS_DEADLINE_MS", "5000")]);
        let guarded = api.clone().variable("FRESHLINE_API_MANAGE_TOKEN", TOKEN);
        let (one, other, guarded) = futures::join!(Api::start(api.clone()), Api::start(api), Api::start(guarded));
        let system = Self { stage, invalidator, demo, replicas: [one, other], guarded, stripes };
        until("the cache is open", async || system.is_open().await).await;
        system
    }

    async fn is_open(&self) -> anyhow::Result<bool> {
        let ctl = self.stripes.ctl(self.stripes.of(""));
        let bytes: Option<Vec<u8>> = self.stage.redis().run(&["GET", &ctl]).await?;
        Ok(bytes.and_then(|bytes| Control::decode(&bytes)).is_some_and(|control| control.at.as_micros() > 0))
    }

    /// What the tests have to know.
    pub fn told(&self) -> Value {
        let replicas = self.replicas.each_ref().map(Api::address);
        json!({ "replicas": replicas, "guarded": self.guarded.address(), "token": TOKEN })
    }

    /// What lies in Redis under a key of the cache, as far as it is text.
    pub async fn entry(&self, key: &str) -> anyhow::Result<Option<String>> {
        let name = self.stripes.value(&CacheKey::new(key));
        let bytes: Option<Vec<u8>> = self.stage.redis().run(&["GET", &name]).await?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}
