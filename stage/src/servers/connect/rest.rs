//! Connect's REST interface: connectors that come and go while a worker runs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Connector;

/// How long one answer may take. After 90 s Connect gives up most questions by itself, and says what it was at
/// (Kafka 4.3.1, `RestServer.DEFAULT_REST_REQUEST_TIMEOUT_MS`).
const ANSWER_MAX: Duration = Duration::from_secs(100);

/// How a connector's task does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It runs.
    Running,
    /// It is on its way.
    NotYet,
    /// It was stopped.
    Stopped,
    /// It failed: with the trace.
    Failed(String),
}

/// Makes a connector.
pub(super) fn add(port: u16, connector: &Connector) -> Result<()> {
    let settings: serde_json::Map<_, _> =
        connector.settings().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let path = format!("/connectors/{}/config", connector.name);
    ask(port, "PUT", &path, &serde_json::Value::Object(settings).to_string()).map(drop)
}

/// Stops a connector, slot and all.
pub(super) fn stop(port: u16, name: &str) -> Result<()> {
    ask(port, "PUT", &format!("/connectors/{name}/stop"), "").map(drop)
}

/// Removes the progress of a connector that is stopped.
pub(super) fn forget(port: u16, name: &str) -> Result<()> {
    ask(port, "DELETE", &format!("/connectors/{name}/offsets"), "").map(drop)
}

/// Removes a connector. What it has read so far stays noted, under its name.
pub(super) fn remove(port: u16, name: &str) -> Result<()> {
    ask(port, "DELETE", &format!("/connectors/{name}"), "").map(drop)
}

/// How the one task of a connector does.
pub(super) fn state(port: u16, name: &str) -> Result<State> {
    let answer = ask(port, "GET", &format!("/connectors/{name}/status"), "")?;
    let status: serde_json::Value = serde_json::from_str(&answer).with_context(|| format!("Connect answered {answer}"))?;
    if status["connector"]["state"] == "STOPPED" && status["tasks"].as_array().is_none_or(Vec::is_empty) {
        return Ok(State::Stopped);
    }
    let parts = [&status["tasks"][0], &status["connector"]];
    if let Some(failed) = parts.iter().find(|part| part["state"] == "FAILED") {
        return Ok(State::Failed(failed["trace"].as_str().unwrap_or("without a word").to_owned()));
    }
    Ok(if parts.iter().all(|part| part["state"] == "RUNNING") { State::Running } else { State::NotYet })
}

/// The body of the answer.
fn ask(port: u16, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connecting to Connect")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    // HTTP/1.0: the answer is not cut into chunks, and ends with the connection.
    let head = format!("{method} {path} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).with_context(|| format!("asking Connect to {method} {path}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("Connect's answer to {method} {path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("Connect answered {answer:?}"))?;
    if !head.split_whitespace().nth(1).is_some_and(|status| status.starts_with('2')) {
        bail!("Connect refused to {method} {path}: {answer}");
    }
    Ok(body.to_owned())
}
