//! An SQL session with the primary, for what no stream tells: its history, the end of its log, its snapshot, its tables.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::{
    coherence::{Lsn, Snapshot, Source},
    envelope::Relations,
    fault::{Classified, Kind},
    rules::SchemaUnread,
    tls,
};

/// How long the primary may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A session with the primary. It stays with one server in one history.
#[derive(Debug)]
pub struct Primary {
    connection: PgConnection,
}

/// What a session sees of the primary.
#[derive(Debug, Clone)]
pub struct Look {
    /// The history that the server is in.
    pub source: Source,
    /// The log's end: every commit that anybody has heard of ends before it.
    pub insert: Lsn,
    /// What a statement that begins now sees.
    pub snapshot: Arc<Snapshot>,
}

/// The session is lost, or cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PrimaryError {
    /// Postgres refused, or went away.
    #[error("the session with the primary failed")]
    Sql(#[from] sqlx::Error),
    /// It did not answer.
    #[error("the primary has not answered for {} s", ANSWER_WITHIN.as_secs())]
    Late,
    /// The tables could not be read.
    #[error("the tables cannot be read")]
    Schema(#[from] SchemaUnread),
}

impl Classified for PrimaryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Sql(error) if is_for_good(error) => Kind::Permanent,
            Self::Sql(_) | Self::Late => Kind::Transient,
            Self::Schema(error) => error.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Schema(error) => error.remedy(),
            Self::Sql(error) if is_for_good(error) => Some(remedy_for_good(
                error,
                "check user, password and database in FRESHLINE_DATABASE_URL, and apply the migrations; or grant this role usage on \
                 schema freshline and execute on its functions",
            )),
            Self::Sql(_) | Self::Late => None,
        }
    }
}

/// What mends an error that is for good.
pub(crate) fn remedy_for_good(error: &sqlx::Error, otherwise: &str) -> String {
    tls::cause_of(error).map_or_else(|| otherwise.to_owned(), |cause| tls::POSTGRES.remedy(cause))
}

/// Whether Postgres will say the same again: there is no trust (TLS), or classes 28 (invalid authorization), 3D (no such database) and 42 (no such table or
/// function, or no right to it) of SQLSTATE.
pub fn is_for_good(error: &sqlx::Error) -> bool {
    if tls::cause_of(error).is_some() {
        return true;
    }
    let sqlx::Error::Database(refused) = error else { return false };
    refused.code().is_some_and(|code| ["28", "3D", "42"].iter().any(|class| code.starts_with(class)))
}

impl Primary {
    /// Connects.
    ///
    /// # Errors
    /// [`PrimaryError`].
    pub async fn connect(options: &PgConnectOptions) -> Result<Self, PrimaryError> {
        Ok(Self { connection: within(PgConnection::connect_with(options)).await? })
    }

    /// Asks it something, within the deadline.
    ///
    /// # Errors
    /// [`PrimaryError`]: the session is lost.
    pub async fn ask<T>(
        &mut self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, PrimaryError> {
        within(statement(&mut self.connection)).await
    }

    /// Looks at it.
    ///
    /// # Errors
    /// [`PrimaryError`]: the session is lost.
    pub async fn look(&mut self) -> Result<Look, PrimaryError> {
        // One statement: a server that is promoted or restarted in between cannot answer half of it.
        let sql = "select freshline.source(), pg_current_wal_insert_lsn()::text, pg_current_snapshot()::text";
        let asked = sqlx::query_as(sql).fetch_one(&mut self.connection);
        let (source, insert, snapshot): (String, String, String) = within(asked).await?;
        Ok(Look {
            source: source.parse().map_err(undecodable)?,
            insert: insert.parse().map_err(undecodable)?,
            snapshot: Arc::new(snapshot.parse().map_err(undecodable)?),
        })
    }

    /// The tables as they are now.
    ///
    /// # Errors
    /// [`PrimaryError`]: the session is lost.
    pub async fn relations(&mut self) -> Result<Relations, PrimaryError> {
        Ok(Relations::load(&mut self.connection).await?)
    }
}

fn undecodable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

async fn within<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, PrimaryError> {
    Ok(tokio::time::timeout(ANSWER_WITHIN, statement).await.map_err(|_| PrimaryError::Late)??)
}
