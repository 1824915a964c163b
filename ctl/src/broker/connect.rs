//! Kafka Connect: the Debezium connectors of Postgres that it runs.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Untold;
use crate::servers::ANSWER_WITHIN;

/// The class of the connectors that are looked for.
const CLASS: &str = "io.debezium.connector.postgresql.PostgresConnector";

/// A connector, as Connect tells it.
#[derive(Debug, Deserialize)]
pub struct Connector {
    info: Info,
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Info {
    config: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Status {
    connector: State,
    tasks: Vec<State>,
}

/// How the connector, or a task of it, is.
#[derive(Debug, Deserialize)]
pub struct State {
    /// `RUNNING`, `FAILED`, `PAUSED`…
    pub state: String,
    /// Why it failed: a Java trace.
    trace: Option<String>,
}

impl Connector {
    /// A setting of it.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.info.config.get(name).map(String::as_str)
    }

    /// Whether some setting has this value.
    pub fn names(&self, value: &str) -> bool {
        self.info.config.values().any(|set| set == value)
    }

    /// The names of its transforms' settings that end so, with their values.
    pub fn transforms(&self, end: &str) -> impl Iterator<Item = &str> {
        let is_one = move |name: &str| name.starts_with("transforms.") && name.ends_with(end);
        self.info.config.iter().filter(move |(name, _)| is_one(name)).map(|(_, value)| value.as_str())
    }

    /// How it is, and how its tasks are.
    pub fn states(&self) -> impl Iterator<Item = &State> {
        [&self.status.connector].into_iter().chain(&self.status.tasks)
    }
}

impl State {
    /// Why it failed, in a line.
    pub fn reason(&self) -> &str {
        self.trace.as_deref().and_then(|trace| trace.lines().next()).unwrap_or("it does not say why")
    }
}

/// Looks at the connectors of Postgres, by their names.
///
/// # Errors
/// [`Untold::Connect`].
pub async fn look(url: &SecretString) -> Result<BTreeMap<String, Connector>, Untold> {
    // An error of the client shows the address.
    let untold = |error: reqwest::Error| Untold::Connect { said: freshline::telemetry::chain(&error.without_url()) };
    let url = format!("{}/connectors?expand=info&expand=status", url.expose_secret().trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().map_err(untold)?;
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(untold)?;
    let mut connectors: BTreeMap<String, Connector> = answer.json().await.map_err(untold)?;
    connectors.retain(|_, connector| connector.setting("connector.class") == Some(CLASS));
    Ok(connectors)
}
