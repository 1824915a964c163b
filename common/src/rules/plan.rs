//! The rules of one table, bound to its columns: what runs for every change. Pure, and without maps: columns are places in a row.

use std::fmt;

use super::{
    Action, Rules, TableName,
    table::{On, TableRule},
    template::Template,
};
use crate::{
    change::{Column, Datum, Operation, Relation, ReplicaIdentity, Row, RowChange},
    coherence::{CacheKey, Tag},
    fault::{Classified, Kind},
    row_json::{NoImage, RowEncoder},
};

/// What the changes of one table touch, as long as the stream describes the table as it did when this was bound.
#[derive(Debug, Clone)]
pub struct TablePlan {
    table: TableName,
    action: Action,
    key: Template<usize>,
    tags: Box<[BoundTag]>,
    /// The columns of the value, in its order.
    value: Box<[usize]>,
    encoder: RowEncoder,
    identity: ReplicaIdentity,
    columns: Box<[Column]>,
}

#[derive(Debug, Clone)]
struct BoundTag {
    name: Template<usize>,
    on: On<usize>,
}

/// The keys of a changed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The row's key: after an insert or update, before a delete.
    pub row: CacheKey,
    /// The key it had before, where an update changed it.
    pub former: Option<CacheKey>,
}

/// One of the two rows of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The row before.
    Before,
    /// The row after.
    After,
}

/// A change does not carry a value that a name or an image is made of.
///
/// Where it was needed for a name, what the change touches cannot be told: the cache has to be bumped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a change of table {table} does not carry column {column} of the row {image}")]
pub struct Missing {
    /// The table.
    pub table: TableName,
    /// The column.
    pub column: Box<str>,
    /// The row that lacks it.
    pub image: Image,
}

/// Why the rules do not fit a table as the stream describes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbound {
    /// The rules name columns that the stream does not carry.
    #[error("the rules name columns that the stream of table {table} does not carry: {}", .columns.join(", "))]
    NoColumns {
        /// The table.
        table: TableName,
        /// The columns.
        columns: Vec<String>,
    },
    /// Several rows could have one key, so that one would be served for the other.
    #[error("the key of table {table} lacks column {column} of its primary key, and action is refresh")]
    KeyTooShort {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

impl Classified for Missing {
    fn kind(&self) -> Kind {
        Kind::Permanent
    }

    fn remedy(&self) -> Option<String> {
        Some(format!("alter table {} replica identity full;", self.table))
    }
}

impl Classified for Unbound {
    fn kind(&self) -> Kind {
        match self {
            Self::NoColumns { .. } | Self::KeyTooShort { .. } => Kind::Permanent,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NoColumns { .. } => "Take them out of the rules, or add them to the table and its publication.".to_owned(),
            Self::KeyTooShort { column, .. } => format!("Write {{{column}}} into the key, or action = \"invalidate\"."),
        })
    }
}

impl Rules {
    /// Binds the rules of a table to the columns that the stream describes; `None` where it has no rules.
    pub fn bind(&self, relation: &Relation) -> Result<Option<TablePlan>, Unbound> {
        let named = |rule: &&TableRule| *rule.name.schema == *relation.schema && *rule.name.name == *relation.name;
        self.tables.iter().find(named).map(|rule| TablePlan::new(rule, relation)).transpose()
    }
}

impl TablePlan {
    fn new(rule: &TableRule, relation: &Relation) -> Result<Self, Unbound> {
        check_columns(rule, relation)?;
        check_key(rule, relation)?;
        let place = |name: &str| {
            let no_columns = || Unbound::NoColumns { table: rule.name.clone(), columns: vec![name.to_owned()] };
            relation.columns.iter().position(|column| *column.name == *name).ok_or_else(no_columns)
        };
        let template = |template: &Template<Box<str>>| template.try_map(|name| place(name));
        let tag = |tag: &super::table::TagRule| {
            let columns = tag.on.columns.iter().map(|name| place(name)).collect::<Result<_, _>>()?;
            Ok(BoundTag { name: template(&tag.name)?, on: On { insert: tag.on.insert, delete: tag.on.delete, columns } })
        };
        let value: Box<[usize]> = match &rule.columns {
            Some(names) => names.iter().map(|name| place(name)).collect::<Result<_, _>>()?,
            None => (0..relation.columns.len()).collect(),
        };
        let encoded = value.iter().map(|column| &relation.columns[*column]).map(|column| (&*column.name, column.type_id));
        Ok(Self {
            table: rule.name.clone(),
            action: rule.action,
            key: template(&rule.key)?,
            tags: rule.tags.iter().map(tag).collect::<Result<_, _>>()?,
            encoder: RowEncoder::new(encoded),
            value,
            identity: relation.identity,
            columns: relation.columns.clone(),
        })
    }

    /// The table.
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// What becomes of the entry of a changed row.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The keys of the changed row.
    pub fn keys(&self, change: &RowChange) -> Result<Keys, Missing> {
        let rows = Rows { plan: self, change };
        let row = match change.operation {
            Operation::Insert | Operation::Update => self.key.name(|column| rows.after(*column))?,
            Operation::Delete => self.key.name(|column| rows.before(*column))?,
        };
        let moved = change.operation == Operation::Update && self.key.columns().any(|column| rows.changed(*column));
        let former = if moved { Some(CacheKey::new(self.key.name(|column| rows.before(*column))?)) } else { None };
        Ok(Keys { row: CacheKey::new(row), former })
    }

    /// Appends the tags that the change touches: by the row before and by the row after.
    ///
    /// An update touches a tag where it changed one of the tag's columns, or where the row before is not known.
    pub fn tags(&self, change: &RowChange, touched: &mut Vec<Tag>) -> Result<(), Missing> {
        let rows = Rows { plan: self, change };
        for tag in &self.tags {
            let (before, after) = match change.operation {
                Operation::Insert => (false, tag.on.insert),
                Operation::Delete => (tag.on.delete, false),
                Operation::Update => {
                    let fires = tag.on.columns.iter().any(|column| rows.changed(*column));
                    (fires && tag.name.columns().any(|column| rows.changed(*column)), fires)
                }
            };
            if before {
                touched.push(Tag::new(tag.name.name(|column| rows.before(*column))?));
            }
            if after {
                touched.push(Tag::new(tag.name.name(|column| rows.after(*column))?));
            }
        }
        Ok(())
    }

    /// The places, in the relation's columns, of the columns that the change changed or may have changed.
    pub fn changed_columns<'a>(&'a self, change: &'a RowChange) -> impl Iterator<Item = usize> + 'a {
        let rows = Rows { plan: self, change };
        (0..self.columns.len()).filter(move |column| rows.changed(*column))
    }

    /// Appends the row after the change as JSON: its value, where [`TablePlan::action`] is refresh. A delete has none.
    pub fn image(&self, change: &RowChange, out: &mut Vec<u8>) -> Result<(), Missing> {
        let rows = Rows { plan: self, change };
        let datum = |column: &usize| match rows.after(*column) {
            Ok(Some(text)) => Datum::Text(text),
            Ok(None) => Datum::Null,
            Err(_) => Datum::Unchanged,
        };
        self.encoder.push(out, self.value.iter().map(datum)).map_err(|no_image| match no_image {
            NoImage::Unchanged { column } => self.missing(self.value[column], Image::After),
            NoImage::OtherColumns { columns } => self.missing(columns, Image::After),
        })
    }

    fn missing(&self, column: usize, image: Image) -> Missing {
        let column = self.columns.get(column).map_or("?".into(), |column| column.name.clone());
        Missing { table: self.table.clone(), column, image }
    }
}

fn check_columns(rule: &TableRule, relation: &Relation) -> Result<(), Unbound> {
    let on = rule.tags.iter().flat_map(|tag| &tag.on.columns);
    let value = rule.columns.iter().flatten();
    let named = rule.named_columns().chain(on.chain(value).map(|name| &**name));
    let mut columns: Vec<_> =
        named.filter(|name| !relation.columns.iter().any(|column| *column.name == **name)).map(str::to_owned).collect();
    columns.sort_unstable();
    columns.dedup();
    if columns.is_empty() { Ok(()) } else { Err(Unbound::NoColumns { table: rule.name.clone(), columns }) }
}

/// Under the default identity the stream tells the primary key. Under the others only the live schema does.
fn check_key(rule: &TableRule, relation: &Relation) -> Result<(), Unbound> {
    if rule.action != Action::Refresh || relation.identity != ReplicaIdentity::Default {
        return Ok(());
    }
    let lacks = |column: &&Column| column.in_identity && !rule.key.columns().any(|name| *name == column.name);
    match relation.columns.iter().find(lacks) {
        Some(column) => Err(Unbound::KeyTooShort { table: rule.name.clone(), column: column.name.to_string() }),
        None => Ok(()),
    }
}

/// The two rows of a change, each value taken from wherever the change carries it. `Ok(None)` is SQL null.
#[derive(Clone, Copy)]
struct Rows<'a> {
    plan: &'a TablePlan,
    change: &'a RowChange,
}

impl<'a> Rows<'a> {
    /// A value of the row before.
    fn before(self, column: usize) -> Result<Option<&'a str>, Missing> {
        self.known_before(column).ok_or_else(|| self.plan.missing(column, Image::Before))
    }

    /// A value of the row after. One that the stream left out because the update did not change it is in the row before, if that
    /// is whole: under full identity Postgres writes large values out there.
    fn after(self, column: usize) -> Result<Option<&'a str>, Missing> {
        let after = self.change.after.as_ref().and_then(|row| row.get(column));
        let known = match after {
            Some(Datum::Unchanged) => self.known_before(column),
            Some(Datum::Text(text)) => Some(Some(text)),
            Some(Datum::Null) => Some(None),
            None => None,
        };
        known.ok_or_else(|| self.plan.missing(column, Image::After))
    }

    /// Whether the change changed a value, or may have.
    fn changed(self, column: usize) -> bool {
        match self.change.after.as_ref().and_then(|row| row.get(column)) {
            Some(Datum::Unchanged) => false,
            after => self.known_before(column).is_none_or(|before| after != Some(before.map_or(Datum::Null, Datum::Text))),
        }
    }

    /// A value of the row before, where the change carries it.
    fn known_before(self, column: usize) -> Option<Option<&'a str>> {
        let whole = self.plan.identity == ReplicaIdentity::Full;
        let row = match &self.change.before {
            // The columns outside the identity are null in it, whatever they were.
            Some(row) => (whole || self.plan.columns.get(column)?.in_identity).then_some(row),
            // An update that kept the identity leaves its row before out: those columns are as they are after.
            None => (!whole && self.kept_identity(column)).then_some(self.change.after.as_ref()).flatten(),
        };
        value(row?, column)
    }

    fn kept_identity(self, column: usize) -> bool {
        let in_identity = self.plan.columns.get(column).is_some_and(|column| column.in_identity);
        self.change.operation == Operation::Update && in_identity
    }
}

fn value(row: &Row, column: usize) -> Option<Option<&str>> {
    match row.get(column)? {
        Datum::Text(text) => Some(Some(text)),
        Datum::Null => Some(None),
        Datum::Unchanged => None,
    }
}

#[cfg(test)]
mod tests;
