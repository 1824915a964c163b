//! The reference application's catalogue: what a product is, how it is read for the cache, and how it is written.
//!
//! Reads come with a [`ReadProof`](crate::cache::ReadProof), because a value without one may not be cached; writes come with a [`WriteProof`], from which a
//! token is made. Nothing here knows of Redis.

mod categories;
mod cursor;
mod error;
pub mod keys;
mod list;
mod page_rows;
mod price;
mod product;
mod reads;
mod refusal;
mod seed;
mod session;
mod writes;

pub use categories::{CATEGORIES_MAX, Categories};
pub use cursor::{Cursor, CursorSyntax};
pub use error::{DatabaseError, WriteError};
pub use list::{LIST_LIMIT_MAX, List, Page, Sort, SortSyntax};
pub use price::{Price, PriceSyntax};
pub use product::Product;
pub use reads::Reads;
pub use seed::{GENERATED_ROWS_MAX, Loaded, SeedError, generate, plant};
pub use session::{SessionOptions, read_pool, write_pool};
pub use writes::{NewProduct, ProductPatch, Seen, Writes, Written};

/// The rules that map changes of the catalogue's tables to its keys and tags.
pub fn rules() -> Result<crate::rules::Rules, crate::rules::RuleFaults> {
    crate::rules::Rules::parse(include_str!("catalog/rules.toml"))
}
