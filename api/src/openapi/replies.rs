//! What reads and writes answer with, headers and all.

use std::collections::BTreeMap;

use freshline::{cache::Explanation, catalog::Categories};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{
        Content, Ref, RefOr, Response, ResponseBuilder, Schema,
        header::{Header, HeaderBuilder},
        schema::{AllOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder},
    },
};

use super::schemas::{Product, nullable, object, text};
use crate::write::answer::WriteExplanation;

/// What every answer from the cache says of itself.
const OF_READ: [(&str, &str); 8] = [
    ("Cache-Status", "Where the answer came from, and why not from the cache (RFC 9211): `Freshline; hit; detail=redis`."),
    ("Age", "How long ago it was true at the latest, in seconds."),
    (
        "Cache-Control",
        "What caches of others may do: `no-cache` unless a setting says for how long; `private, no-store` with a token.",
    ),
    ("ETag", "What it is, in its coding; absent where it explains itself."),
    ("Vary", "What else of the request decides: the codings, and the token."),
    ("Content-Encoding", "The coding of the body; absent where it has none."),
    ("Cache-Tag", "What it depends on, where caches of others may keep it: names with commas between."),
    ("Surrogate-Key", "The same with blanks between."),
];

const LINK: (&str, &str) = ("Link", "The next page, as `rel=\"next\"`; absent on the last one.");

/// What a write says.
const OF_WRITE: [(&str, &str); 2] = [
    (
        "Freshline-Token",
        "Proof of the write, for reads that have to include it; absent where Postgres could not be asked for it any more.",
    ),
    ("Cache-Control", "`no-store`."),
];

/// A type that stands for the responses of a read: its schema, and headers besides.
macro_rules! reads {
    ($($(#[$meta:meta])* $name:ident => $description:literal, $schema:expr, $headers:expr;)*) => {$(
        $(#[$meta])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                read($description, $schema.into(), &$headers)
            }
        }
    )*};
}

reads! {
    /// One product.
    ProductRead => "The product; with `explain=true` also how the cache came to it.", one_or_explained(), [];
    /// A page.
    ListRead => "A page.", page(), [LINK];
    /// The first page.
    LatestRead => "The latest products.", page(), [LINK];
    /// Several products.
    BatchRead => "Those that there are.", several(), [];
    /// The categories.
    CategoriesRead => "The categories; with `explain=true` also how the cache came to them.", categories(), [];
}

/// A type that stands for the responses of a write.
macro_rules! writes {
    ($($(#[$meta:meta])* $name:ident => [$($response:expr),*];)*) => {$(
        $(#[$meta])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let responses: Vec<(&str, ResponseBuilder)> = vec![$($response),*];
                responses.into_iter().map(|(status, response)| (status.to_owned(), with(response, &OF_WRITE).into())).collect()
            }
        }
    )*};
}

writes! {
    /// A product was made.
    Created => [("201", with(the_product("It was made."), &[("Location", "Where it is.")]))];
    /// A product was changed.
    Replaced => [("200", the_product("It was changed, or was so already."))];
    /// A product was removed.
    Removed => [
        ("200", ResponseBuilder::new().description("It was removed: with `explain=true`.").content("application/json", removal())),
        ("204", ResponseBuilder::new().description("It was removed."))
    ];
}

/// The live feed.
pub struct Listened;

impl IntoResponses for Listened {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let feed = text().description(Some(
            "Server-sent events (HTML standard, 9.2), each with a JSON object as its data: `done` with its place as `id` (schema `Told`), \
             `lost` where some did not fit (`Lost`), `processes` (`Processes`), and `unseen` instead where these cannot be looked at \
             (`Unseen`). Comments keep the connection alive.",
        ));
        let response = ResponseBuilder::new().description("The feed. It ends when the process does.");
        let response = response.content("text/event-stream", Content::new(Some(feed)));
        BTreeMap::from([("200".to_owned(), with(response, &[("Cache-Control", "`no-store`.")]).into())])
    }
}

/// A header that is text.
pub(super) fn described(description: &str) -> Header {
    HeaderBuilder::new().schema(Some(text())).description(Some(description)).build()
}

fn with(response: ResponseBuilder, headers: &[(&str, &str)]) -> ResponseBuilder {
    headers.iter().fold(response, |response, (name, description)| response.header(*name, described(description)))
}

fn read(description: &str, schema: RefOr<Schema>, headers: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let found = ResponseBuilder::new().description(description).content("application/json", Content::new(Some(schema)));
    let known = ResponseBuilder::new().description("It still has the `ETag` of `If-None-Match`.");
    [("200", found), ("304", known)]
        .into_iter()
        .map(|(status, response)| (status.to_owned(), with(with(response, &OF_READ), headers).into()))
        .collect()
}

fn the_product(description: &str) -> ResponseBuilder {
    let explained = object(&[("product", reference::<Product>()), ("write", reference::<WriteExplanation<'static>>())]);
    let content = Content::new(Some(OneOfBuilder::new().item(reference::<Product>()).item(explained)));
    with(ResponseBuilder::new().description(description).content("application/json", content), &[("ETag", "What it is now.")])
}

fn removal() -> Content {
    Content::new(Some(object(&[("write", reference::<WriteExplanation<'static>>())])))
}

fn one_or_explained() -> OneOfBuilder {
    let explained = object(&[("product", reference::<Product>()), ("explanation", reference::<Explanation>())]);
    OneOfBuilder::new().item(reference::<Product>()).item(explained)
}

fn page() -> ObjectBuilder {
    let next = text().description(Some("Where the next page begins; null on the last one."));
    object(&[("items", products()), ("next", nullable(next).into())]).property("explanation", explanations())
}

fn several() -> ObjectBuilder {
    let missing = text().description(Some("An id of which there is no product."));
    object(&[("items", products()), ("missing", list(missing.into()))]).property("explanation", explanations())
}

fn categories() -> AllOfBuilder {
    let explained = ObjectBuilder::new().property("explanation", reference::<Explanation>());
    AllOfBuilder::new().item(reference::<Categories>()).item(explained)
}

/// How page and rows came about, where that was asked for.
fn explanations() -> ObjectBuilder {
    object(&[("items", list(reference::<Explanation>()))]).property("page", reference::<Explanation>())
}

fn products() -> RefOr<Schema> {
    list(reference::<Product>())
}

fn list(of: RefOr<Schema>) -> RefOr<Schema> {
    ArrayBuilder::new().items(of).into()
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}
