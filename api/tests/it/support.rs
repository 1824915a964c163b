//! A running API, and how to ask it.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use stage::{Launch, Login, Process, Stage};

/// A running API. Killed when it is dropped.
pub struct Api {
    pub process: Process,
    pub client: reqwest::Client,
    base: String,
}

/// An answer that has been read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Api {
    /// One whose servers are nowhere: it comes up all the same, and answers whatever needs none of them.
    pub async fn alone() -> Self {
        // Port 1 of this machine: nobody listens there.
        let launch = Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api"))
            .variable("FRESHLINE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
            .variable("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/");
        Self::start(launch).await
    }

    /// One on the servers of this stage.
    pub async fn on(stage: &Stage) -> Self {
        Self::start(launch(stage)).await
    }

    /// One that is started like this, on a port of its own choice.
    pub async fn start(launch: Launch) -> Self {
        let mut process = Process::start(launch.variable("FRESHLINE_API_ADDRESS", "127.0.0.1:0")).expect("the API can be started");
        let line = process.line("listening on ").await;
        let address = line.rsplit(' ').next().expect("an address");
        Self { base: format!("http://{address}"), process, client: reqwest::Client::new() }
    }

    /// Its address and port.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// A request to it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    /// A read that has to include the write of this token.
    pub async fn get_after(&self, token: &str, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).header("freshline-token", token)).await
    }

    /// A request with this text as its JSON.
    pub async fn send(&self, method: Method, path: &str, json: &str) -> Answer {
        Answer::of(self.request(method, path).header("content-type", "application/json").body(json.to_owned())).await
    }

    /// A product that has been made, under this sku and at this price, as the answer shows it.
    pub async fn made(&self, sku: &str, price: &str) -> Value {
        let json = format!(r#"{{"sku":"{sku}","name":"Product {sku}","category":"audio","price":{price}}}"#);
        let answer = self.send(Method::POST, "/products", &json).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()
    }
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.expect("an answer")).await
    }

    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.expect("a whole body");
        Self { status, headers, body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|wrong| panic!("{wrong}: {self:?}"))
    }

    /// A header that has to be there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().expect("text")
    }

    /// The answer as a problem of this status and type.
    pub fn problem(&self, status: u16, name: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        assert_eq!(problem["type"], format!("urn:problem-type:freshline:{name}"), "{self:?}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{self:?}");
        problem
    }
}

/// How an API is started on a stage: patient with Postgres, because a login takes its time on a busy machine.
pub fn launch(stage: &Stage) -> Launch {
    stage.launch("freshline-api", Login::Api).variable("FRESHLINE_API_SESSION_WAIT_MS", "20000")
}
