//! What the rules file says of one table.

use std::fmt;

use super::template::Template;

/// A table's name: schema and relation, as Postgres keeps them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema.
    pub schema: Box<str>,
    /// The relation.
    pub name: Box<str>,
}

impl TableName {
    /// Reads `schema.table`; `None` where it is not that. The schema is what comes before the first dot.
    pub fn parse(text: &str) -> Option<Self> {
        let (schema, name) = text.split_once('.')?;
        let whole = !schema.is_empty() && !name.is_empty();
        whole.then(|| Self { schema: schema.into(), name: name.into() })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// What becomes of the entry of a changed row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is removed.
    Invalidate,
    /// A present, older one is replaced by the row after the change, as JSON; removed where the change does not carry the row.
    Refresh,
}

/// The rules of one table.
#[derive(Debug, Clone)]
pub(super) struct TableRule {
    pub name: TableName,
    pub key: Template<Box<str>>,
    pub action: Action,
    pub tags: Box<[TagRule]>,
    /// The columns of the value, in its order; `None`: every column of the table.
    pub columns: Option<Box<[Box<str>]>>,
}

/// A tag that changes of a table touch.
#[derive(Debug, Clone)]
pub(super) struct TagRule {
    pub name: Template<Box<str>>,
    pub on: On<Box<[Box<str>]>>,
}

/// Which changes touch a tag; a set of columns is of type `C`.
#[derive(Debug, Clone)]
pub(super) struct On<C> {
    pub insert: bool,
    pub delete: bool,
    /// An update touches it that changes one of these. Those of the tag's name are among them.
    pub columns: C,
}

impl TableRule {
    /// The columns that names are made of: those of the key, then those of the tags.
    pub(super) fn named_columns(&self) -> impl Iterator<Item = &str> {
        let tags = self.tags.iter().flat_map(|tag| tag.name.columns());
        self.key.columns().chain(tags).map(|column| &**column)
    }
}
