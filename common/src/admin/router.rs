//! The pages: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever starts and stops the process.

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::readiness::{Readiness, Reason, Status};
use crate::telemetry::Metrics;

/// The pages of a process.
///
/// - `/metrics`: the metrics, in Prometheus's text format.
/// - `/livez`: 200 as long as the process answers at all.
/// - `/readyz`: 200 while every condition holds, else 503; with `?verbose` each condition, since when, and its remedy, as text or,
///   where the request accepts `application/json`, as JSON.
pub fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(|| async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()) }))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
}

#[derive(Deserialize)]
struct Asked {
    verbose: Option<String>,
}

async fn readyz(State(readiness): State<Readiness>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let status = readiness.status();
    let ready = status.iter().all(|condition| condition.failure.is_none());
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let json = headers.get(header::ACCEPT).is_some_and(|accept: &HeaderValue| accept.as_bytes().starts_with(b"application/json"));
    match asked.verbose {
        None => (code, if ready { "ready\n" } else { "not ready; ask for /readyz?verbose\n" }).into_response(),
        Some(_) if json => (code, Json(Told::of(ready, &status))).into_response(),
        Some(_) => (code, lines(&status)).into_response(),
    }
}

/// `/readyz?verbose` as JSON.
#[derive(Serialize)]
struct Told<'a> {
    ready: bool,
    conditions: Vec<ToldCondition<'a>>,
}

#[derive(Serialize)]
struct ToldCondition<'a> {
    name: &'a str,
    holds: bool,
    for_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(ready: bool, status: &'a [Status]) -> Self {
        let condition = |Status { name, failure, lasted }: &'a Status| {
            let (reason, remedy) = failure.as_ref().map(|failure| (&*failure.text, failure.remedy.as_deref())).unzip();
            ToldCondition { name, holds: failure.is_none(), for_seconds: lasted.as_secs(), reason, remedy: remedy.flatten() }
        };
        Self { ready, conditions: status.iter().map(condition).collect() }
    }
}

/// `/readyz?verbose` as text: a line for a condition, one more for its remedy.
fn lines(status: &[Status]) -> String {
    let mut lines = String::new();
    for Status { name, failure, lasted } in status {
        let seconds = lasted.as_secs();
        match failure {
            None => lines.extend([format!("ok    {name}, for {seconds} s\n")]),
            Some(Reason { text, remedy }) => {
                lines.extend([format!("FAILS {name}, for {seconds} s: {text}\n")]);
                lines.extend(remedy.iter().map(|remedy| format!("      remedy: {remedy}\n")));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(readiness: &Readiness, path: &str, accept: &str) -> (StatusCode, String) {
        let router = Router::new().route("/readyz", get(readyz).with_state(readiness.clone()));
        let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("infallible");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[tokio::test(start_paused = true)]
    async fn readyz_tells_each_condition_with_its_remedy_when_asked() {
        let readiness = Readiness::new();
        readiness.ready("stream");
        readiness.unready("redis", Reason { text: "refused".to_owned(), remedy: Some("start Redis".to_owned()) });
        let (status, body) = ask(&readiness, "/readyz", "*/*").await;
        assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not ready; ask for /readyz?verbose\n"));
        let (_, body) = ask(&readiness, "/readyz?verbose", "*/*").await;
        assert_eq!(body, "ok    stream, for 0 s\nFAILS redis, for 0 s: refused\n      remedy: start Redis\n");
        let (status, body) = ask(&readiness, "/readyz?verbose", "application/json").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let told: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let conditions = serde_json::json!([
            {"name": "stream", "holds": true, "for_seconds": 0},
            {"name": "redis", "holds": false, "for_seconds": 0, "reason": "refused", "remedy": "start Redis"},
        ]);
        assert_eq!(told, serde_json::json!({"ready": false, "conditions": conditions}));
        readiness.ready("redis");
        assert_eq!(ask(&readiness, "/readyz", "*/*").await, (StatusCode::OK, "ready\n".to_owned()));
    }
}
