//! What a call may be refused with: made from the subjects of problems, so that each status, type and header is described once.

use std::collections::BTreeMap;

use http::StatusCode;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ComponentsBuilder, Content, Ref, RefOr, Response, ResponseBuilder},
};

use super::{replies::described, schemas::known};
use crate::problem::{Document, PROBLEM_JSON, Subject};

/// A type that stands for subjects.
macro_rules! subjects {
    ($($(#[$meta:meta])* $name:ident => $subjects:expr;)*) => {$(
        $(#[$meta])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                use Subject::*;
                of(&$subjects)
            }
        }
    )*};
}

subjects! {
    /// Of a call that only asks this process.
    OfAsking => [Request, Internal];
    /// Of a read.
    OfRead => [Request, Internal, Unavailable, Overloaded];
    /// Of a read of one product.
    OfRow => [Request, NoProduct, Internal, Unavailable, Overloaded];
    /// Of a write.
    OfWrite => [Request, Malformed, Slow, DuplicateSku, TooLarge, MediaType, Invalid, Internal, Unavailable, Overloaded, Uncertain];
    /// Of a write of a product that has to be there.
    OfWriteToRow => [
        Request, Malformed, NoProduct, Slow, DuplicateSku, Changed, TooLarge, MediaType, Invalid, Internal, Unavailable, Overloaded, Uncertain
    ];
    /// Of the removal of a product.
    OfRemoval => [Request, NoProduct, Changed, Internal, Unavailable, Overloaded, Uncertain];
    /// Of a management call.
    OfManagement => [Request, Unauthorized, Internal, CacheAway];
    /// Of the live feed.
    OfListening => [Request, Unauthorized, Internal, CacheAway, Listeners];
    /// Of a measurement.
    OfMeasuring => [Request, Unauthorized, Measuring, Internal, Unavailable, Overloaded];
}

/// The schemas that these responses name.
pub(super) fn all(components: ComponentsBuilder) -> ComponentsBuilder {
    known::<Document<'static>>(components)
}

/// One response for each status that these subjects have.
fn of(subjects: &[Subject]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<StatusCode, Vec<String>> = BTreeMap::new();
    for subject in subjects {
        let (status, name, title) = subject.parts();
        by_status.entry(status).or_default().push(format!("`urn:problem-type:freshline:{name}`: {title}."));
    }
    by_status.into_iter().map(|(status, told)| (status.as_str().to_owned(), response(status, &told.join("\n\n")).into())).collect()
}

fn response(status: StatusCode, description: &str) -> ResponseBuilder {
    let content = Content::new(Some(Ref::from_schema_name(Document::name())));
    let response = ResponseBuilder::new().description(description).content(PROBLEM_JSON, content);
    let headers = headers(status)
        .iter()
        .chain(&[("Cache-Control", "`no-store`, unless it is what the cache holds: that there is no such row.")]);
    headers.fold(response, |response, (name, description)| response.header(*name, described(description)))
}

/// The headers that answers of this status have besides.
fn headers(status: StatusCode) -> &'static [(&'static str, &'static str)] {
    const RETRY_AFTER: (&str, &str) = ("Retry-After", "When to come again, in seconds.");
    match status {
        StatusCode::UNAUTHORIZED => &[("WWW-Authenticate", "What is asked for: `Bearer`.")],
        StatusCode::NOT_FOUND => &[
            ("Cache-Status", "Of a read: where it is known from that there is no such product (RFC 9211)."),
            ("Age", "Of a read: how long ago that was true at the latest, in seconds."),
        ],
        StatusCode::PRECONDITION_FAILED => &[("ETag", "What the product is now.")],
        StatusCode::PAYLOAD_TOO_LARGE => &[("Connection", "`close`: the body is not read to its end.")],
        StatusCode::UNSUPPORTED_MEDIA_TYPE => &[
            ("Accept-Post", "The types that are taken, of a whole product."),
            ("Accept-Patch", "The types that are taken, of a patch."),
            ("Accept-Encoding", "`identity`, where the body was encoded."),
        ],
        StatusCode::TOO_MANY_REQUESTS => &[RETRY_AFTER],
        StatusCode::SERVICE_UNAVAILABLE => &[RETRY_AFTER],
        _ => &[],
    }
}
