//! Rules bound to a table as the stream describes it: names of columns become places in a row, once.

use super::{
    Action, Rules, TableName, TablePlan,
    plan::BoundTag,
    table::{On, TableRule, TagRule},
    template::Template,
    watched::Watched,
};
use crate::{
    change::{Column, Relation, ReplicaIdentity},
    fault::{Classified, Kind},
    row_json::RowEncoder,
};

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
    /// The rules of a table bound to its columns.
    fn new(rule: &TableRule, relation: &Relation) -> Result<Self, Unbound> {
        check_columns(rule, relation)?;
        check_key(rule, relation)?;
        let place = |name: &str| {
            let no_columns = || Unbound::NoColumns { table: rule.name.clone(), columns: vec![name.to_owned()] };
            relation.columns.iter().position(|column| *column.name == *name).ok_or_else(no_columns)
        };
        let template = |template: &Template<Box<str>>| template.try_map(|name| place(name));
        let mut watched = Watched::default();
        let tag = |tag: &TagRule| {
            let (name, on) = (template(&tag.name)?, &tag.on);
            let columns = on.columns.iter().map(|name| place(name)).collect::<Result<Vec<_>, _>>()?;
            let (name_columns, columns) = (watched.watch(name.columns().copied()), watched.watch(columns));
            Ok(BoundTag { name, name_columns, on: On { insert: on.insert, delete: on.delete, columns } })
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
            watched,
            encoder: RowEncoder::new(encoded),
            value,
            identity: relation.identity,
            columns: relation.columns.clone(),
        })
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
