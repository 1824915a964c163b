//! Ids from a query of the operator's own.

use std::time::Duration;

use freshline::catalog::DatabaseError;
use futures::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Column, Either, Executor, PgPool, Postgres, Row, SqlSafeStr, Statement, TypeInfo,
    pool::PoolConnection,
    postgres::{PgDatabaseError, PgErrorPosition},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Gather, IdsError};

/// How long Postgres may take to look at the query, a session included. Running it may take as long as it does.
const PREPARE_DEADLINE: Duration = Duration::from_secs(10);

/// A query that has been looked at and not run yet.
pub struct Rows {
    text: String,
    session: PoolConnection<Postgres>,
}

impl Rows {
    /// The sessions of `pool` read only, and have no limit on how long a statement may take.
    pub(super) async fn open(text: String, pool: PgPool) -> Result<Self, IdsError> {
        let looked = async {
            let mut session = pool.acquire().await.map_err(DatabaseError::from)?;
            check(&text, &mut session).await?;
            Ok::<_, IdsError>(session)
        };
        let session = timeout(PREPARE_DEADLINE, looked).await.map_err(|_| DatabaseError::Silent(PREPARE_DEADLINE))?;
        Ok(Self { session: session?, text })
    }

    pub(super) async fn stream(mut self, gather: &mut Gather) -> Result<(), IdsError> {
        // Rows come as they are asked for: Postgres waits where they are not.
        let mut rows = sqlx::query(AssertSqlSafe(self.text)).persistent(false).fetch(&mut *self.session);
        for number in 1_u64.. {
            let place = || format!("row {number}");
            let Some(row) = rows.try_next().await.map_err(failed)? else { break };
            match row.try_get::<Option<Uuid>, _>(0).map_err(failed)? {
                Some(id) if gather.id(id, place).await.is_break() => return Ok(()),
                Some(_) => {}
                None => gather.malformed("null", place),
            }
        }
        gather.some_id("the rows of --sql")
    }
}

/// Tells an error of the query's own from one of a Postgres that is away.
fn failed(error: sqlx::Error) -> IdsError {
    match error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) {
        Some(told) if !is_away(told.code()) => IdsError::Query(in_words(told)),
        Some(_) | None => IdsError::Database(error.into()),
    }
}

/// By SQLSTATE, of which the first two characters are the class: connection lost, conflict with recovery, out of resources, operator
/// intervention, system error.
fn is_away(code: &str) -> bool {
    ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
}

fn in_words(error: &PgDatabaseError) -> String {
    let at = match error.position() {
        Some(PgErrorPosition::Original(at)) => format!(", at character {at}"),
        Some(PgErrorPosition::Internal { .. }) | None => String::new(),
    };
    let hint = error.hint().map(|hint| format!(". {hint}")).unwrap_or_default();
    format!("{}{at}{hint}", error.message())
}

/// Whether the query yields one column of ids. Postgres looks at it and does not run it.
async fn check(text: &str, session: &mut PoolConnection<Postgres>) -> Result<(), IdsError> {
    let statement = session.prepare(AssertSqlSafe(text).into_sql_str()).await.map_err(failed)?;
    if let Some(Either::Left([_, ..]) | Either::Right(1..)) = statement.parameters() {
        return Err(IdsError::Shape("has a parameter, and nothing to put there".into()));
    }
    match statement.columns() {
        [column] if column.type_info().name() == "UUID" => Ok(()),
        [column] => {
            let (name, found) = (column.name(), column.type_info().name());
            Err(IdsError::Shape(format!("yields {name:?} of type {}, not uuid", found.to_lowercase())))
        }
        [] => Err(IdsError::Shape("yields no column".into())),
        columns => Err(IdsError::Shape(format!("yields {} columns, not one", columns.len()))),
    }
}
