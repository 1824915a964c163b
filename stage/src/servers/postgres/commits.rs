//! Holding commits in the gap: logged and streamed, but not visible, for as long as a test wants.

use anyhow::{Context, Result, anyhow, bail};
use sqlx::{Connection, PgConnection};

use super::{CONNECT_MAX, Postgres};
use crate::until::within;

/// A synchronous standby that does not exist.
const NOBODY: &str = "nobody";

impl Postgres {
    /// From now on a commit with `synchronous_commit = on` is streamed but stays invisible until [`Self::release_commits`]:
    /// it waits for a standby that is not there. Holds for the whole server.
    ///
    /// A reload alone is not enough, for the checkpointer has to hear of it; so this returns only once a commit has been seen waiting.
    pub async fn hold_commits(&self) -> Result<()> {
        self.set("synchronous_standby_names", NOBODY).await?;
        let held = within(CONNECT_MAX, async || self.probe().await);
        held.await.map_err(|last| anyhow!("commits are not held: {last}"))
    }

    /// Lets held commits, and all later ones, become visible.
    pub async fn release_commits(&self) -> Result<()> {
        self.set("synchronous_standby_names", "").await
    }

    /// How many commits are waiting in the gap.
    pub async fn held_commits(&self) -> Result<i64> {
        let mut watcher = self.connect("postgres").await?;
        let count = sqlx::query_scalar("select count(*) from pg_stat_activity where wait_event = 'SyncRep'")
            .fetch_one(&mut watcher)
            .await?;
        watcher.close().await?;
        Ok(count)
    }

    /// Commits a transaction that wrote to the log (one that did not never waits), and fails if it does not wait. One that
    /// waits is cancelled, which completes it.
    async fn probe(&self) -> Result<()> {
        let mut watcher = self.connect("postgres").await?;
        let mut prober = self.connect("postgres").await?;
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut prober).await?;
        let mut commit = std::pin::pin!(async move {
            sqlx::query("select pg_logical_emit_message(true, 'stage.probe', '')").execute(&mut prober).await
        });
        tokio::select! {
            done = &mut commit => { done?; bail!("a commit did not wait") }
            seen = within(CONNECT_MAX, async || waits(&mut watcher, pid).await) => seen.map_err(|last| anyhow!(last))?,
        }
        sqlx::query("select pg_cancel_backend($1)").bind(pid).execute(&mut watcher).await.context("cancelling the probe")?;
        commit.await.context("the cancelled probe")?;
        Ok(watcher.close().await?)
    }
}

/// Fails unless the backend `pid` waits for a synchronous standby.
async fn waits(watcher: &mut PgConnection, pid: i32) -> Result<()> {
    let event: Option<String> =
        sqlx::query_scalar("select wait_event from pg_stat_activity where pid = $1").bind(pid).fetch_one(watcher).await?;
    if event.as_deref() == Some("SyncRep") { Ok(()) } else { bail!("the commit waits for {event:?}") }
}
