//! The OpenAPI document of this API, made from the code: each call describes itself where it is written, with what is here for all.
//!
//! - `params.rs` what may be asked for, `replies.rs` what a read answers with, `problems.rs` what any call may be refused with;
//! - `schemas.rs` what a product is, from the same bounds that a request is checked with;
//! - `operations.rs` the pages for operators, which are no calls of this crate;
//! - `pages.rs` serves the document, and the two programs that show it.

mod operations;
mod pages;
mod params;
mod problems;
mod replies;
mod schemas;

use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::TagBuilder,
};

pub use self::{
    operations::describe as describe_operations,
    pages::router,
    params::{
        BatchParams, Condition, KeyName, KeysParams, ListParams, ListenParams, PerformanceParams, ProductId, ReadParams, TagName,
        WriteParams,
    },
    problems::{OfAsking, OfListening, OfManagement, OfMeasuring, OfRead, OfRemoval, OfRow, OfWrite, OfWriteToRow},
    replies::{BatchRead, CategoriesRead, Created, LatestRead, ListRead, Listened, ProductRead, Removed, Replaced},
    schemas::{Draft, Patch},
};

/// What the calls are grouped by.
const TAGS: [(&str, &str); 3] = [
    ("products", "The catalogue. Reads come from the cache, writes go to Postgres, and nothing has to be told about the other."),
    ("health", "How this process and its servers are."),
    (
        "management",
        "What operators ask of the cache. Needs the token of `FRESHLINE_API_MANAGE_TOKEN` where one is set, and may be at another port.",
    ),
];

/// The document before any call has added itself.
pub fn basis() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Freshline")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of `FRESHLINE_API_MANAGE_TOKEN`. Where none is set, none is asked for."));
    let components =
        schemas::all(problems::all(ComponentsBuilder::new())).security_scheme("token", SecurityScheme::Http(token.build())).build();
    let tags = TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    OpenApiBuilder::new().info(info).components(Some(components)).tags(Some(tags)).build()
}

/// What the front puts into every answer.
const OF_EVERY_ANSWER: [(&str, &str); 3] = [
    (
        "X-Request-Id",
        "The request's id: that of its caller, where it sent one of up to 128 visible characters. The log tells failures under it.",
    ),
    ("Server-Timing", "How long it took in this process, in ms: `app;dur=0.271` (W3C)."),
    ("Traceparent", "The trace that the request is in, where it is traced (W3C)."),
];

/// Completes the document once every call has added itself.
pub fn complete(document: &mut OpenApi) {
    let items = document.paths.paths.values_mut();
    let operations = items
        .flat_map(|item| [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete])
        .filter_map(Option::as_mut);
    for response in operations.flat_map(|operation| operation.responses.responses.values_mut()) {
        if let RefOr::T(response) = response {
            response.headers.extend(OF_EVERY_ANSWER.map(|(name, told)| (name.to_owned(), replies::described(told).into())));
        }
    }
}

const ABOUT: &str = "A product catalogue whose cache in Redis is kept true from Postgres's own change stream.\n\n\
    * A read is never older than `FRESHLINE_MAX_STALENESS_MS`, and says in `Cache-Status` and `Age` where it came from.\n\
    * A write answers with `Freshline-Token`. A read that carries it is never older than that write, on any replica.\n\
    * Every answer of 400 and above is `application/problem+json` (RFC 9457), and names field, value and remedy.";
