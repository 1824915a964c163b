//! The tables of the live catalogue, described as the direct source would describe them.

use std::sync::Arc;

use sqlx::PgConnection;

use super::{
    table::{Relations, Table},
    value::{Form, Typed},
};
use crate::{
    change::{Column, Relation, ReplicaIdentity},
    rules::{ANSWER_WITHIN, IDENTITY_COLUMNS, SchemaUnread, parse_identity},
};

/// A column and its table: object id, schema, name, replica identity, the identity's columns, the primary key; then name, type id,
/// modifier, the id of the type that a domain restricts, its kind and name, and whether it cannot be null.
#[derive(sqlx::FromRow)]
struct Row {
    table_id: i64,
    schema: String,
    table: String,
    identity: String,
    identity_columns: Vec<String>,
    primary_key: Vec<String>,
    column: String,
    type_id: i64,
    modifier: i32,
    base_id: i64,
    base_modifier: i32,
    kind: String,
    type_name: String,
    is_required: bool,
}

impl Relations {
    /// Reads every table that can have a change stream, as one look at the catalogue shows them. Generated columns are left out, as
    /// the stream leaves them out.
    ///
    /// # Errors
    /// [`SchemaUnread`].
    pub async fn load(connection: &mut PgConnection) -> Result<Self, SchemaUnread> {
        let sql = format!(
            "select c.oid::int8 as table_id, n.nspname::text as schema, c.relname::text as table, c.relreplident::text as identity,
                    {IDENTITY_COLUMNS} as identity_columns,
                    array(select k.attname::text from pg_index i join pg_attribute k
                            on k.attrelid = c.oid and k.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])
                          where i.indrelid = c.oid and i.indisprimary order by k.attnum) as primary_key,
                    a.attname::text as column, a.atttypid::int8 as type_id, a.atttypmod as modifier,
                    b.oid::int8 as base_id, case when t.typtype = 'd' then t.typtypmod else a.atttypmod end as base_modifier,
                    b.typtype::text as kind, b.typname::text as type_name, a.attnotnull or t.typnotnull as is_required
             from pg_class c
             join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
             join pg_type t on t.oid = a.atttypid
             join pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
             where c.relkind in ('r', 'p') and c.relpersistence = 'p'
               and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
             order by c.oid, a.attnum"
        );
        let asked = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(connection);
        let rows: Vec<Row> =
            tokio::time::timeout(ANSWER_WITHIN, asked).await.map_err(|_| SchemaUnread::Late)?.map_err(SchemaUnread::Query)?;
        let tables = rows.chunk_by(|one, next| one.table_id == next.table_id).map(table).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(tables))
    }
}

/// A table of its columns, of which there is one at least.
fn table(rows: &[Row]) -> Result<Table, SchemaUnread> {
    let Row { table_id, schema, table, identity, identity_columns, primary_key, .. } = &rows[0];
    let identity = parse_identity(table, identity)?;
    let in_identity = |name: &String| identity == ReplicaIdentity::Full || identity_columns.contains(name);
    let column = |row: &Row| Column {
        name: row.column.as_str().into(),
        type_id: object_id(row.type_id),
        type_modifier: row.modifier,
        in_identity: in_identity(&row.column),
    };
    let key = if primary_key.is_empty() { identity_columns } else { primary_key };
    Ok(Table {
        forms: rows.iter().map(form).collect(),
        required: rows.iter().map(|row| row.is_required).collect(),
        key: key.iter().map(|name| name.as_str().into()).collect(),
        relation: Arc::new(Relation {
            id: object_id(*table_id),
            schema: schema.as_str().into(),
            name: table.as_str().into(),
            identity,
            columns: rows.iter().map(column).collect(),
        }),
    })
}

fn form(row: &Row) -> Form {
    let kind = row.kind.chars().next().unwrap_or('?');
    Form::of(&Typed { id: object_id(row.base_id), modifier: row.base_modifier, kind, name: &row.type_name })
}

/// An `oid`, which SQL has no type for that drivers agree on.
fn object_id(id: i64) -> u32 {
    u32::try_from(id).unwrap_or(0)
}
