//! The turn: a session with the primary that holds an advisory lock. Whoever has it consumes; the others wait for it.
//!
//! It is more than a lock. A session that lives is on one server in one history, so what had come from a broker before it was asked
//! last is of nothing later (protocol.md, brokers).

use std::{sync::Arc, time::Duration};

use freshline::{
    coherence::{self, Lsn, Snapshot},
    envelope::Relations,
    fault::{Classified, Kind},
    rules::SchemaUnread,
};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

/// How long one statement may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often it is asked whether the turn is free.
const PAUSE: Duration = Duration::from_millis(250);

/// The server gives up a holder that has vanished, machine and all, after 5 + 3 × 2 s; one that is killed at once. A marker must not
/// hang in the gap itself.
const SESSION: [(&str, &str); 4] = [
    ("synchronous_commit", "local"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
];

/// The turn, taken. Dropped, it is free for the next.
#[derive(Debug)]
pub struct Turn {
    connection: PgConnection,
}

/// What the session sees of the primary.
#[derive(Debug, Clone)]
pub struct Look {
    /// The history that the server is in.
    pub source: coherence::Source,
    /// The log's end: every commit that anybody has heard of ends before it.
    pub insert: Lsn,
    /// What a statement that begins now sees.
    pub snapshot: Arc<Snapshot>,
}

/// The session is lost, or cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// Postgres refused, or went away.
    #[error("the session that holds the turn failed")]
    Sql(#[from] sqlx::Error),
    /// It did not answer.
    #[error("the session that holds the turn did not answer within {} s", DEADLINE.as_secs())]
    Late,
    /// The tables could not be read.
    #[error("the tables cannot be read")]
    Schema(#[from] SchemaUnread),
}

impl Classified for TurnError {
    fn kind(&self) -> Kind {
        match self {
            Self::Sql(sqlx::Error::Database(refused)) if is_for_good(refused.code().as_deref()) => Kind::Permanent,
            Self::Sql(_) | Self::Late => Kind::Transient,
            Self::Schema(error) => error.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Schema(error) => error.remedy(),
            Self::Sql(sqlx::Error::Database(refused)) if is_for_good(refused.code().as_deref()) => {
                Some("check user, password and database in FRESHLINE_DATABASE_URL, and apply the migrations".into())
            }
            Self::Sql(_) | Self::Late => None,
        }
    }
}

/// Classes 28 (invalid authorization), 3D (no such database) and 42 (no such function, or no right to it) of SQLSTATE.
fn is_for_good(sqlstate: Option<&str>) -> bool {
    sqlstate.is_some_and(|code| ["28", "3D", "42"].iter().any(|class| code.starts_with(class)))
}

impl Turn {
    /// Waits until the turn of this name is ours. May be dropped at any time.
    ///
    /// # Errors
    /// [`TurnError`].
    pub async fn take(database: PgConnectOptions, name: &str) -> Result<Self, TurnError> {
        let options = database.options(SESSION).application_name("freshline-invalidator turn");
        let connection = within(PgConnection::connect_with(&options)).await?;
        let mut turn = Self { connection };
        let mut has_waited = false;
        while !turn.try_lock(name).await? {
            if !std::mem::replace(&mut has_waited, true) {
                tracing::info!("another invalidator consumes {name}; waiting for its turn");
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(turn)
    }

    async fn try_lock(&mut self, name: &str) -> Result<bool, TurnError> {
        let sql = "select pg_try_advisory_lock(hashtextextended('freshline turn ' || $1, 0))";
        within(sqlx::query_scalar(sql).bind(name).fetch_one(&mut self.connection)).await
    }

    /// Looks at the primary.
    ///
    /// # Errors
    /// [`TurnError`]: the turn is lost.
    pub async fn look(&mut self) -> Result<Look, TurnError> {
        // One statement: a server that is promoted or restarted in between cannot answer half of it.
        let sql = "select freshline.source(), pg_current_wal_insert_lsn()::text, pg_current_snapshot()::text";
        let (source, insert, snapshot): (String, String, String) =
            within(sqlx::query_as(sql).fetch_one(&mut self.connection)).await?;
        Ok(Look {
            source: source.parse().map_err(undecodable)?,
            insert: insert.parse().map_err(undecodable)?,
            snapshot: Arc::new(snapshot.parse().map_err(undecodable)?),
        })
    }

    /// Writes logical messages, prefix and content, in one transaction of their own.
    ///
    /// # Errors
    /// [`TurnError`]: the turn is lost.
    pub async fn emit(&mut self, messages: &[(String, String)]) -> Result<(), TurnError> {
        let (prefixes, contents): (Vec<&str>, Vec<&str>) = messages.iter().map(|(p, c)| (p.as_str(), c.as_str())).unzip();
        let sql =
            "select pg_logical_emit_message(true, prefix, content) from unnest($1::text[], $2::text[]) as m (prefix, content)";
        within(sqlx::query(sql).bind(prefixes).bind(contents).execute(&mut self.connection)).await.map(drop)
    }

    /// The tables as they are now.
    ///
    /// # Errors
    /// [`TurnError`]: the turn is lost.
    pub async fn relations(&mut self) -> Result<Relations, TurnError> {
        Ok(Relations::load(&mut self.connection).await?)
    }
}

fn undecodable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

async fn within<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, TurnError> {
    Ok(tokio::time::timeout(DEADLINE, statement).await.map_err(|_| TurnError::Late)??)
}
