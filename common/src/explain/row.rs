//! The row that a key is of, as Postgres holds it now, and whether the entry holds the same.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection};
use utoipa::ToSchema;

use crate::{
    cache::ExplainedEntry,
    change::Datum,
    coherence::ETag,
    fault::{Classified, Kind},
    row_json::RowEncoder,
    rules::{Action, LiveColumn, LiveSchema, LiveTable, NamedRow, Rules, SchemaUnread},
};

/// What Postgres holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Row {
    /// The table that it is of.
    pub table: String,
    /// What a statement that begins now sees.
    pub snapshot: String,
    /// Whether there is such a row.
    pub is_there: bool,
    /// Its value, as the rules make it.
    #[schema(value_type = Option<Object>)]
    pub value: Option<Box<RawValue>>,
    /// The validator that its value would have.
    pub etag: Option<String>,
    /// Whether the entry holds the same; none where there is no entry, or the rules do not say what its value is.
    pub agrees: Option<bool>,
}

/// Why a row could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RowUnread {
    /// The tables of the rules could not be looked at.
    #[error("the tables of the rules cannot be looked at")]
    Schema(#[source] SchemaUnread),
    /// Postgres refused, or went away.
    #[error("the row cannot be read")]
    Sql(#[from] sqlx::Error),
}

impl Classified for RowUnread {
    fn kind(&self) -> Kind {
        match self {
            Self::Schema(source) => source.kind(),
            Self::Sql(_) => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Schema(source) => source.remedy(),
            Self::Sql(_) => None,
        }
    }
}

impl Row {
    /// Reads the row that a key is of, on a session that prints values as the stream does; `None` where no rule makes such a key.
    /// Has no deadline of its own.
    ///
    /// # Errors
    /// Where Postgres cannot be asked.
    pub async fn read(
        connection: &mut PgConnection,
        rules: &Rules,
        publication: &str,
        key: &str,
        entry: Option<&ExplainedEntry>,
    ) -> Result<Option<Self>, RowUnread> {
        let Some(named) = rules.row_named(key) else { return Ok(None) };
        let schema = LiveSchema::read(connection, publication, rules).await.map_err(RowUnread::Schema)?;
        let Some(table) = schema.tables.iter().find(|table| table.name == *named.table) else { return Ok(None) };
        let columns = value_columns(&named, table);
        let found = select(connection, &named, table, &columns).await?;
        let row = found.values.map(|values| Bytes::of(&columns, &values));
        let etag = row.as_ref().and_then(|row| row.etag);
        let is_comparable = named.action == Action::Refresh;
        let agrees = entry.filter(|_| is_comparable).map(|entry| match (&row, entry.body_len) {
            (Some(_), Some(_)) => etag.is_some_and(|etag| etag.to_string() == entry.etag),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        });
        Ok(Some(Self {
            table: named.table.to_string(),
            snapshot: found.snapshot,
            is_there: row.is_some(),
            etag: etag.map(|etag| etag.to_string()),
            value: row.and_then(|row| row.json),
            agrees,
        }))
    }
}

/// The columns of the value, as the table has them now.
fn value_columns<'t>(named: &NamedRow<'_>, table: &'t LiveTable) -> Vec<&'t LiveColumn> {
    match &named.value {
        None => table.columns.iter().collect(),
        Some(names) => names.iter().filter_map(|name| table.columns.iter().find(|column| column.name == *name)).collect(),
    }
}

struct Found {
    snapshot: String,
    /// As text, in the order of the columns; none where there is no row.
    values: Option<Vec<Option<String>>>,
}

async fn select(
    connection: &mut PgConnection,
    named: &NamedRow<'_>,
    table: &LiveTable,
    columns: &[&LiveColumn],
) -> Result<Found, sqlx::Error> {
    let values: Vec<String> = columns.iter().map(|column| format!("t.{}::text", quoted(&column.name))).collect();
    let mut conditions = Vec::new();
    for (n, (name, value)) in named.key.iter().enumerate() {
        let type_name = table.columns.iter().find(|column| column.name == *name).map_or("text", |column| &column.type_name);
        conditions.push(match value {
            // The parameter is cast and not the column, whose index serves.
            Some(_) => format!("t.{} = cast(${}::text as {type_name})", quoted(name), n + 1),
            None => format!("t.{} is null and ${}::text is null", quoted(name), n + 1),
        });
    }
    let sql = format!(
        "select pg_current_snapshot()::text, t.ctid is not null, array[{}]::text[]
         from (select) as always left join {} t on {}",
        values.join(", "),
        table.sql_name,
        conditions.join(" and ")
    );
    let mut statement = sqlx::query_as(AssertSqlSafe(sql));
    for (_, value) in &named.key {
        statement = statement.bind(value.as_deref());
    }
    let asked: Result<(String, bool, Vec<Option<String>>), _> = statement.fetch_one(&mut *connection).await;
    match asked {
        Ok((snapshot, is_there, values)) => Ok(Found { snapshot, values: is_there.then_some(values) }),
        // Class 22: the key names what no value of this type can be, so that there is no such row.
        Err(sqlx::Error::Database(refused)) if refused.code().is_some_and(|code| code.starts_with("22")) => {
            let snapshot = sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(connection).await?;
            Ok(Found { snapshot, values: None })
        }
        Err(error) => Err(error),
    }
}

/// A row as the one encoder makes it.
struct Bytes {
    json: Option<Box<RawValue>>,
    etag: Option<ETag>,
}

impl Bytes {
    fn of(columns: &[&LiveColumn], values: &[Option<String>]) -> Self {
        let encoder = RowEncoder::new(columns.iter().map(|column| (column.name.as_str(), column.type_id)));
        let data = values.iter().map(|value| value.as_deref().map_or(Datum::Null, Datum::Text));
        let mut bytes = Vec::new();
        if encoder.push(&mut bytes, data).is_err() {
            return Self { json: None, etag: None };
        }
        let etag = ETag::of(&bytes);
        Self { json: String::from_utf8(bytes).ok().and_then(|text| RawValue::from_string(text).ok()), etag: Some(etag) }
    }
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
