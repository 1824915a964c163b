//! Whether a program answers that it is ready, and whether it is ours that answers.

use std::fs;
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

/// Whether the process `pid` listens on this port of 127.0.0.1.
///
/// Another program may have taken the port after it was looked at; it would then answer in the place of ours, which can't start.
pub fn listens(pid: u32, port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let Some(inode) = listener(&table, port) else { return false };
    let socket = format!("socket:[{inode}]");
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.to_str() == Some(&socket))
}

/// The inode of the socket that listens on this port of 127.0.0.1, in the kernel's table: fields are the number, the local address
/// in hexadecimal, the remote one, the state (0A is "listens"), five more, the inode.
fn listener(table: &str, port: u16) -> Option<&str> {
    let address = format!("0100007F:{port:04X}");
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&address.as_str()) && fields.get(3) == Some(&"0A")).then(|| fields.get(9).copied())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_listens_on_a_port_is_seen_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        assert!(listens(std::process::id(), port));
        let launch = stage::Launch::new("shell", "/bin/sh").argument("-c").argument("while :; do sleep 0.05; done");
        let other = stage::Process::start(launch).expect("it starts");
        assert!(!listens(other.pid(), port));
        drop(listener);
        assert!(!listens(std::process::id(), port));
    }
}
