//! The live schema, as far as rules depend on it: read from the catalogs of Postgres 14 and newer.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Rules, TableName};
use crate::{
    change::ReplicaIdentity,
    fault::{Classified, Kind},
};

/// How long the catalogs may take to answer. They are small; a lock on them is not worth waiting for longer at a start.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What Postgres says of the tables that have rules, and of the publication that the stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSchema {
    /// The publication's name, quoted for SQL.
    pub publication_name: String,
    /// The publication; `None` where there is none of that name.
    pub publication: Option<Publication>,
    /// The tables with rules that exist.
    pub tables: Vec<LiveTable>,
}

/// What a publication carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    /// Whether inserts, updates, deletes and truncates are all carried.
    pub every_operation: bool,
    /// Whether changes of partitions come under the name of their partitioned table.
    pub via_root: bool,
}

/// A table that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveTable {
    /// Its name.
    pub name: TableName,
    /// Its name, quoted for SQL.
    pub sql_name: String,
    /// `pg_class.relkind`: `r` for a table, `p` for a partitioned one; others have no change stream.
    pub kind: char,
    /// Whether its changes are written to the log; not so for unlogged and temporary tables.
    pub logged: bool,
    /// Its columns, in order.
    pub columns: Vec<LiveColumn>,
    /// The columns of its primary key; empty where it has none.
    pub primary_key: Vec<String>,
    /// What the old row of an update or delete consists of.
    pub identity: ReplicaIdentity,
    /// The columns of the index that is its identity: the primary key's by default.
    pub identity_columns: Vec<String>,
    /// How the publication carries it; `None` where it does not.
    pub published: Option<PublishedTable>,
    /// The partitioned table that it is a part of, quoted for SQL.
    pub partition_of: Option<String>,
    /// Every table below it that holds rows of its own: partitions, or tables that inherit from it.
    pub below: Vec<LivePartition>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveColumn {
    /// Its name.
    pub name: String,
    /// Its type, as SQL writes it.
    pub type_name: String,
    /// The object id of its type; of a domain, that of the type it restricts.
    pub type_id: u32,
    /// Whether its type is a domain.
    pub is_domain: bool,
    /// Whether it is computed from others.
    pub is_generated: bool,
}

/// How a publication carries a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedTable {
    /// The columns that it carries; `None` before Postgres 15, which carries all that are not generated.
    pub columns: Option<Vec<String>>,
    /// The condition that rows have to meet.
    pub row_filter: Option<String>,
}

/// A table that holds rows of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivePartition {
    /// Its name, quoted for SQL.
    pub sql_name: String,
    /// What the old row of an update or delete consists of.
    pub identity: ReplicaIdentity,
    /// The columns of the index that is its identity.
    pub identity_columns: Vec<String>,
}

/// Why the live schema could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SchemaUnread {
    /// Postgres refused, or went away.
    #[error("the catalogs cannot be read")]
    Query(#[source] sqlx::Error),
    /// It did not answer in time.
    #[error("the catalogs did not answer within {} s", ANSWER_WITHIN.as_secs())]
    Late,
    /// It answered with something that this version does not know.
    #[error("table {table} has the replica identity {identity:?}, which is not known")]
    UnknownIdentity {
        /// The table.
        table: String,
        /// `pg_class.relreplident`.
        identity: String,
    },
}

impl Classified for SchemaUnread {
    fn kind(&self) -> Kind {
        match self {
            Self::Query(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_)) | Self::Late => Kind::Transient,
            // 57: shut down, crashed or starting up. 53: out of connections or memory.
            Self::Query(sqlx::Error::Database(told))
                if told.code().is_some_and(|code| code.starts_with("57") || code.starts_with("53")) =>
            {
                Kind::Transient
            }
            Self::Query(_) | Self::UnknownIdentity { .. } => Kind::Permanent,
        }
    }
}

/// Table, its quoted name, kind, whether logged, identity, key, identity's columns, root.
type TableRow = (i64, String, String, String, String, bool, String, Vec<String>, Vec<String>, Option<String>);

impl LiveSchema {
    /// Reads what the rules need to know, in one look per catalog. The connection's transaction, if any, is left as it was.
    pub async fn read(connection: &mut PgConnection, publication: &str, rules: &Rules) -> Result<Self, SchemaUnread> {
        let read = async {
            let (publication_name, found) = read_publication(connection, publication).await?;
            let mut tables = Vec::new();
            for name in rules.tables() {
                tables.extend(read_table(connection, publication, name).await?);
            }
            Ok(Self { publication_name, publication: found, tables })
        };
        tokio::time::timeout(ANSWER_WITHIN, read).await.map_err(|_| SchemaUnread::Late)?
    }
}

async fn read_publication(connection: &mut PgConnection, name: &str) -> Result<(String, Option<Publication>), SchemaUnread> {
    let (quoted, every_operation, via_root): (String, Option<bool>, Option<bool>) = sqlx::query_as(
        "select format('%I', wanted), pubinsert and pubupdate and pubdelete and pubtruncate, pubviaroot
         from (select $1::text as wanted) w left join pg_publication on pubname = wanted",
    )
    .bind(name)
    .fetch_one(connection)
    .await
    .map_err(SchemaUnread::Query)?;
    let found = every_operation.zip(via_root).map(|(every_operation, via_root)| Publication { every_operation, via_root });
    Ok((quoted, found))
}

/// The columns of the index that is the replica identity of `c`. An index that is checked late, or is not whole, is none.
pub(crate) const IDENTITY_COLUMNS: &str = "array(
    select a.attname::text from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])
    where i.indrelid = c.oid and i.indisvalid and i.indimmediate
      and (c.relreplident = 'd' and i.indisprimary or c.relreplident = 'i' and i.indisreplident)
    order by a.attnum)";

async fn read_table(connection: &mut PgConnection, publication: &str, name: &TableName) -> Result<Option<LiveTable>, SchemaUnread> {
    let sql = format!(
        "select c.oid::int8, n.nspname::text, c.relname::text, format('%I.%I', n.nspname, c.relname), c.relkind::text,
                c.relpersistence = 'p', c.relreplident::text,
                array(select a.attname::text from pg_index i join pg_attribute a
                        on a.attrelid = c.oid and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])
                      where i.indrelid = c.oid and i.indisprimary order by a.attnum),
                {IDENTITY_COLUMNS},
                (select format('%I.%I', rn.nspname, r.relname) from pg_class r join pg_namespace rn on rn.oid = r.relnamespace
                 where c.relispartition and r.oid = pg_partition_root(c.oid))
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relname = $2"
    );
    let row: Option<TableRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(&*name.schema)
        .bind(&*name.name)
        .fetch_optional(&mut *connection)
        .await
        .map_err(SchemaUnread::Query)?;
    let Some((id, schema, table, sql_name, kind, logged, identity, primary_key, identity_columns, partition_of)) = row else {
        return Ok(None);
    };
    Ok(Some(LiveTable {
        columns: read_columns(connection, id).await?,
        published: read_published(connection, publication, id).await?,
        below: read_below(connection, id).await?,
        identity: parse_identity(&sql_name, &identity)?,
        name: TableName { schema: schema.into(), name: table.into() },
        kind: kind.chars().next().unwrap_or('?'),
        sql_name,
        logged,
        primary_key,
        identity_columns,
        partition_of,
    }))
}

async fn read_columns(connection: &mut PgConnection, table: i64) -> Result<Vec<LiveColumn>, SchemaUnread> {
    let rows: Vec<(String, String, i64, bool, bool)> = sqlx::query_as(
        "select a.attname::text, format_type(a.atttypid, a.atttypmod),
                (case when t.typtype = 'd' then t.typbasetype else t.oid end)::int8, t.typtype = 'd', a.attgenerated <> ''
         from pg_attribute a join pg_type t on t.oid = a.atttypid
         where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped order by a.attnum",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .map_err(SchemaUnread::Query)?;
    let column = |(name, type_name, type_id, is_domain, is_generated)| LiveColumn {
        name,
        type_name,
        type_id: u32::try_from(type_id).unwrap_or(0),
        is_domain,
        is_generated,
    };
    Ok(rows.into_iter().map(column).collect())
}

/// Column lists and row filters came with Postgres 15; asking for them by way of JSON lets one query do for 14 as well. Generated
/// columns are streamed from 18 on, but some versions before it list them (seen on 15.18).
async fn read_published(
    connection: &mut PgConnection,
    publication: &str,
    table: i64,
) -> Result<Option<PublishedTable>, SchemaUnread> {
    let row: Option<(Option<Vec<String>>, Option<String>)> = sqlx::query_as(
        "select case when jsonb_typeof(row -> 'attnames') = 'array' then array(
                    select a.attname::text from pg_attribute a
                    where a.attrelid = c.oid and row -> 'attnames' ? a.attname
                      and (a.attgenerated = '' or current_setting('server_version_num')::int >= 180000)
                    order by a.attnum) end, row ->> 'rowfilter'
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         join (select to_jsonb(p) as row, * from pg_publication_tables p) t on schemaname = nspname and tablename = relname
         where pubname = $1 and c.oid = $2::oid",
    )
    .bind(publication)
    .bind(table)
    .fetch_optional(connection)
    .await
    .map_err(SchemaUnread::Query)?;
    Ok(row.map(|(columns, row_filter)| PublishedTable { columns, row_filter }))
}

async fn read_below(connection: &mut PgConnection, table: i64) -> Result<Vec<LivePartition>, SchemaUnread> {
    let sql = format!(
        "with recursive below as (
             select inhrelid as oid from pg_inherits where inhparent = $1::oid
             union select i.inhrelid from pg_inherits i join below b on i.inhparent = b.oid)
         select format('%I.%I', n.nspname, c.relname), c.relreplident::text, {IDENTITY_COLUMNS}
         from below join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace
         where c.relkind not in ('p', 'i', 'I') order by 1"
    );
    let rows: Vec<(String, String, Vec<String>)> =
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(table).fetch_all(connection).await.map_err(SchemaUnread::Query)?;
    let partition = |(sql_name, identity, identity_columns): (String, String, Vec<String>)| {
        Ok(LivePartition { identity: parse_identity(&sql_name, &identity)?, sql_name, identity_columns })
    };
    rows.into_iter().map(partition).collect()
}

/// `pg_class.relreplident`.
pub(crate) fn parse_identity(table: &str, letter: &str) -> Result<ReplicaIdentity, SchemaUnread> {
    Ok(match letter {
        "d" => ReplicaIdentity::Default,
        "n" => ReplicaIdentity::Nothing,
        "f" => ReplicaIdentity::Full,
        "i" => ReplicaIdentity::Index,
        _ => return Err(SchemaUnread::UnknownIdentity { table: table.to_owned(), identity: letter.to_owned() }),
    })
}
