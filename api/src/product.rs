//! A product as callers send it: read member by member, so that everything wrong with it is told at once.
//!
//! The bounds are those of the table's checks, which hold for whoever writes; here they are told in the caller's terms. Numbers are
//! taken from their text: nothing passes through a float.

mod attributes;
mod bounds;
mod members;
mod price;

use freshline::catalog::{NewProduct, ProductPatch};
use serde_json::value::RawValue;

pub use self::bounds::{Bounds, CATEGORY, DESCRIPTION, NAME, SKU};
use self::{
    attributes::object,
    bounds::{stock_quantity, text},
    members::Members,
};
use crate::problem::{Fault, Place, Problem, Subject};

/// What may stand in a body, in the order that faults are told in.
const FIELDS: [&str; 7] = ["sku", "name", "description", "category", "price", "stock_quantity", "attributes"];

/// What a product has, and callers may not set.
const READ_ONLY: [&str; 3] = ["id", "created_at", "updated_at"];

/// Why a value cannot be used, and what to send instead.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    detail: String,
    remedy: String,
}

impl Wrong {
    fn new(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { detail: detail.into(), remedy: remedy.into() }
    }
}

/// Reads a whole product, for POST and PUT.
///
/// # Errors
/// Every fault of it.
pub fn draft(body: &[u8]) -> Result<NewProduct, Problem> {
    let mut form = Form::read(body)?;
    let (sku, name) = (form.needed("sku", |raw| text(raw, SKU)), form.needed("name", |raw| text(raw, NAME)));
    let description = form.nullable("description", |raw| text(raw, DESCRIPTION));
    let category = form.needed("category", |raw| text(raw, CATEGORY));
    let price = form.needed("price", price::price);
    let stock_quantity = form.given("stock_quantity", stock_quantity);
    let attributes = form.given("attributes", object).or_else(|| RawValue::from_string("{}".to_owned()).ok());
    match (sku, name, category, price, attributes) {
        (Some(sku), Some(name), Some(category), Some(price), Some(attributes)) if form.faults.is_empty() => Ok(NewProduct {
            sku,
            name,
            description: description.flatten(),
            category,
            price,
            stock_quantity: stock_quantity.unwrap_or_default(),
            attributes,
        }),
        _ => Err(form.refused()),
    }
}

/// Reads a merge patch of a product (RFC 7396), for PATCH: what is left out stays, and null removes what may be absent.
///
/// # Errors
/// Every fault of it.
pub fn patch(body: &[u8]) -> Result<ProductPatch, Problem> {
    let mut form = Form::read(body)?;
    let patch = ProductPatch {
        sku: form.given("sku", |raw| text(raw, SKU)),
        name: form.given("name", |raw| text(raw, NAME)),
        description: form.nullable("description", |raw| text(raw, DESCRIPTION)),
        category: form.given("category", |raw| text(raw, CATEGORY)),
        price: form.given("price", price::price),
        stock_quantity: form.given("stock_quantity", stock_quantity),
        attributes: form.given("attributes", object),
    };
    if form.faults.is_empty() { Ok(patch) } else { Err(form.refused()) }
}

/// The members of a body, and what was found wrong with them.
struct Form<'a> {
    members: Members<'a>,
    faults: Vec<Fault>,
}

impl<'a> Form<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Problem> {
        let members = Members::read(body)?;
        let faults = members.unexpected().collect();
        Ok(Self { members, faults })
    }

    /// A member that has to be there.
    fn needed<T>(&mut self, field: &'static str, read: impl FnOnce(&RawValue) -> Result<T, Wrong>) -> Option<T> {
        if self.members.get(field).is_none() {
            self.faults.push(Fault::new(pointer(field), None, format!("{field} is missing."), format!("Add {field}.")));
        }
        self.given(field, read)
    }

    /// A member that may be left out, and not be null.
    fn given<T>(&mut self, field: &'static str, read: impl FnOnce(&RawValue) -> Result<T, Wrong>) -> Option<T> {
        let raw = self.members.get(field)?;
        if raw.get() == "null" {
            let detail = format!("{field} is null, and every product has one.");
            self.faults.push(Fault::new(pointer(field), Some("null"), detail, "Give it a value, or leave it out."));
            return None;
        }
        self.checked(field, raw, read)
    }

    /// A member that may be left out, and be null.
    fn nullable<T>(&mut self, field: &'static str, read: impl FnOnce(&RawValue) -> Result<T, Wrong>) -> Option<Option<T>> {
        let raw = self.members.get(field)?;
        if raw.get() == "null" { Some(None) } else { self.checked(field, raw, read).map(Some) }
    }

    fn checked<T>(&mut self, field: &'static str, raw: &RawValue, read: impl FnOnce(&RawValue) -> Result<T, Wrong>) -> Option<T> {
        read(raw)
            .map_err(|Wrong { detail, remedy }| {
                self.faults.push(Fault::new(pointer(field), Some(raw.get()), format!("{field} {detail}."), remedy));
            })
            .ok()
    }

    fn refused(self) -> Problem {
        Problem::faulty(Subject::Invalid, self.faults)
    }
}

/// The place of a member, as a JSON pointer.
fn pointer(member: &str) -> Place {
    Place::Pointer(format!("/{}", member.replace('~', "~0").replace('/', "~1")))
}

/// What a JSON value is, told by its first byte.
fn kind_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}
