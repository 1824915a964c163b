//! A product, as it is served.

use uuid::Uuid;

/// A row of `products`: every column in its order, each as Postgres prints it.
///
/// Text, because the change stream tells a row as text too: what is served is made by one encoder from either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    id: Uuid,
    values: [Option<Box<str>>; Self::COLUMNS.len()],
}

impl Product {
    /// The columns, in the table's order.
    pub const COLUMNS: [&'static str; 10] = [
        "id", "sku", "name", "description", "category", "price", "stock_quantity", "attributes", "created_at", "updated_at",
    ];

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The values of its columns, in order; `None` is null.
    pub fn values(&self) -> impl Iterator<Item = Option<&str>> {
        self.values.iter().map(Option::as_deref)
    }
}

/// What the statements that return products answer with. All columns may be null: a row that was asked for and is not there.
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
