//! Watches what the slot holds back on the primary: told as metrics, warned of, and by choice ended before it fills the disk.
//!
//! Asks on a connection of its own, because what holds the slot up may be the session with it. Dropping is safe: a session without its
//! slot makes another, and with it the cache anew; until then what is cached ages out within the bound on staleness.

use std::{fmt, time::Duration};

use metrics::{counter, gauge};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{HeldBack, SlotName, held_back};
use crate::telemetry::names;

/// How often it looks. A primary that writes 100 MB a second writes 200 MB meanwhile.
const EVERY: Duration = Duration::from_secs(2);

/// How long one look may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long the session that reads from the slot may take to end, once it has been told to.
const END_WITHIN_MS: i64 = 5_000;

/// How much may be held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// From here on it is warned of, in bytes.
    pub warn_bytes: u64,
    /// From here on the slot is dropped, in bytes; never, where there is none.
    pub drop_bytes: Option<u64>,
}

/// Watches one slot. To be run, as a task, by the process that reads from it.
pub struct SlotGuard {
    database: PgConnectOptions,
    slot: SlotName,
    limits: SlotLimits,
    is_warned: bool,
}

impl fmt::Debug for SlotGuard {
    // Without the database's address, whose Debug shows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotGuard").field("slot", &self.slot).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl SlotGuard {
    /// Of this slot, asked for in this database.
    pub fn new(database: PgConnectOptions, slot: SlotName, limits: SlotLimits) -> Self {
        Self { database: database.application_name("freshline slot"), slot, limits, is_warned: false }
    }

    /// Watches until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&mut self) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = None;
        loop {
            every.tick().await;
            let looked = timeout(ANSWER_WITHIN, self.look(&mut connection)).await;
            match looked.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into()))) {
                Ok(()) => {}
                Err(error) => {
                    debug!(error = &error as &dyn std::error::Error, "what the slot holds back cannot be asked for; next time");
                    connection = None;
                }
            }
        }
    }

    async fn look(&mut self, connection: &mut Option<PgConnection>) -> Result<(), sqlx::Error> {
        let connected = match connection.take() {
            Some(connected) => connected,
            None => PgConnection::connect_with(&self.database).await?,
        };
        let connected = connection.insert(connected);
        let slots = held_back(connected).await?;
        let Some(slot) = slots.into_iter().find(|slot| slot.slot == self.slot.as_str()) else { return Ok(()) };
        gauge!(names::SLOT_RETAINED).set(slot.retained_bytes as f64);
        gauge!(names::SLOT_UNACKNOWLEDGED).set(slot.unacknowledged_bytes.unwrap_or(0) as f64);
        self.warn(&slot);
        let retained = retained(&slot);
        match self.limits.drop_bytes {
            Some(limit) if retained >= limit => self.drop_slot(connected, &slot, limit).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Tells when it begins to hold back too much, and when that is over.
    fn warn(&mut self, slot: &HeldBack) {
        let (name, retained, limit) = (&self.slot, retained(slot), self.limits.warn_bytes);
        match (retained >= limit, self.is_warned) {
            (true, false) => warn!(
                slot.retained_bytes = retained,
                slot.unacknowledged_bytes = slot.unacknowledged_bytes,
                remedy =
                    "see what holds it up: Redis, a standby that is down, a long transaction; FRESHLINE_SLOT_DROP_BYTES bounds it",
                "slot {name} holds back {retained} bytes of the primary's log, and {limit} are the limit for this warning"
            ),
            (false, true) => {
                info!("slot {name} holds back {retained} bytes of the primary's log, below the limit of {limit} again")
            }
            (true, true) | (false, false) => {}
        }
        self.is_warned = retained >= limit;
    }

    /// Ends the session that reads from the slot, if one does, and drops it. Where the session was quicker and reads again, the next
    /// look tries once more.
    async fn drop_slot(&self, connection: &mut PgConnection, slot: &HeldBack, limit: u64) -> Result<(), sqlx::Error> {
        let (name, retained) = (&self.slot, retained(slot));
        if let Some(pid) = slot.active_pid {
            let end = "select pg_terminate_backend($1, $2)";
            sqlx::query(end).bind(pid).bind(END_WITHIN_MS).execute(&mut *connection).await?;
        }
        sqlx::query("select pg_drop_replication_slot($1)").bind(self.slot.as_str()).execute(connection).await?;
        counter!(names::SLOTS_DROPPED).increment(1);
        error!(
            slot.retained_bytes = retained,
            "slot {name} held back {retained} bytes of the primary's log, above FRESHLINE_SLOT_DROP_BYTES={limit}: it was dropped on \
             purpose. What is cached ages out within the bound; the cache is opened anew with a new slot"
        );
        Ok(())
    }
}

fn retained(slot: &HeldBack) -> u64 {
    u64::try_from(slot.retained_bytes).unwrap_or(0)
}
