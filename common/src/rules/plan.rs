//! The rules of one table, bound to its columns: what runs for every change. Pure, and without maps: columns are places in a row.

use super::{
    Action, TableName,
    rows::{Image, Missing, Rows},
    table::On,
    template::Template,
    watched::{Columns, Watched},
};
use crate::{
    change::{Column, Datum, Operation, ReplicaIdentity, RowChange},
    coherence::{CacheKey, Tag},
    row_json::{NoImage, RowEncoder},
};

/// What the changes of one table touch, as long as the stream describes the table as it did when this was bound.
#[derive(Debug, Clone)]
pub struct TablePlan {
    pub(super) table: TableName,
    pub(super) action: Action,
    pub(super) key: Template<usize>,
    pub(super) tags: Box<[BoundTag]>,
    /// The columns whose change decides what is touched.
    pub(super) watched: Watched,
    /// The columns of the value, in its order.
    pub(super) value: Box<[usize]>,
    pub(super) encoder: RowEncoder,
    pub(super) identity: ReplicaIdentity,
    pub(super) columns: Box<[Column]>,
}

/// A tag, its columns as places in a row.
#[derive(Debug, Clone)]
pub(super) struct BoundTag {
    pub name: Template<usize>,
    /// The columns of its name.
    pub name_columns: Columns,
    pub on: On<Columns>,
}

/// The keys of a changed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The row's key: after an insert or update, before a delete.
    pub row: CacheKey,
    /// The key it had before, where an update changed it.
    pub former: Option<CacheKey>,
}

impl TablePlan {
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
        let changed = match change.operation {
            Operation::Update => self.watched.among(|column| rows.changed(column)),
            Operation::Insert | Operation::Delete => Columns::default(),
        };
        for tag in &self.tags {
            let (before, after) = match change.operation {
                Operation::Insert => (false, tag.on.insert),
                Operation::Delete => (tag.on.delete, false),
                // Where the name stays, the row before has the same.
                Operation::Update => (changed.meet(tag.name_columns), changed.meet(tag.on.columns)),
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

    pub(super) fn missing(&self, column: usize, image: Image) -> Missing {
        let column = self.columns.get(column).map_or("?".into(), |column| column.name.clone());
        Missing { table: self.table.clone(), column, image }
    }
}

#[cfg(test)]
mod tests;
