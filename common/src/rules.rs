//! Rules: which tables touch which dependencies, so that Freshline serves any schema.
//!
//! A rules file is read once ([`Rules::parse`]), held against the live schema at start ([`Rules::validate`]), and bound to each
//! table as the stream describes it ([`Rules::bind`]); the [`TablePlan`] that comes of it is what runs for every change.
//!
//! ```toml
//! [[table]]
//! name   = "public.products"
//! key    = "products:{id}"          # the row's own dependency
//! action = "refresh"                # or "invalidate"
//! tags   = [                        # touched by the row before and the row after
//!   { name = "products:newest", on = ["insert", "delete"] },
//!   { name = "products:category={category}" },              # on insert, delete, and a change of category
//! ]
//! ```

mod bind;
mod fault;
mod live;
mod parse;
mod plan;
mod reverse;
mod rows;
mod table;
mod template;
mod validate;
mod watched;

pub use bind::Unbound;
pub use fault::{RuleFault, RuleFaults, RulesUnread};
pub(crate) use live::{ANSWER_WITHIN, IDENTITY_COLUMNS, parse_identity};
pub use live::{LiveColumn, LivePartition, LiveSchema, LiveTable, Publication, PublishedTable, SchemaUnread};
pub use plan::{Keys, TablePlan};
pub use reverse::NamedRow;
pub use rows::{Image, Missing};
pub use table::{Action, TableName};
pub use validate::Finding;

use std::path::Path;

use table::TableRule;

/// The rules of one invalidator: what the changes of each table touch.
#[derive(Debug, Clone)]
pub struct Rules {
    tables: Box<[TableRule]>,
}

impl Rules {
    /// Reads a rules file from where it lies.
    ///
    /// # Errors
    /// [`RulesUnread`].
    pub fn read(path: &Path) -> Result<Self, RulesUnread> {
        let text = std::fs::read_to_string(path).map_err(|source| RulesUnread::File { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|source| RulesUnread::Faults { path: path.to_owned(), source })
    }

    /// The tables that have rules, in the order of the file.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.tables.iter().map(|rule| &rule.name)
    }
}
