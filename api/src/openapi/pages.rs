//! `/openapi.json`, and the pages that show it: Swagger UI at `/docs`, ReDoc at `/redoc`. All of it lies in this binary, so that it
//! works without a network, and no page may load anything from elsewhere.

use axum::{Router, response::Response, routing::get};
use bytes::Bytes;
use freshline::coherence::ETag;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use utoipa::openapi::OpenApi;

use crate::{condition::is_known, extract::NoQuery};

/// What a page may do: run our scripts, ask this server, and nothing else. Both programs write styles into the page; ReDoc searches in
/// a worker that it makes of a text.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; \
     connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, type, bytes.
const FILES: [(&str, &str, &[u8]); 7] = [
    ("/docs", HTML, include_bytes!("../../../web/docs/swagger.html")),
    ("/docs/start.js", SCRIPT, include_bytes!("../../../web/docs/swagger.js")),
    ("/docs/swagger-ui.css", STYLE, include_bytes!("../../../web/vendor/swagger-ui/swagger-ui.css")),
    ("/docs/swagger-ui-bundle.js", SCRIPT, include_bytes!("../../../web/vendor/swagger-ui/swagger-ui-bundle.js")),
    ("/redoc", HTML, include_bytes!("../../../web/docs/redoc.html")),
    ("/redoc/start.js", SCRIPT, include_bytes!("../../../web/docs/redoc.js")),
    ("/redoc/redoc.standalone.js", SCRIPT, include_bytes!("../../../web/vendor/redoc/redoc.standalone.js")),
];

/// The document, and the pages.
pub fn router(document: &OpenApi) -> Router {
    // Strings and numbers: none of them can fail to be written.
    let document = Bytes::from(document.to_json().unwrap_or_default());
    let files = FILES.map(|(path, media_type, bytes)| (path, media_type, Bytes::from_static(bytes)));
    files.into_iter().chain([("/openapi.json", "application/json", document)]).fold(
        Router::new(),
        |router, (path, media_type, bytes)| {
            let file = File { media_type, etag: ETag::of(&bytes), bytes };
            router.route(path, get(async move |_: NoQuery, headers: HeaderMap| file.answer(&headers)))
        },
    )
}

/// What is served as it is.
#[derive(Clone)]
struct File {
    media_type: &'static str,
    bytes: Bytes,
    etag: ETag,
}

impl File {
    fn answer(&self, asked: &HeaderMap) -> Response {
        let is_known = is_known(asked.get(header::IF_NONE_MATCH), self.etag);
        let mut response = Response::new(if is_known { Bytes::new().into() } else { self.bytes.clone().into() });
        *response.status_mut() = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let mut put = |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
        put(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        put(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        put(header::CONTENT_SECURITY_POLICY, POLICY);
        put(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        put(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Ok(etag) = HeaderValue::try_from(self.etag.to_string()) {
            put(header::ETAG, etag);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_no_address_but_those_of_this_server() {
        let paths: Vec<_> = FILES.iter().map(|(path, ..)| *path).chain(["/openapi.json", "data:,"]).collect();
        for (path, _, bytes) in FILES.iter().filter(|(path, ..)| !path.contains("standalone") && !path.contains("swagger-ui")) {
            let text = std::str::from_utf8(bytes).expect("UTF-8");
            let named = ["src=\"", "href=\"", "url: \""].iter().flat_map(|before| text.split(before).skip(1));
            for address in named.filter_map(|rest| rest.split('"').next()) {
                assert!(paths.contains(&address), "{path} names {address}");
            }
        }
    }
}
