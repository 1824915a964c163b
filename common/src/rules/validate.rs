//! Rules held against the live schema: what would otherwise be a surprise later is told at start, with the statement that mends it.

use std::fmt;

use super::{
    Action, LiveSchema, LiveTable, Publication, PublishedTable, Rules, TableName,
    live::LivePartition,
    table::{TableRule, TagRule},
};
use crate::{
    change::ReplicaIdentity,
    fault::{Classified, Kind},
};

/// Something in the live schema that keeps the rules from holding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The table of the rules; `None` where it is about all of them.
    pub table: Option<TableName>,
    /// The column.
    pub column: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// The statement, or the change of the rules, that mends it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(table) = &self.table {
            write!(f, "table {table}, ")?;
        }
        if let Some(column) = &self.column {
            write!(f, "column {column}, ")?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Finding {}

impl Classified for Finding {
    fn kind(&self) -> Kind {
        Kind::Permanent
    }

    fn remedy(&self) -> Option<String> {
        Some(self.remedy.clone())
    }
}

impl Rules {
    /// Everything in the live schema that keeps these rules from holding. Empty: they hold.
    pub fn validate(&self, schema: &LiveSchema) -> Vec<Finding> {
        let mut findings = Vec::new();
        check_publication(self, schema, &mut findings);
        for rule in &self.tables {
            let mut check = Check { rule, findings: &mut findings };
            match schema.tables.iter().find(|table| table.name == rule.name) {
                Some(table) => check.table(table, schema),
                None => check.found(
                    None,
                    "it does not exist".to_owned(),
                    "Create it, or take its [[table]] out of the rules.".to_owned(),
                ),
            }
        }
        findings
    }
}

fn check_publication(rules: &Rules, schema: &LiveSchema, findings: &mut Vec<Finding>) {
    let name = &schema.publication_name;
    let (problem, remedy) = match schema.publication {
        Some(Publication { every_operation: true, .. }) => return,
        Some(_) => (
            format!("publication {name} leaves out inserts, updates, deletes or truncates"),
            format!("alter publication {name} set (publish = 'insert, update, delete, truncate');"),
        ),
        None => {
            let known = rules.tables().filter_map(|rule| schema.tables.iter().find(|table| table.name == *rule));
            let tables: Vec<_> = known.map(|table| table.sql_name.as_str()).collect();
            (format!("publication {name} does not exist"), format!("create publication {name} for table {};", tables.join(", ")))
        }
    };
    findings.push(Finding { table: None, column: None, problem, remedy });
}

/// One table's rules against the table.
struct Check<'a> {
    rule: &'a TableRule,
    findings: &'a mut Vec<Finding>,
}

impl Check<'_> {
    fn found(&mut self, column: Option<&str>, problem: String, remedy: String) {
        let (table, column) = (Some(self.rule.name.clone()), column.map(str::to_owned));
        self.findings.push(Finding { table, column, problem, remedy });
    }

    fn table(&mut self, table: &LiveTable, schema: &LiveSchema) {
        self.kind(table);
        self.parts(table, schema);
        self.published(table, schema);
        self.columns(table);
        self.names(table);
        self.identities(table);
        if self.rule.action == Action::Refresh {
            self.value(table);
        }
    }

    /// Whether its changes are streamed at all.
    fn kind(&mut self, table: &LiveTable) {
        let name = &table.sql_name;
        if !matches!(table.kind, 'r' | 'p') {
            let problem = "it is no table, and has no changes of its own".to_owned();
            self.found(None, problem, "Write rules for the tables that it is made of.".to_owned());
        } else if !table.logged {
            self.found(None, "its changes are not written to the log".to_owned(), format!("alter table {name} set logged;"));
        }
    }

    /// Whether the changes of its parts come under its name, or those of a part under the part's.
    fn parts(&mut self, table: &LiveTable, schema: &LiveSchema) {
        let (publication, via_root) = (&schema.publication_name, schema.publication.is_some_and(|found| found.via_root));
        if let (Some(root), true) = (&table.partition_of, via_root) {
            let problem = format!("it is a partition, whose changes come under the name of {root}");
            self.found(None, problem, format!("Write the rules for {root}."));
        }
        if table.kind == 'p' && schema.publication.is_some() && !via_root {
            let problem = "its partitions' changes come under their own names, which have no rules".to_owned();
            self.found(None, problem, format!("alter publication {publication} set (publish_via_partition_root = true);"));
        }
        for below in table.below.iter().filter(|_| table.kind == 'r') {
            let problem =
                format!("{} inherits from it: a read of one sees rows whose changes come under the other's name", below.sql_name);
            self.found(None, problem, format!("alter table {} no inherit {};", below.sql_name, table.sql_name));
        }
    }

    /// Whether the publication carries it, every row of it, and every column that the rules need.
    fn published(&mut self, table: &LiveTable, schema: &LiveSchema) {
        let (name, publication) = (&table.sql_name, &schema.publication_name);
        let via_root = schema.publication.is_some_and(|found| found.via_root);
        let again = format!("alter publication {publication} drop table {name}; alter publication {publication} add table {name};");
        match &table.published {
            // The catalogs list a published root and none of its partitions, or the other way round. `parts` has told the rest.
            None if (table.kind == 'p' && !via_root) || (table.partition_of.is_some() && via_root) => {}
            None if schema.publication.is_some() => {
                let remedy = format!("alter publication {publication} add table {name};");
                self.found(None, format!("publication {publication} does not carry it"), remedy);
            }
            None => {}
            Some(PublishedTable { columns, row_filter }) => {
                if let Some(filter) = row_filter {
                    self.found(None, format!("publication {publication} carries only rows where {filter}"), again.clone());
                }
                for column in columns.as_ref().map(|carried| self.uncarried(table, carried)).unwrap_or_default() {
                    self.found(Some(&column), format!("publication {publication} does not carry it"), again.clone());
                }
            }
        }
    }

    /// Columns that the rules need and that a column list leaves out. Generated ones are told by [`Check::columns`].
    fn uncarried(&self, table: &LiveTable, carried: &[String]) -> Vec<String> {
        let needed = self.needed(table);
        let lacks = |name: &&str| !carried.iter().any(|other| other == name);
        let stored = |name: &&str| table.columns.iter().any(|column| column.name == **name && !column.is_generated);
        needed.into_iter().filter(lacks).filter(stored).map(str::to_owned).collect()
    }

    /// Every column that the rules need, once.
    fn needed<'t>(&'t self, table: &'t LiveTable) -> Vec<&'t str> {
        let mut needed: Vec<&str> = self.rule.named_columns().chain(self.rule.tags.iter().flat_map(on)).collect();
        if self.rule.action == Action::Refresh {
            match &self.rule.columns {
                Some(columns) => needed.extend(columns.iter().map(|name| &**name)),
                None => needed.extend(table.columns.iter().map(|column| column.name.as_str())),
            }
        }
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// Whether its columns exist and are streamed.
    fn columns(&mut self, table: &LiveTable) {
        let needed: Vec<String> = self.needed(table).into_iter().map(str::to_owned).collect();
        for name in needed {
            match table.columns.iter().find(|column| column.name == name) {
                None => self.found(
                    Some(&name),
                    "it does not exist".to_owned(),
                    "Take it out of the rules, or add it to the table.".to_owned(),
                ),
                Some(column) if column.is_generated && !carries(table, &name) => {
                    let remedy =
                        "Take it out of the rules: name the other columns in columns = [...], or write action = \"invalidate\".";
                    self.found(Some(&name), "it is generated, and the stream leaves it out".to_owned(), remedy.to_owned());
                }
                Some(_) => {}
            }
        }
    }

    /// Whether the names can be made by others than the stream: the text of some types depends on settings of the session.
    fn names(&mut self, table: &LiveTable) {
        let named: Vec<String> = self.rule.named_columns().map(str::to_owned).collect();
        for (n, name) in named.iter().enumerate() {
            let column = table.columns.iter().find(|column| column.name == *name && prints_by_setting(column.type_id));
            if let Some(column) = column.filter(|_| !named[..n].contains(name)) {
                let problem =
                    format!("a name is made of it, and the text of a {} depends on settings of the session", column.type_name);
                self.found(Some(name), problem, "Make the name of a column of whole numbers, text or uuids.".to_owned());
            }
        }
    }

    /// Whether the row before carries the columns that names are made of, in the table and in each of its partitions.
    fn identities(&mut self, table: &LiveTable) {
        if table.kind == 'p' {
            for part in &table.below {
                self.identity(table, part);
            }
        } else {
            let (sql_name, identity_columns) = (table.sql_name.clone(), table.identity_columns.clone());
            self.identity(table, &LivePartition { sql_name, identity: table.identity, identity_columns });
        }
    }

    fn identity(&mut self, table: &LiveTable, part: &LivePartition) {
        let mut named: Vec<&str> = self.rule.named_columns().collect();
        named.sort_unstable();
        named.dedup();
        let exists = |name: &&str| table.columns.iter().any(|column| column.name == **name);
        let lacks = |name: &&str| !part.identity_columns.iter().any(|column| column == name);
        let missing: Vec<_> = named.into_iter().filter(exists).filter(lacks).map(str::to_owned).collect();
        if part.identity == ReplicaIdentity::Full || missing.is_empty() {
            return;
        }
        let columns = missing.join(", ");
        let problem = format!("the row before a change of {} does not carry what names are made of: {columns}", part.sql_name);
        self.found(None, problem, format!("alter table {} replica identity full;", part.sql_name));
    }

    /// Whether the row that a change carries can stand for the value: one row to a key, printed the same by every way.
    fn value(&mut self, table: &LiveTable) {
        if table.primary_key.is_empty() {
            let problem = "it has no primary key, so that several rows could have one cache key".to_owned();
            let remedy = format!("alter table {} add primary key (…); or write action = \"invalidate\".", table.sql_name);
            self.found(None, problem, remedy);
        }
        for column in &table.primary_key {
            if !self.rule.key.columns().any(|name| **name == **column) {
                let problem =
                    "it is part of the primary key and not of the cache key, so that several rows could have one".to_owned();
                self.found(Some(column), problem, format!("Write {{{column}}} into the key, or action = \"invalidate\"."));
            }
        }
        let needed: Vec<String> = self.needed(table).into_iter().map(str::to_owned).collect();
        for column in table.columns.iter().filter(|column| column.is_domain && needed.contains(&column.name)) {
            if casts_differ(column.type_id) {
                let problem = format!("a query prints the domain {} otherwise than the stream does", column.type_name);
                self.found(
                    Some(&column.name),
                    problem,
                    "Leave it out with columns = [...], or write action = \"invalidate\".".to_owned(),
                );
            }
        }
    }
}

/// The columns whose change touches a tag.
fn on(tag: &TagRule) -> impl Iterator<Item = &str> {
    tag.on.columns.iter().map(|name| &**name)
}

/// Whether the publication says that it carries a column. Postgres 18 can carry generated ones.
fn carries(table: &LiveTable, name: &str) -> bool {
    let columns = table.published.as_ref().and_then(|published| published.columns.as_ref());
    columns.is_some_and(|columns| columns.iter().any(|column| column == name))
}

/// `bytea`, `real`, `double precision`, `money`, `date`, `timestamp`, `timestamptz`, `interval`, `timetz`: `bytea_output`,
/// `extra_float_digits`, `lc_monetary`, `DateStyle`, `IntervalStyle`, `TimeZone`.
fn prints_by_setting(type_id: u32) -> bool {
    matches!(type_id, 17 | 700 | 701 | 790 | 1082 | 1114 | 1184 | 1186 | 1266)
}

/// `boolean`, `character(n)`, `inet` and what JSON embeds: told by the type's id, which in a domain is the domain's own.
fn casts_differ(type_id: u32) -> bool {
    matches!(type_id, 16 | 869 | 1042)
}

#[cfg(test)]
mod tests;
