//! A product, as it is served.

use std::sync::LazyLock;

use bytes::Bytes;
use uuid::Uuid;

use crate::change::Datum;
use crate::row_json::RowEncoder;

/// The columns of `products` in the table's order, with their types (`pg_type.oid`). Queries select all of them as text in this
/// order, and the change stream tells them in it. A test compares this with the migrated table.
const COLUMNS: [(&str, u32); 10] = [
    ("id", UUID),
    ("sku", TEXT),
    ("name", TEXT),
    ("description", TEXT),
    ("category", TEXT),
    ("price", NUMERIC),
    ("stock_quantity", INT4),
    ("attributes", JSONB),
    ("created_at", TIMESTAMPTZ),
    ("updated_at", TIMESTAMPTZ),
];

const INT4: u32 = 23;
const TEXT: u32 = 25;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;
const JSONB: u32 = 3802;

static ENCODER: LazyLock<RowEncoder> = LazyLock::new(|| RowEncoder::new(COLUMNS));

/// A product: its id, and its JSON as the one encoder makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its id.
    pub id: Uuid,
    /// Its JSON object, with the columns of the table as fields, in order.
    pub body: Bytes,
}

impl Product {
    /// The columns that a product is made of: name, and object id of the type. A relation of the change stream that has other ones
    /// cannot take the place of a read.
    pub fn columns() -> impl Iterator<Item = (&'static str, u32)> {
        COLUMNS.into_iter()
    }
}

/// What the statements that return products answer with: the columns as text. All may be null, for a row that was asked for and is
/// not there.
pub(super) struct Texts {
    pub id: Option<String>,
    pub sku: Option<String>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub category: Option<String>,
    pub price: Option<String>,
    pub stock_quantity: Option<String>,
    pub attributes: Option<String>,
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
}

/// [`Texts`] of a record that sqlx made of a statement: its type has no name.
macro_rules! texts {
    ($row:ident) => {
        $crate::catalog::product::Texts {
            id: $row.id,
            sku: $row.sku,
            name: $row.name,
            description: $row.description,
            category: $row.category,
            price: $row.price,
            stock_quantity: $row.stock_quantity,
            attributes: $row.attributes,
            created_at: $row.created_at,
            updated_at: $row.updated_at,
        }
    };
}
pub(super) use texts;

impl Texts {
    /// The product, or `None` where there was no row.
    pub fn product(&self) -> Result<Option<Product>, UnlikeProduct> {
        let Some(id) = &self.id else { return Ok(None) };
        let values = [
            Some(id),
            self.sku.as_ref(),
            self.name.as_ref(),
            self.description.as_ref(),
            self.category.as_ref(),
            self.price.as_ref(),
            self.stock_quantity.as_ref(),
            self.attributes.as_ref(),
            self.created_at.as_ref(),
            self.updated_at.as_ref(),
        ];
        let mut body = Vec::with_capacity(values.iter().flatten().map(|text| text.len() + 20).sum());
        ENCODER
            .push(&mut body, values.map(|text| text.map_or(Datum::Null, |text| Datum::Text(text))))
            .map_err(|_| UnlikeProduct)?;
        let id = id.parse().map_err(|_| UnlikeProduct)?;
        Ok(Some(Product { id, body: body.into() }))
    }
}

/// A row that is not made as a product is.
#[derive(Debug, thiserror::Error)]
#[error("a row that was read is not made as a product is")]
pub(super) struct UnlikeProduct;
