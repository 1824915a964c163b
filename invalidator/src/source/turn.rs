//! The turn: a session with the primary that holds an advisory lock. Whoever has it consumes; the others wait for it.
//!
//! It is more than a lock. A session that lives is on one server in one history, so what had come from a broker before it was asked
//! last is of nothing later (protocol.md, brokers).

use std::time::Duration;

use freshline::{
    envelope::Relations,
    primary::{Look, Primary, PrimaryError},
};
use sqlx::postgres::PgConnectOptions;

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

/// The turn, taken. Dropped, it is free for the next. Any error means that it is lost.
#[derive(Debug)]
pub struct Turn {
    primary: Primary,
}

impl Turn {
    /// Waits until the turn of this name is ours. May be dropped at any time.
    ///
    /// # Errors
    /// [`PrimaryError`].
    pub async fn take(database: PgConnectOptions, name: &str) -> Result<Self, PrimaryError> {
        let options = database.options(SESSION).application_name("freshline-invalidator turn");
        let mut turn = Self { primary: Primary::connect(&options).await? };
        let mut has_waited = false;
        while !turn.try_lock(name).await? {
            if !std::mem::replace(&mut has_waited, true) {
                tracing::info!("another invalidator consumes {name}; waiting for its turn");
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(turn)
    }

    async fn try_lock(&mut self, name: &str) -> Result<bool, PrimaryError> {
        let sql = "select pg_try_advisory_lock(hashtextextended('freshline turn ' || $1, 0))";
        self.primary.ask(async |session| sqlx::query_scalar(sql).bind(name).fetch_one(session).await).await
    }

    /// Looks at the primary.
    ///
    /// # Errors
    /// [`PrimaryError`].
    pub async fn look(&mut self) -> Result<Look, PrimaryError> {
        self.primary.look().await
    }

    /// Writes logical messages, prefix and content, in one transaction of their own.
    ///
    /// # Errors
    /// [`PrimaryError`].
    pub async fn emit(&mut self, messages: &[(String, String)]) -> Result<(), PrimaryError> {
        let (prefixes, contents): (Vec<&str>, Vec<&str>) = messages.iter().map(|(p, c)| (p.as_str(), c.as_str())).unzip();
        let sql =
            "select pg_logical_emit_message(true, prefix, content) from unnest($1::text[], $2::text[]) as m (prefix, content)";
        self.primary.ask(async |session| sqlx::query(sql).bind(prefixes).bind(contents).execute(session).await).await.map(drop)
    }

    /// The tables as they are now.
    ///
    /// # Errors
    /// [`PrimaryError`].
    pub async fn relations(&mut self) -> Result<Relations, PrimaryError> {
        self.primary.relations().await
    }
}
