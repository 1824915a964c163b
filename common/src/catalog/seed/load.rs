//! Loading products: the fifteen by INSERT, made ones by COPY.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::timeout;
use uuid::Uuid;

use super::generator::{COLUMNS, id_floor, push_row, row_of};
use crate::catalog::DatabaseError;
use crate::fault::{Classified, Kind};

/// The most rows that are made: ten million.
pub const GENERATED_ROWS_MAX: u64 = 10_000_000;

/// Rows in one transaction: some seconds of work, after which what is there stays there.
const CHUNK_LEN: u64 = 50_000;

/// Bytes handed to the connection at a time.
const PIECE_LEN: usize = 256 * 1024;

/// How long one transaction may take; on a slow disk with a large table it is many seconds.
const CHUNK_DEADLINE: Duration = Duration::from_secs(300);

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

impl From<sqlx::Error> for SeedError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
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
    let insert = sqlx::raw_sql(include_str!("fifteen.sql")).execute(connection);
    let done = timeout(CHUNK_DEADLINE, insert).await.map_err(|_| DatabaseError::Silent(CHUNK_DEADLINE))??;
    Ok(Loaded { present: 15_u64.saturating_sub(done.rows_affected()), added: done.rows_affected() })
}

/// Makes rows 0 to `rows` of `seed`, after the last one that is there, by COPY, as the table's owner; then has the table analysed.
///
/// `progress` is told how many rows there are, at the beginning and after each transaction. Called again it goes on where it was
/// stopped; rows that are there stay as they are, whatever seed made them.
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
    let mut done = present;
    while done < rows {
        let end = rows.min(done + CHUNK_LEN);
        timeout(CHUNK_DEADLINE, copy(connection, seed, done..end)).await.map_err(|_| DatabaseError::Silent(CHUNK_DEADLINE))??;
        done = end;
        progress(done);
    }
    if done > present {
        let analyze = sqlx::raw_sql("analyze public.products").execute(connection);
        timeout(CHUNK_DEADLINE, analyze).await.map_err(|_| DatabaseError::Silent(CHUNK_DEADLINE))??;
    }
    Ok(Loaded { present, added: done - present })
}

/// How many made rows there are, by the last one's id.
async fn present(connection: &mut PgConnection) -> Result<u64, SeedError> {
    let last: Option<Uuid> = sqlx::query_scalar!(
        // not cached: it only says where to go on
        "select id from public.products where id >= $1 and id < $2 order by id desc limit 1",
        id_floor(0),
        id_floor(GENERATED_ROWS_MAX)
    )
    .fetch_optional(connection)
    .await?;
    Ok(last.and_then(row_of).map_or(0, |row| row + 1))
}

/// Adds these rows in one transaction.
async fn copy(connection: &mut PgConnection, seed: u64, rows: std::ops::Range<u64>) -> sqlx::Result<()> {
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
