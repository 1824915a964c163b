//! The tables that envelopes name: the log does not describe them, the live catalogue does.

use std::{collections::HashMap, sync::Arc};

use super::value::Form;
use crate::change::Relation;

/// A table as the catalogue describes it, and how its columns come in an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub(super) relation: Arc<Relation>,
    pub(super) forms: Box<[Form]>,
    /// Which columns cannot be null.
    pub(super) required: Box<[bool]>,
    /// The columns of its primary key, or, without one, of its identity's index.
    pub(super) key: Box<[Box<str>]>,
}

/// Every table of the database, by schema and name.
///
/// The catalogue is that of now, and an envelope may be older: a column that it lacks is unknown, and one that the catalogue lacks is
/// left out. Whoever sees a sign of that, or a message about DDL, loads it again ([`Relations::load`], [`Relations::renew`]).
#[derive(Debug, Default)]
pub struct Relations {
    tables: HashMap<Box<str>, Vec<Arc<Table>>>,
}

impl Table {
    /// The table as the direct source would describe it.
    pub fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }

    fn is_named(&self, schema: &str) -> bool {
        *self.relation.schema == *schema
    }
}

impl Relations {
    /// These tables.
    pub fn new(tables: impl IntoIterator<Item = Table>) -> Self {
        let mut relations = Self::default();
        for table in tables {
            relations.tables.entry(table.relation.name.clone()).or_default().push(Arc::new(table));
        }
        relations
    }

    /// The table of this name.
    pub fn get(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(name)?.iter().find(|table| table.is_named(schema))
    }

    /// The places, in the columns of a table as the stream describes it, of those that a message about its row is keyed by. Empty
    /// where the table has no key, or is not known.
    pub fn key_columns(&self, relation: &Relation) -> Box<[usize]> {
        let Some(table) = self.get(&relation.schema, &relation.name) else { return Box::default() };
        let place = |name: &str| relation.columns.iter().position(|column| *column.name == *name);
        table.key.iter().map(|name| place(name)).collect::<Option<_>>().unwrap_or_default()
    }

    /// Takes what was loaded anew. A table that is as it was stays the same object, so that what is bound to it stays bound.
    pub fn renew(&mut self, loaded: Self) {
        let before = std::mem::replace(self, loaded);
        for table in self.tables.values_mut().flatten() {
            if let Some(same) = before.get(&table.relation.schema, &table.relation.name).filter(|same| *same == table) {
                *table = same.clone();
            }
        }
    }
}
