//! `/openapi.json`, and the pages that show it: Swagger UI at `/docs`, ReDoc at `/redoc`. All of it lies in this binary, so that it
//! works without a network, and no page may load anything from elsewhere.

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use utoipa::openapi::OpenApi;

use crate::{extract::NoQuery, files::File};

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
            let file = File::new(media_type, POLICY, bytes);
            router.route(path, get(async move |_: NoQuery, headers: HeaderMap| file.answer(&headers)))
        },
    )
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
