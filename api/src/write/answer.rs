//! What a writer is answered: the product as it is now, the token, and where that is wanted, how the write came about.

use std::time::SystemTime;

use axum::{body::Body as Stream, response::Response};
use freshline::{catalog::Written, clock::micros, coherence::ETag, telemetry::chain};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tracing::warn;
use utoipa::ToSchema;

use crate::{extract::TOKEN, services::Services};

/// What a write that is to be explained came about by. Its times are of the clock of the process that wrote.
#[derive(Debug, Serialize, ToSchema)]
pub struct WriteExplanation<'a> {
    /// The process that wrote, by its id in the registry.
    process: &'a str,
    /// The transaction; null where Postgres could not be asked for it any more.
    xid: Option<u64>,
    /// A position of the log that is behind its commit; null likewise.
    end: Option<String>,
    /// When it was sent to Postgres, in µs since 1970.
    began_us: i64,
    /// When Postgres had confirmed the commit, in µs since 1970.
    committed_us: i64,
    /// How long that took.
    took_ms: f64,
}

/// Tells what became of a write that begins now.
pub struct Teller<'a> {
    process: &'a str,
    explains: bool,
    began: SystemTime,
}

impl<'a> Teller<'a> {
    /// Of a write that begins now.
    pub fn new(services: &'a Services, explains: bool) -> Self {
        Self { process: &services.process, explains, began: SystemTime::now() }
    }

    /// The answer that shows the product as it is now.
    pub fn product(&self, written: &Written, status: StatusCode) -> Response {
        let body = &written.product.body;
        let mut response = if self.explains {
            let write = self.explanation(written);
            json(written, status, [b"{\"product\":", body.as_ref(), b",\"write\":", &write, b"}"].concat().into())
        } else {
            json(written, status, Stream::from(body.clone()))
        };
        if let Ok(etag) = HeaderValue::try_from(ETag::of(body).to_string()) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }

    /// The answer where there is no product any more.
    pub fn nothing(&self, written: &Written) -> Response {
        if self.explains {
            let write = self.explanation(written);
            return json(written, StatusCode::OK, [b"{\"write\":", write.as_slice(), b"}"].concat().into());
        }
        answer(written, StatusCode::NO_CONTENT, Stream::empty())
    }

    fn explanation(&self, written: &Written) -> Vec<u8> {
        let token = written.token.as_ref().ok();
        let took = written.committed.duration_since(self.began).unwrap_or_default();
        let explanation = WriteExplanation {
            process: self.process,
            xid: token.map(|token| token.xid.get()),
            end: token.map(|token| token.lsn.to_string()),
            began_us: micros(self.began),
            committed_us: micros(written.committed),
            took_ms: took.as_micros() as f64 / 1_000.0,
        };
        // Strings and numbers: none of them can fail to be written.
        serde_json::to_vec(&explanation).unwrap_or_default()
    }
}

fn json(written: &Written, status: StatusCode, body: Stream) -> Response {
    let mut response = answer(written, status, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn answer(written: &Written, status: StatusCode, body: Stream) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(token) = token(written) {
        response.headers_mut().insert(TOKEN, token);
    }
    response
}

/// The token of a write, or none where Postgres could not be asked for it any more: the write itself is committed, and to call it
/// failed would be wrong.
fn token(written: &Written) -> Option<HeaderValue> {
    match &written.token {
        Ok(token) => HeaderValue::try_from(token.to_string()).ok(),
        Err(error) => {
            warn!("a write was committed and answered without a token: {}", chain(error));
            None
        }
    }
}
