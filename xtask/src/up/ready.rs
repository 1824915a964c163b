//! Whether a program answers that it is ready.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How much of a refusal is shown, in characters.
const SHOWN_LEN_MAX: usize = 400;

/// Asks `/readyz`.
///
/// # Errors
/// If it does not answer, or answers that it is not ready: with what it says is missing.
pub async fn ask(client: &reqwest::Client, address: SocketAddr) -> Result<()> {
    let url = format!("http://{address}/readyz");
    let response = client.get(&url).timeout(ANSWER_MAX).send().await.with_context(|| format!("asking {url}"))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let body = response.text().await.with_context(|| format!("reading the answer of {url}"))?;
    let body: String = body.chars().take(SHOWN_LEN_MAX).collect();
    bail!("{url} answers {status}: {}", body.trim())
}
