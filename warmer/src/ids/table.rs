//! Ids from the table itself, a page of them at a time along the primary key: whose order is that of creation.
//!
//! Not one long query: its snapshot would keep Postgres from clearing up dead rows for as long as the run takes.

use std::time::Duration;

use freshline::{
    catalog::DatabaseError,
    retry::{GivenUp, Policy, Retry},
};
use sqlx::PgPool;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Gather, IdsError};

/// How many ids are read at a time: some milliseconds.
const PAGE_LEN: u64 = 10_000;

/// How long a page may take. Far more than it does from a cold disk.
const PAGE_DEADLINE: Duration = Duration::from_secs(30);

/// For how long a page that fails is tried again.
const PAGE_RETRY: Policy =
    Policy { base: Duration::from_millis(100), cap: Duration::from_secs(1), deadline: Some(Duration::from_secs(30)) };

/// What the table lists.
pub struct Listing {
    pool: PgPool,
    /// The newest so many; `None`: every one, the oldest first.
    newest: Option<u64>,
}

impl Listing {
    pub(super) fn all(pool: PgPool) -> Self {
        Self { pool, newest: None }
    }

    pub(super) fn newest(pool: PgPool, count: u64) -> Self {
        Self { pool, newest: Some(count) }
    }

    /// An estimate, for a progress bar: the planner's own.
    pub(super) async fn expected(&self) -> Result<Option<u64>, IdsError> {
        let rows = // not cached: the length of a progress bar
            sqlx::query_scalar!(r#"select reltuples::bigint as "rows!" from pg_class where oid = 'public.products'::regclass"#);
        let rows = timeout(PAGE_DEADLINE, rows.fetch_one(&self.pool)).await.map_err(|_| DatabaseError::Silent(PAGE_DEADLINE))?;
        // -1: the table has never been looked at.
        let rows = u64::try_from(rows.map_err(DatabaseError::from)?).ok();
        Ok(match (self.newest, rows) {
            (Some(newest), Some(rows)) if rows > 0 => Some(newest.min(rows)),
            (Some(newest), _) => Some(newest),
            (None, rows) => rows.filter(|rows| *rows > 0),
        })
    }

    pub(super) async fn stream(self, gather: &mut Gather) -> Result<(), IdsError> {
        // No product has either id: they are not of version 7.
        let mut last = if self.newest.is_some() { Uuid::max() } else { Uuid::nil() };
        let mut left = self.newest.unwrap_or(u64::MAX);
        while left > 0 {
            let page = self.page(last, left.min(PAGE_LEN)).await?;
            let Some(end) = page.last() else { break };
            (last, left) = (*end, left.saturating_sub(page.len() as u64));
            for id in page {
                if gather.new_id(id).await.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The next page, tried again for a while where Postgres is away.
    async fn page(&self, last: Uuid, len: u64) -> Result<Vec<Uuid>, IdsError> {
        let mut retry = Retry::new("the list of ids", PAGE_RETRY);
        // Nobody cancels it: whoever ends the run drops this future.
        let never = CancellationToken::new();
        loop {
            match self.try_page(last, len).await {
                Ok(page) => {
                    retry.succeeded();
                    return Ok(page);
                }
                Err(error) => match retry.failed(error, &never).await {
                    Ok(()) => {}
                    Err(GivenUp::Hopeless { error, .. } | GivenUp::TooLong { error, .. }) => return Err(error.into()),
                    Err(GivenUp::NoAnswer { lasted, .. }) => return Err(DatabaseError::Silent(lasted).into()),
                    Err(GivenUp::Stopped { .. }) => return Ok(Vec::new()),
                },
            }
        }
    }

    async fn try_page(&self, last: Uuid, len: u64) -> Result<Vec<Uuid>, DatabaseError> {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let page = async {
            match self.newest {
                Some(_) => {
                    // not cached: ids to offer, each of which is read for the cache on its own
                    sqlx::query_scalar!("select id from public.products where id < $1 order by id desc limit $2", last, len)
                        .fetch_all(&self.pool)
                        .await
                }
                None => {
                    // not cached: as above
                    sqlx::query_scalar!("select id from public.products where id > $1 order by id limit $2", last, len)
                        .fetch_all(&self.pool)
                        .await
                }
            }
        };
        Ok(timeout(PAGE_DEADLINE, page).await.map_err(|_| DatabaseError::Silent(PAGE_DEADLINE))??)
    }
}
