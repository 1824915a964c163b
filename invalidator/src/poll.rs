//! Polls the primary: the snapshot that settles fences, the log's end that bounds staleness, and the identity they belong to.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use freshline::{
    clock::micros,
    coherence::{Links, Lsn, RedisTime, Run, Snapshot, Source},
};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long one poll may take.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait after a poll that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// One look at the primary.
#[derive(Debug, Clone)]
pub struct Poll {
    /// When it was taken.
    pub taken: Instant,
    /// The history that the server is in.
    pub source: Source,
    /// `pg_current_wal_insert_lsn()`, sampled after `clock` was read. The flush position can lie below a visible asynchronous commit.
    pub insert: Lsn,
    /// What a statement that begins now sees.
    pub snapshot: Arc<Snapshot>,
    /// How far the server's clock is ahead of ours, in µs, give or take half of what the poll took. Only told of, never decided by.
    pub ahead_us: i64,
    /// Redis's clock, read before; `None` while there is no Redis.
    pub clock: Option<(Run, RedisTime)>,
}

/// What the rest of the process has of the poller.
#[derive(Clone)]
pub struct Polls {
    latest: watch::Receiver<Option<Poll>>,
    wanted: Arc<Notify>,
    nudged: Arc<Notify>,
}

/// The task that polls.
pub struct Poller {
    database: PgConnectOptions,
    links: Links,
    interval: Duration,
    latest: watch::Sender<Option<Poll>>,
    wanted: Arc<Notify>,
    nudged: Arc<Notify>,
}

/// The process stops, or the poller is gone.
#[derive(Debug, thiserror::Error)]
#[error("the poller has stopped")]
pub struct PollerGone;

impl Polls {
    /// Polls of this database every `interval`, and the task that makes them.
    pub fn new(database: PgConnectOptions, links: Links, interval: Duration) -> (Self, Poller) {
        let (sender, latest) = watch::channel(None);
        let (wanted, nudged) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let polls = Self { latest, wanted: wanted.clone(), nudged: nudged.clone() };
        (polls, Poller { database, links, interval, latest: sender, wanted, nudged })
    }

    /// Waits for the next poll. May be dropped at any time.
    ///
    /// # Errors
    /// [`PollerGone`].
    pub async fn next(&mut self) -> Result<Poll, PollerGone> {
        loop {
            self.latest.changed().await.map_err(|_| PollerGone)?;
            if let Some(poll) = self.latest.borrow_and_update().clone() {
                return Ok(poll);
            }
        }
    }

    /// A poll that is begun after this call.
    ///
    /// # Errors
    /// [`PollerGone`].
    pub async fn fresh(&mut self) -> Result<Poll, PollerGone> {
        let asked = Instant::now();
        self.wanted.notify_one();
        loop {
            let poll = self.next().await?;
            if poll.taken >= asked {
                return Ok(poll);
            }
        }
    }

    /// Asks for a small transaction that makes the walsender's position move.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }
}

impl Poller {
    /// Polls until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_polling()).await;
    }

    async fn keep_polling(self) {
        let mut is_known_down = false;
        loop {
            let error = match self.connected().await {
                Ok(mut connection) => {
                    if std::mem::take(&mut is_known_down) {
                        info!("polling the primary again");
                    }
                    self.poll_on(&mut connection).await
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut is_known_down, true) {
                warn!(error = &error as &dyn std::error::Error, "cannot poll the primary; the cache's values age meanwhile");
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn connected(&self) -> Result<PgConnection, sqlx::Error> {
        // A nudge must not hang in the gap itself.
        let options =
            self.database.clone().options([("synchronous_commit", "local")]).application_name("freshline-invalidator poll");
        let connecting = PgConnection::connect_with(&options);
        tokio::time::timeout(POLL_TIMEOUT, connecting).await.map_err(timed_out)?
    }

    /// Polls on one connection until it fails.
    async fn poll_on(&self, connection: &mut PgConnection) -> sqlx::Error {
        loop {
            match tokio::time::timeout(POLL_TIMEOUT, self.poll(connection)).await {
                Ok(Ok(poll)) => drop(self.latest.send_replace(Some(poll))),
                Ok(Err(error)) => return error,
                Err(elapsed) => return timed_out(elapsed),
            }
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = self.wanted.notified() => {}
                () = self.nudged.notified() => {
                    let message = sqlx::query("select pg_logical_emit_message(true, 'freshline.nudge', '')").execute(&mut *connection);
                    match tokio::time::timeout(POLL_TIMEOUT, message).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => return error,
                        Err(elapsed) => return timed_out(elapsed),
                    }
                }
            }
        }
    }

    async fn poll(&self, connection: &mut PgConnection) -> Result<Poll, sqlx::Error> {
        let taken = Instant::now();
        // The clock first: what becomes visible before it has its commit record below the position sampled next.
        let clock = match self.links.get() {
            Some(link) => link.time().await.ok().map(|time| (link.run(), time)),
            None => None,
        };
        // One statement: a server that is promoted or restarted in between cannot answer half of it.
        let statement = "select freshline.source(), pg_current_wal_insert_lsn()::text, pg_current_snapshot()::text,
                                (extract(epoch from clock_timestamp()) * 1000000)::bigint";
        let asked = SystemTime::now();
        let (source, insert, snapshot, time_us): (String, String, String, i64) =
            sqlx::query_as(statement).fetch_one(connection).await?;
        let half = asked.elapsed().unwrap_or_default() / 2;
        let syntax = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(error);
        Ok(Poll {
            taken,
            source: source.parse().map_err(|error| syntax(Box::new(error)))?,
            insert: insert.parse().map_err(|error| syntax(Box::new(error)))?,
            snapshot: Arc::new(snapshot.parse().map_err(|error| syntax(Box::new(error)))?),
            ahead_us: time_us.saturating_sub(micros(asked + half)),
            clock,
        })
    }
}

fn timed_out(elapsed: tokio::time::error::Elapsed) -> sqlx::Error {
    sqlx::Error::Io(elapsed.into())
}
