//! Freshline's reader: anybody's, who asks the replicas of the API in turn.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use freshline::registry::{Process, Role};
use serde::Deserialize;
use uuid::Uuid;

use super::{event::Source, failure::Failure, readers::Found};

/// Reads one row through the API.
pub struct Replicas {
    client: reqwest::Client,
    urls: Vec<String>,
    turn: usize,
}

#[derive(Deserialize)]
struct Product {
    price: String,
}

impl Replicas {
    /// The replicas among these processes; `None` where there is none.
    pub fn among(processes: &[Process], client: reqwest::Client, id: Uuid) -> Option<Self> {
        let apis = processes.iter().filter(|process| process.role == Role::Api).filter_map(|process| process.address.as_ref());
        let urls: Vec<String> = apis.map(|address| format!("http://{}/products/{id}", reachable(address))).collect();
        (!urls.is_empty()).then_some(Self { client, urls, turn: 0 })
    }

    /// Reads it.
    pub async fn read(&mut self) -> Result<Found, Failure> {
        let url = &self.urls[self.turn % self.urls.len()];
        self.turn = self.turn.wrapping_add(1);
        let answer = self.client.get(url).send().await?;
        let (status, caching) = (answer.status(), answer.headers().get("cache-status").cloned());
        let is_hit = caching.is_some_and(|caching| String::from_utf8_lossy(caching.as_bytes()).contains("; hit"));
        let source = if is_hit { Source::Cache } else { Source::Postgres };
        let product = answer.bytes().await?;
        let Ok(Product { price }) = serde_json::from_slice(&product) else {
            return Err(Failure::NoPrice { status: status.as_u16() });
        };
        Ok(Found { value: price, source })
    }
}

/// A replica that listens on every address is asked on loopback.
fn reachable(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()).to_string()
        }
        _ => address.to_owned(),
    }
}
