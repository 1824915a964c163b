//! What replication slots hold back: log that Postgres must keep until their consumers have read it.

use sqlx::PgConnection;

/// A replication slot, as far as it can fill a disk.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct HeldBack {
    /// The slot's name.
    pub slot: String,
    /// The database that it belongs to; none for a physical one.
    pub database: Option<String>,
    /// The process that reads from it now, if one does.
    pub active_pid: Option<i32>,
    /// Log in bytes that is kept for it.
    pub retained_bytes: i64,
    /// Log in bytes that its consumer has not acknowledged; none for a physical one.
    pub unacknowledged_bytes: Option<i64>,
    /// `reserved`, `extended`, `unreserved` or `lost`: how near it is to losing its place.
    pub wal_status: Option<String>,
    /// How many more bytes may be written before it may lose its place; none where nothing limits them.
    pub safe_bytes: Option<i64>,
}

const HELD: &str = "
    select slot_name::text as slot, database::text, active_pid, wal_status,
           greatest(coalesce(pg_wal_lsn_diff(here, restart_lsn), 0), 0)::int8 as retained_bytes,
           greatest(pg_wal_lsn_diff(here, confirmed_flush_lsn), 0)::int8 as unacknowledged_bytes,
           safe_wal_size as safe_bytes
    from pg_replication_slots,
         (select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end) as log (here)
    order by 1";

/// Every slot of the server.
///
/// # Errors
/// What the server or the connection says. The caller keeps the deadline.
pub async fn held_back(connection: &mut PgConnection) -> Result<Vec<HeldBack>, sqlx::Error> {
    sqlx::query_as(HELD).fetch_all(connection).await
}
