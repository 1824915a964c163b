//! Programs that pretend: they say what they were told of the source, answer every request with 200, or end at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Set where this test program plays one of ours: the name of the variable with its address.
const ADDRESS_IN: &str = "XTASK_FAKE_ADDRESS_IN";

/// Variables that are said if they are set.
const SAID: [&str; 5] =
    ["FRESHLINE_SOURCE", "FRESHLINE_NATS_URL", "FRESHLINE_NATS_PASSWORD", "FRESHLINE_RELAY_SLOT", "FRESHLINE_KAFKA_TOPICS"];

/// Writes the programs into a new directory in `scratch`. If `broken` names one, that one only complains and ends.
pub fn programs(scratch: &Path, broken: Option<&str>) -> PathBuf {
    let directory = scratch.join("programs");
    fs::create_dir(&directory).expect("a new directory");
    let own = std::env::current_exe().expect("our own program");
    for (name, variable) in [
        ("freshline-api", Some("FRESHLINE_API_ADDRESS")),
        ("freshline-invalidator", Some("FRESHLINE_INVALIDATOR_ADDRESS")),
        ("freshline-demo", Some("FRESHLINE_DEMO_ADDRESS")),
        ("freshline-relay", Some("FRESHLINE_RELAY_ADDRESS")),
        ("freshline-warmer", None),
    ] {
        let body = match variable {
            _ if broken == Some(name) => "echo FRESHLINE_NAMESPACE: it is not to its liking; exit 78".to_owned(),
            Some(variable) => format!("{ADDRESS_IN}={variable} exec '{}' fake::serves --exact --nocapture", own.display()),
            None => "echo warming \"$@\"".to_owned(),
        };
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an executable script");
    }
    directory
}

/// Not a promise of its own: what the scripts above run. Otherwise it does nothing.
#[tokio::test]
async fn serves() {
    let Some(variable) = std::env::var_os(ADDRESS_IN) else { return };
    let address = std::env::var(variable).expect("an address");
    let listener = TcpListener::bind(&address).await.expect("a free address");
    println!("listening on {address}");
    for name in SAID {
        if let Ok(value) = std::env::var(name) {
            println!("{name}={value}");
        }
    }
    loop {
        let (mut client, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 4096];
        if client.read(&mut request).await.is_ok_and(|len| len > 0) {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            client.write_all(answer).await.ok(); // whoever asked may be gone by now
        }
    }
}
