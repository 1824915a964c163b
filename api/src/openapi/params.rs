//! What may be asked for: parameters of path, query and headers.

use freshline::{
    catalog::{LIST_LIMIT_MAX, Sort},
    coherence::NAME_LEN_MAX,
};
use utoipa::{
    IntoParams,
    openapi::{
        ArrayBuilder, ObjectBuilder, RefOr, Required, Schema, SchemaFormat, Type,
        path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
    },
};

use super::schemas::{UUID, text};
use crate::product::CATEGORY;

/// As a token is written: history, transaction, position, each number without zeros before it.
const TOKEN: &str = "^([1-9][0-9]{0,17})?[0-9]/([1-9][0-9]{0,7})?[0-9]/([1-9][0-9]{0,14})?[0-9]:[1-9][0-9]{0,14}:\
     ([1-9A-F][0-9A-F]{0,3})?[0-9A-F]/([1-9A-F][0-9A-F]{0,6})?[0-9A-F]$";

/// A type that stands for parameters.
macro_rules! params {
    ($($(#[$meta:meta])* $name:ident => [$($parameter:expr),* $(,)?];)*) => {$(
        $(#[$meta])*
        pub struct $name;

        impl IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$($parameter.build()),*]
            }
        }
    )*};
}

params! {
    /// The id of a product.
    ProductId => [path("id", "The id of the product, as the catalogue writes it.", text().pattern(Some(format!("^{UUID}$"))))];
    /// What every read takes.
    ReadParams => [
        query("explain", "Whether to tell how the cache came to the answer.", of_type(Type::Boolean).default(Some(false.into()))),
        header("Freshline-Token", "What a write answered: the answer includes that write.", token())
            .example(Some("7412345678901234567/1/1763719200000000:841:0/16B3748".into())),
        header("If-None-Match", "An `ETag` that is known already: 304 where the answer still has it.", text()),
        header("Accept-Encoding", "The codings that the caller takes: `zstd`, `br` or `gzip`, of a body that is worth it.", text()),
    ];
    /// What every write takes.
    WriteParams => [
        query("explain", "Whether to tell by which transaction it was written, and when.", of_type(Type::Boolean).default(Some(false.into()))),
    ];
    /// What a write of a product that is there takes.
    Condition => [
        header("If-Match", "The `ETag` of what the writer has seen: 412 where the product is another by now.", text()),
    ];
    /// What a list takes.
    ListParams => [
        query("limit", "The most rows of a page.", whole(1, u64::from(LIST_LIMIT_MAX)).default(Some(20.into()))),
        query(
            "sort",
            "The order. Ties are broken by id.",
            text().enum_values(Some(Sort::ALL.map(Sort::as_str))).default(Some(Sort::default().as_str().into())),
        ),
        query("category", "Only products of this category.", CATEGORY.schema()),
        query(
            "cursor",
            "Where the page begins: `next` of the page before, under the same `sort`.",
            text().pattern(Some("^[0-3][0-9a-f]{32}([0-9a-f]{2})*$")).max_length(Some(33 + 8 * 200)),
        ),
    ];
    /// What a batch takes.
    BatchParams => [
        query("ids", "The ids, with commas between.", ids()).required(Required::True).style(Some(ParameterStyle::Form)).explode(Some(false)),
    ];
    /// The name of a tag.
    TagName => [path("tag", "The tag, such as `products:category=audio`.", name())];
    /// The name of a key.
    KeyName => [path("key", "The key, such as `products:0190b5a0-0000-7000-8000-000000000000`.", name())];
    /// What a list of keys takes.
    KeysParams => [
        query("prefix", "What the keys begin with.", text().max_length(Some(NAME_LEN_MAX))),
        query("cursor", "`next` of the page before.", text().pattern(Some("^([1-9][0-9]{0,17})?[0-9]$"))),
    ];
    /// What a listener asks for.
    ListenParams => [
        query("key", "Only what is done to this key or tag, or to everything. Not together with `table`.", name()),
        query("table", "Only what changes of this table call for, or what is done to everything.", text())
            .example(Some("public.products".into())),
        query("processes", "Whether to tell each second which processes run.", of_type(Type::Boolean).default(Some(false.into()))),
        header("Last-Event-ID", "The id of the last event that was heard: what came after it is told first.", text().pattern(Some("^[0-9]+-[0-9]+$"))),
    ];
    /// What may be asked about readiness.
    ReadinessParams => [query("verbose", "Tells each condition, since when, and what mends it; with any value.", text())];
    /// What a measurement takes.
    PerformanceParams => [
        query("n", "How many reads of each kind.", whole(1, 1000).default(Some(100.into()))),
        query("keys", "How many products are read in turn.", whole(1, 100).default(Some(20.into()))),
    ];
}

fn path(name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    parameter(ParameterIn::Path, name, description, schema).required(Required::True)
}

fn query(name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    parameter(ParameterIn::Query, name, description, schema)
}

fn header(name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    parameter(ParameterIn::Header, name, description, schema)
}

fn parameter(place: ParameterIn, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    ParameterBuilder::new()
        .parameter_in(place)
        .name(name)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
}

/// A format of our own beside the pattern: what makes requests from this document may know how to make one of it.
fn token() -> ObjectBuilder {
    text().pattern(Some(TOKEN)).format(Some(SchemaFormat::Custom("freshline-token".to_owned())))
}

fn of_type(of: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(of)
}

fn whole(min: u64, max: u64) -> ObjectBuilder {
    of_type(Type::Integer).minimum(Some(min as f64)).maximum(Some(max as f64))
}

fn name() -> ObjectBuilder {
    text().min_length(Some(1)).max_length(Some(NAME_LEN_MAX))
}

fn ids() -> ArrayBuilder {
    let id = text().pattern(Some(format!("^{UUID}$")));
    ArrayBuilder::new().items(id).min_items(Some(1)).max_items(Some(usize::from(LIST_LIMIT_MAX)))
}
