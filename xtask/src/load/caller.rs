//! Sends one request and tells what its answer was.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Response, StatusCode, header};
use serde_json::Value;

use super::plan::{Kind, Request};

/// How long an answer may take; one that takes longer is an error.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Ids that are asked for at a time.
const PAGE: usize = 100;

/// What an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// From the cache.
    Hit,
    /// In part from the cache.
    Partial,
    /// From Postgres.
    Miss,
    /// A write that was carried out.
    Written,
    /// A read under the token of a write, which includes it.
    Own,
    /// One that does not: the promise is broken.
    Older,
    /// 503: told to come again.
    TurnedAway,
    /// Any other answer of 400 and above.
    Refused,
    /// None.
    Nothing,
}

/// An answer that has come, or is not waited for any more.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// When it was due that it was asked for.
    pub due: Duration,
    /// How long after that it was there.
    pub took: Duration,
    pub came: Came,
}

/// Some APIs, asked in turn.
pub struct Caller {
    client: Client,
    urls: Vec<String>,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.urls.join(", "))
    }
}

impl Caller {
    /// A caller of these.
    pub fn new(urls: Vec<String>) -> Result<Self> {
        let client = Client::builder().timeout(ANSWER_MAX).pool_max_idle_per_host(usize::MAX).build()?;
        Ok(Self { client, urls })
    }

    /// The ids of so many products, or of all where there are fewer.
    pub async fn ids(&self, count: usize) -> Result<Vec<String>> {
        let (mut ids, mut cursor) = (Vec::new(), None::<String>);
        while ids.len() < count {
            let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let url = format!("{}/products?limit={PAGE}{after}", self.urls[0]);
            let answer = self.client.get(&url).send().await.with_context(|| format!("asking {url}"))?;
            ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
            let page: Value = answer.json().await.with_context(|| format!("reading the answer of {url}"))?;
            let items = page["items"].as_array().context("a page without items")?;
            ids.extend(items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned)));
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        ids.truncate(count);
        Ok(ids)
    }

    /// Sends a request, and tells what came of it: of a write that was carried out also what a read under its token showed, elsewhere.
    pub async fn ask(&self, request: &Request, ids: &[String], begun: Instant) -> Vec<Answer> {
        let path = match request.kind {
            Kind::List => "/products".to_owned(),
            Kind::Product | Kind::Write { .. } => format!("/products/{}", ids[request.key]),
        };
        let answer = |due: Duration, came| Answer { due, took: begun.elapsed().saturating_sub(due), came };
        let Kind::Write { cents } = request.kind else {
            let came = self.read(request.turn, &path).await;
            return vec![answer(request.due, came)];
        };
        let (came, written) = self.write(request.turn, &path, cents).await;
        let mut answers = vec![answer(request.due, came)];
        if let Some((token, updated_at)) = written {
            let due = begun.elapsed();
            let came = self.read_own(request.turn + 1, &path, (&token, &updated_at)).await;
            answers.push(answer(due, came));
        }
        answers
    }

    async fn read(&self, turn: usize, path: &str) -> Came {
        let Ok(answer) = self.client.get(self.url(turn, path)).send().await else { return Came::Nothing };
        if let Some(refused) = refusal(&answer) {
            return refused;
        }
        let status = answer.headers().get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        if answer.bytes().await.is_err() {
            return Came::Nothing;
        }
        match status {
            status if status.contains("; hit") => Came::Hit,
            status if status.contains("fwd=partial") => Came::Partial,
            _ => Came::Miss,
        }
    }

    /// Changes a price: what came, and the write's token and time.
    async fn write(&self, turn: usize, path: &str, cents: u32) -> (Came, Option<(String, String)>) {
        let patch = format!("{{\"price\":{}.{:02}}}", cents / 100, cents % 100);
        let asked =
            self.client.patch(self.url(turn, path)).header(header::CONTENT_TYPE, "application/merge-patch+json").body(patch);
        let Ok(answer) = asked.send().await else { return (Came::Nothing, None) };
        if let Some(refused) = refusal(&answer) {
            return (refused, None);
        }
        let token = answer.headers().get("freshline-token").and_then(|token| token.to_str().ok()).map(str::to_owned);
        let Ok(product) = answer.json::<Value>().await else { return (Came::Nothing, None) };
        (Came::Written, token.zip(product["updated_at"].as_str().map(str::to_owned)))
    }

    /// Reads under a token. What is read was changed by this write or by a later one: times are written so that text compares as time does.
    async fn read_own(&self, turn: usize, path: &str, (token, updated_at): (&str, &str)) -> Came {
        let Ok(answer) = self.client.get(self.url(turn, path)).header("freshline-token", token).send().await else {
            return Came::Nothing;
        };
        if let Some(refused) = refusal(&answer) {
            return refused;
        }
        match answer.json::<Value>().await {
            Ok(product) if product["updated_at"].as_str().is_some_and(|read| read >= updated_at) => Came::Own,
            Ok(_) => Came::Older,
            Err(_) => Came::Nothing,
        }
    }

    fn url(&self, turn: usize, path: &str) -> String {
        format!("{}{path}", self.urls[turn % self.urls.len()])
    }
}

fn refusal(answer: &Response) -> Option<Came> {
    match answer.status() {
        status if status.is_success() => None,
        StatusCode::SERVICE_UNAVAILABLE => Some(Came::TurnedAway),
        _ => Some(Came::Refused),
    }
}
