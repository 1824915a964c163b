//! Loading products: the fifteen by INSERT, made ones by COPY.

use std::ops::Range;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::time::timeout;
use tracing::info;
use uuid::Uuid;

use super::generator::{COLUMNS, id_floor, push_row, row_of};
use crate::catalog::DatabaseError;
use crate::fault::{Classified, Kind};

/// The most rows that are made: ten million.
pub const GENERATED_ROWS_MAX: u64 = 10_000_000;

/// Rows in one COPY: a second or so of work.
const CHUNK_LEN: u64 = 20_000;

/// From so many rows on, a table without made ones is loaded without its indexes, which are made afterwards. Kept up meanwhile they
/// more than double the time, and worse once they outgrow the server's memory: on a busy machine 300,000 rows took 27 s with them and
/// 12 s this way, 700,000 more took 95 s with them.
const BULK_LEN_MIN: u64 = 100_000;

/// Bytes handed to the connection at a time.
const PIECE_LEN: usize = 256 * 1024;

/// How long one statement may take: an index of ten million rows on a slow disk takes minutes.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(900);

/// What was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Rows that were there before.
    pub present: u64,
    /// Rows that were added.
    pub added: u64,
}

/// Products that were not loaded.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// More rows than are made.
    #[error("{asked} products are more than the {GENERATED_ROWS_MAX} that can be made")]
    TooMany {
        /// How many were asked for.
        asked: u64,
    },
    /// Postgres did not take them.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Classified for SeedError {
    fn kind(&self) -> Kind {
        match self {
            Self::TooMany { .. } => Kind::Permanent,
            Self::Database(error) => error.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::TooMany { .. } => Some(format!("ask for at most {GENERATED_ROWS_MAX} rows")),
            Self::Database(error) => error.remedy(),
        }
    }
}

/// Adds those of the fifteen products whose sku is not there.
///
/// # Errors
/// If Postgres does not take them.
pub async fn plant(connection: &mut PgConnection) -> Result<Loaded, SeedError> {
    let done = in_time(sqlx::raw_sql(include_str!("fifteen.sql")).execute(connection)).await?;
    Ok(Loaded { present: 15_u64.saturating_sub(done.rows_affected()), added: done.rows_affected() })
}

/// Makes rows 0 to `rows` of `seed`, after the last one that is there, by COPY, as the table's owner; then has the table analysed.
///
/// `progress` is told how many rows there are, at the beginning and after each chunk. Called again it goes on where it was stopped;
/// rows that are there stay as they are, whatever seed made them. The first rows, if 100,000 or more, are loaded in one transaction that
/// locks the table: for a database that nobody uses yet. Fewer, or more to those, are loaded beside readers and writers.
///
/// # Errors
/// If more rows are asked for than [`GENERATED_ROWS_MAX`], or Postgres does not take them.
pub async fn generate(
    connection: &mut PgConnection,
    rows: u64,
    seed: u64,
    mut progress: impl FnMut(u64),
) -> Result<Loaded, SeedError> {
    if rows > GENERATED_ROWS_MAX {
        return Err(SeedError::TooMany { asked: rows });
    }
    let present = present(connection).await?.min(rows);
    progress(present);
    if present == 0 && rows >= BULK_LEN_MIN {
        copy_without_indexes(connection, seed, rows, &mut progress).await?;
    } else {
        copy(connection, seed, present..rows, &mut progress).await?;
    }
    if present < rows {
        in_time(sqlx::raw_sql("analyze public.products").execute(connection)).await?;
    }
    Ok(Loaded { present, added: rows - present })
}

/// How many made rows there are, by the last one's id.
async fn present(connection: &mut PgConnection) -> Result<u64, SeedError> {
    let last = sqlx::query_scalar!(
        // not cached: it only says where to go on
        "select id from public.products where id >= $1 and id < $2 order by id desc limit 1",
        id_floor(0),
        id_floor(GENERATED_ROWS_MAX)
    );
    let last: Option<Uuid> = in_time(last.fetch_optional(connection)).await?;
    Ok(last.and_then(row_of).map_or(0, |row| row + 1))
}

/// Adds the first rows in one transaction: either all are there, and their indexes, or nothing has changed.
async fn copy_without_indexes(
    connection: &mut PgConnection,
    seed: u64,
    rows: u64,
    progress: &mut impl FnMut(u64),
) -> Result<(), SeedError> {
    let mut transaction = in_time(connection.begin()).await?;
    // Those of constraints stay: they refuse rows, and grow at their ends.
    let indexes = sqlx::query!(
        // not cached: what the table has
        r#"select indexrelid::regclass::text as "name!", pg_get_indexdef(indexrelid) as "definition!" from pg_index
           where indrelid = 'public.products'::regclass and not exists (select from pg_constraint where conindid = indexrelid)"#
    );
    let indexes = in_time(indexes.fetch_all(&mut *transaction)).await?;
    // Both names and definitions are Postgres's own, quoted where they need it.
    for index in &indexes {
        let drop = AssertSqlSafe(format!("drop index {}", index.name));
        in_time(sqlx::raw_sql(drop).execute(&mut *transaction)).await?;
    }
    copy(&mut transaction, seed, 0..rows, progress).await?;
    info!("{rows} products are copied; making {} indexes", indexes.len());
    in_time(sqlx::raw_sql("set local maintenance_work_mem = '256MB'").execute(&mut *transaction)).await?;
    for index in indexes {
        in_time(sqlx::raw_sql(AssertSqlSafe(index.definition)).execute(&mut *transaction)).await?;
    }
    Ok(in_time(transaction.commit()).await?)
}

/// Adds these rows, chunk by chunk. Outside a transaction each chunk is one.
async fn copy(connection: &mut PgConnection, seed: u64, rows: Range<u64>, progress: &mut impl FnMut(u64)) -> Result<(), SeedError> {
    let mut done = rows.start;
    while done < rows.end {
        let end = rows.end.min(done + CHUNK_LEN);
        in_time(copy_chunk(connection, seed, done..end)).await?;
        done = end;
        progress(done);
    }
    Ok(())
}

async fn copy_chunk(connection: &mut PgConnection, seed: u64, rows: Range<u64>) -> sqlx::Result<()> {
    let mut copy = connection.copy_in_raw(&format!("copy public.products ({COLUMNS}) from stdin")).await?;
    let mut piece = String::with_capacity(PIECE_LEN + 1024);
    for n in rows {
        push_row(&mut piece, seed, n);
        if piece.len() >= PIECE_LEN {
            copy.send(piece.as_bytes()).await?;
            piece.clear();
        }
    }
    copy.send(piece.as_bytes()).await?;
    copy.finish().await.map(drop)
}

async fn in_time<T>(statement: impl Future<Output = sqlx::Result<T>>) -> Result<T, DatabaseError> {
    Ok(timeout(STATEMENT_DEADLINE, statement).await.map_err(|_| DatabaseError::Silent(STATEMENT_DEADLINE))??)
}
