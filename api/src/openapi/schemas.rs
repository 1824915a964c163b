//! What a product is, as a caller sends it and as it is answered: from the bounds that a request is checked with.

use freshline::{
    cache::Explanation,
    catalog::{Categories, Price},
    trail::Told,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ComponentsBuilder, RefOr, Schema,
        schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, SchemaType, Type},
    },
};

use crate::{
    events::{Lost, Processes, Unseen},
    product::{Bounds, CATEGORY, DESCRIPTION, NAME, SKU},
    write::answer::WriteExplanation,
};

/// As an id is written.
pub(super) const UUID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";

/// A price as text: at most two decimals, and zeros wherever they change nothing.
const PRICE: &str = "^0*[0-9]{1,10}([.][0-9]{1,2}0*)?$";

/// A product as it is answered.
pub struct Product;
/// A whole product as a caller sends it.
pub struct Draft;
/// What a caller changes of a product.
pub struct Patch;

impl ToSchema for Product {}
impl ToSchema for Draft {}
impl ToSchema for Patch {}

/// The schemas that responses name and no call mentions by itself.
pub(super) fn all(components: ComponentsBuilder) -> ComponentsBuilder {
    let events = known::<Told>(known::<Lost>(known::<Processes>(known::<Unseen>(known::<WriteExplanation<'static>>(components)))));
    known::<Categories>(known::<Explanation>(known::<Product>(events)))
}

/// A schema, and those that it names.
pub(super) fn known<T: ToSchema>(components: ComponentsBuilder) -> ComponentsBuilder {
    let mut named = Vec::new();
    T::schemas(&mut named);
    components.schema(T::name(), T::schema()).schemas_from_iter(named)
}

impl PartialSchema for Product {
    fn schema() -> RefOr<Schema> {
        let time = || text().description(Some("By Postgres's clock, in UTC."));
        object(&[
            ("id", text().pattern(Some(format!("^{UUID}$"))).into()),
            ("sku", SKU.schema().into()),
            ("name", NAME.schema().into()),
            ("description", nullable(DESCRIPTION.schema()).into()),
            ("category", CATEGORY.schema().into()),
            ("price", text().pattern(Some("^[0-9]{1,10}[.][0-9]{2}$")).into()),
            ("stock_quantity", stock_quantity().into()),
            ("attributes", attributes().into()),
            ("created_at", time().into()),
            ("updated_at", time().into()),
        ])
        .into()
    }
}

impl PartialSchema for Draft {
    fn schema() -> RefOr<Schema> {
        let needed = ["sku", "name", "category", "price"];
        needed.iter().fold(fields(), |draft, name| draft.required(*name)).into()
    }
}

impl PartialSchema for Patch {
    fn schema() -> RefOr<Schema> {
        fields().into()
    }
}

/// What a caller may set; nothing else may be there.
fn fields() -> ObjectBuilder {
    ObjectBuilder::new()
        .property("sku", SKU.schema())
        .property("name", NAME.schema())
        .property("description", nullable(DESCRIPTION.schema()))
        .property("category", CATEGORY.schema())
        .property("price", price())
        .property("stock_quantity", stock_quantity())
        .property("attributes", attributes())
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// Exact either way: a number is taken from its digits.
fn price() -> OneOfBuilder {
    let number = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0.0)).maximum(Some(Price::MAX.cents() as f64 / 100.0));
    OneOfBuilder::new()
        .description(Some("At most two decimals; as text where a program would round them."))
        .item(number)
        .item(text().pattern(Some(PRICE)))
}

fn stock_quantity() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0.0)).maximum(Some(f64::from(i32::MAX)))
}

fn attributes() -> ObjectBuilder {
    ObjectBuilder::new()
        .description(Some("What only this kind of product has: any JSON object."))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
}

impl Bounds {
    /// The texts that it takes.
    pub fn schema(self) -> ObjectBuilder {
        let schema = text().max_length(Some(self.len_max));
        if self.is_blank_allowed { schema } else { schema.min_length(Some(1)).pattern(Some("\\S")) }
    }
}

/// Any text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// The same, or null.
pub(super) fn nullable(schema: ObjectBuilder) -> ObjectBuilder {
    schema.schema_type(SchemaType::from_iter([Type::String, Type::Null]))
}

/// An object that has all of these members.
pub(super) fn object(members: &[(&str, RefOr<Schema>)]) -> ObjectBuilder {
    members.iter().fold(ObjectBuilder::new(), |object, (name, schema)| object.property(*name, schema.clone()).required(*name))
}
