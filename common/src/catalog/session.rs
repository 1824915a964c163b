//! Sessions of Postgres: what a session is set to before it reads or writes a product.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// How many sessions a pool may hold, and how long it waits.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The most sessions at a time.
    pub connections_max: u32,
    /// How long a caller waits for a session, making one included.
    pub acquire_timeout: Duration,
    /// How long Postgres works on one statement before it cancels it.
    pub statement_timeout: Duration,
}

/// Sessions whose reads may feed the cache: read-only, each knowing whose history it reads.
///
/// A read inside a transaction that has written sees its own uncommitted change, and would cache it; so these sessions cannot write.
/// Which history they read is asked once, before the first read, by a statement of its own: a session that was opened on a standby
/// stays without a source when that is promoted, and feeds nothing until the pool replaces it. Connects when first asked.
pub fn read_pool(connect: PgConnectOptions, options: &SessionOptions) -> PgPool {
    let pool = pool(options).after_connect(|connection, _| {
        Box::pin(async move {
            // not cached: it is kept in the session, so that each read can tell it in the statement that reads.
            let source = "select set_config('freshline.source', coalesce(freshline.source(), ''), false)";
            sqlx::query(source).execute(connection).await.map(drop)
        })
    });
    pool.connect_lazy_with(pinned(connect, options).options([("default_transaction_read_only", "on")]))
}

/// Sessions that write. Connects when first asked.
pub fn write_pool(connect: PgConnectOptions, options: &SessionOptions) -> PgPool {
    pool(options).connect_lazy_with(pinned(connect, options))
}

fn pool(options: &SessionOptions) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(options.connections_max).acquire_timeout(options.acquire_timeout)
}

/// Values are read as text, and the change stream prints the same ones: both sides pin the formats, so that the bytes agree
/// (`freshline_invalidator` has its own in migrations/0006_roles.sql). sqlx itself sets TimeZone UTC and DateStyle ISO.
fn pinned(connect: PgConnectOptions, options: &SessionOptions) -> PgConnectOptions {
    let timeout = options.statement_timeout.as_millis().to_string();
    connect.extra_float_digits(1).options([
        ("statement_timeout", timeout.as_str()),
        ("intervalstyle", "postgres"),
        ("bytea_output", "hex"),
    ])
}
