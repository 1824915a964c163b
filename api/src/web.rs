//! The page at `/`: what lies in `web/`, embedded in this binary, and nothing built from it.
//!
//! In a debug build a file is read from the checkout each time, so that whoever works on the page need not build; a file that is new is
//! served after the next build.

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::{extract::NoQuery, files::File};

/// Path in `web/`, type, bytes: made by `build.rs`.
const FILES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/web.rs"));

/// What is served at `/`.
const INDEX: &str = "index.html";

/// What the page may do: run our scripts, look as our styles say, and ask this server, and others on this machine: the demo, and other
/// replicas.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
     connect-src 'self' http://127.0.0.1:* http://localhost:*; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The page, with all that belongs to it.
pub fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, &(name, media_type, bytes)| {
        let path = if name == INDEX { "/".to_owned() } else { format!("/web/{name}") };
        let embedded = File::new(media_type, POLICY, Bytes::from_static(bytes));
        let answer = async move |_: NoQuery, asked: HeaderMap| match of_checkout(name).await {
            Some(bytes) => File::new(media_type, POLICY, bytes).answer(&asked),
            None => embedded.answer(&asked),
        };
        router.route(&path, get(answer))
    })
}

/// The file as it is in the checkout now, in a debug build.
async fn of_checkout(name: &str) -> Option<Bytes> {
    if cfg!(not(debug_assertions)) {
        return None;
    }
    tokio::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/").to_owned() + name).await.map(Bytes::from).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_embedded_and_the_pages_of_the_document_are_not_once_more() {
        let names: Vec<_> = FILES.iter().map(|(name, ..)| *name).collect();
        assert!(names.contains(&INDEX), "{names:?}");
        assert!(names.iter().all(|name| !name.contains("swagger") && !name.contains("redoc")), "{names:?}");
    }
}
