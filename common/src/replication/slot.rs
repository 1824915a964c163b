//! The session before the stream: which server this is, the slot, and the snapshot that a new slot exports.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use pgwire_replication::{PgWireError, QueryRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    ChangeStream, ReplicationError, StreamSettings,
    client::Client,
    error::{Phase, classify},
};
use crate::coherence::{Lsn, Snapshot};

/// The server at the other end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its system identifier, made when its data directory was.
    pub system_id: Box<str>,
    /// Its timeline, which grows with each promotion.
    pub timeline: u32,
}

/// What there is of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// There is none of this name.
    Missing,
    /// It can be streamed from.
    Ready {
        /// Every commit that ends at or below this has been acknowledged.
        confirmed: Lsn,
        /// The process that streams from it now, if one does.
        holder: Option<i64>,
    },
    /// The log that it needs is gone. It has to be dropped and made anew.
    Lost {
        /// What Postgres says of it.
        reason: String,
    },
}

/// A slot that has just been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSlot {
    /// Where it begins: it streams every commit that ends above this, and none below.
    pub consistent_point: Lsn,
    /// What it will not stream, exactly: each transaction that this snapshot sees.
    pub snapshot: Snapshot,
    /// The exported snapshot's name, which other sessions may import until the stream starts or the session ends.
    pub snapshot_name: String,
}

/// A replication session that has not started to stream.
pub struct Session {
    client: Client,
    settings: Arc<StreamSettings>,
    server: Server,
    backend: i64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("slot", &self.settings.slot).field("server", &self.server).finish_non_exhaustive()
    }
}

/// A stream that goes on from what was acknowledged last.
pub struct Started {
    /// The stream.
    pub stream: ChangeStream,
    /// Every commit that ends above this comes.
    pub start: Lsn,
    /// Set where the slot had to be made: all that will not come is in it.
    pub made: Option<Snapshot>,
}

/// Streams from the slot, which is made if it is not there, and made anew if it has lost changes.
///
/// # Errors
/// Any [`ReplicationError`].
pub async fn start(settings: &StreamSettings) -> Result<Started, ReplicationError> {
    let mut session = Session::open(settings.clone()).await?;
    let slot = &settings.slot;
    match session.slot().await? {
        SlotState::Ready { confirmed, .. } => {
            return Ok(Started { stream: session.start().await?, start: confirmed, made: None });
        }
        SlotState::Missing => info!("making the replication slot {slot}"),
        SlotState::Lost { reason } => {
            warn!("the replication slot {slot} has lost changes ({reason}): making it anew");
            session.drop_slot().await?;
        }
    }
    let made = session.create_slot().await?;
    Ok(Started { stream: session.start().await?, start: made.consistent_point, made: Some(made.snapshot) })
}

impl Session {
    /// Connects, asks which server this is, and refuses one whose log carries no row changes.
    pub async fn open(settings: StreamSettings) -> Result<Self, ReplicationError> {
        let settings = Arc::new(settings);
        let mut client = Client::connect(&settings).await?;
        let identity = within(&settings, Phase::Connecting, client.identify_system()).await?;
        let server = Server { system_id: identity.system_id.into(), timeline: identity.timeline };
        let mut session = Self { client, settings, server, backend: 0 };
        session.backend = session.check_settings().await?;
        Ok(session)
    }

    /// The server that this session is on.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Looks up the slot. One of another plugin, kind or database is an error, and so is one that is being made.
    pub async fn slot(&mut self) -> Result<SlotState, ReplicationError> {
        let slot = self.settings.slot.clone();
        // As JSON, because the columns differ from version to version.
        let sql = format!("select to_jsonb(s), current_database() from pg_replication_slots s where slot_name = '{slot}'");
        let rows = self.ask(Phase::Asking, &sql).await?;
        let Some(row) = rows.first() else { return Ok(SlotState::Missing) };
        let unreadable = |what: &str| ReplicationError::Unexpected { doing: Phase::Asking.doing(), message: what.to_owned() };
        let facts: SlotFacts = serde_json::from_str(text(row, 0).ok_or_else(|| unreadable("no row"))?)
            .map_err(|error| unreadable(&error.to_string()))?;
        facts.state(slot.as_str(), text(row, 1).unwrap_or_default())
    }

    /// Makes the slot and reads the snapshot that it exports.
    ///
    /// Postgres first waits for every transaction that is open now; after the creation deadline the attempt is given up and the
    /// error names them. On an error the session is of no further use, and no slot is left behind except where the reply was lost.
    /// Dropping this
    /// future leaves the server waiting for up to twice the creation deadline.
    pub async fn create_slot(&mut self) -> Result<NewSlot, ReplicationError> {
        self.create("").await
    }

    /// As [`create_slot`](Self::create_slot), for this session alone: Postgres drops the slot when the session ends, however it does.
    pub async fn create_temporary_slot(&mut self) -> Result<NewSlot, ReplicationError> {
        self.create("TEMPORARY ").await
    }

    async fn create(&mut self, kind: &str) -> Result<NewSlot, ReplicationError> {
        let deadline = self.settings.creation_deadline;
        // Ends the wait on the server even if this process is gone by then.
        self.ask(Phase::Creating, &format!("set lock_timeout = {}", (deadline * 2).as_millis())).await?;
        let sql = format!("CREATE_REPLICATION_SLOT {} {kind}LOGICAL pgoutput EXPORT_SNAPSHOT", self.settings.slot);
        let created = match timeout(deadline, self.client.simple_query(&sql)).await {
            Ok(answer) => answer.map_err(|error| classify(error, Phase::Creating, &self.settings))?,
            Err(_) => return Err(self.give_up_creation(deadline).await),
        };
        let (consistent_point, snapshot_name) = created
            .first()
            .and_then(creation_answer)
            .ok_or_else(|| ReplicationError::Unexpected { doing: Phase::Creating.doing(), message: format!("{created:?}") })?;
        let snapshot = exported_snapshot(&self.settings, &snapshot_name).await?;
        Ok(NewSlot { consistent_point, snapshot, snapshot_name })
    }

    /// Drops the slot, which nobody may be streaming from. One that is gone already is as well.
    pub async fn drop_slot(&mut self) -> Result<(), ReplicationError> {
        let sql = format!("DROP_REPLICATION_SLOT {}", self.settings.slot);
        match self.ask(Phase::Asking, &sql).await {
            Ok(_) | Err(ReplicationError::SlotMissing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Starts the stream at the slot's place: with the first commit that has not been acknowledged. The exported snapshot ends.
    pub async fn start(mut self) -> Result<ChangeStream, ReplicationError> {
        within(&self.settings, Phase::Starting, self.client.start()).await?;
        Ok(ChangeStream::new(self.client, self.settings))
    }

    // The log's level, and this session's process on the server.
    async fn check_settings(&mut self) -> Result<i64, ReplicationError> {
        let rows = self.ask(Phase::Connecting, "select pg_backend_pid(), current_setting('wal_level')").await?;
        let row = rows.first();
        let level = row.and_then(|row| text(row, 1)).unwrap_or_default();
        if level != "logical" {
            return Err(ReplicationError::WalLevel { found: level.to_owned() });
        }
        row.and_then(|row| text(row, 0)?.parse().ok())
            .ok_or_else(|| ReplicationError::Unexpected { doing: Phase::Connecting.doing(), message: format!("{rows:?}") })
    }

    async fn ask(&mut self, phase: Phase, sql: &str) -> Result<Vec<QueryRow>, ReplicationError> {
        within(&self.settings, phase, self.client.simple_query(sql)).await
    }

    // Says what holds the creation up, and ends it: a walsender that waits for a transaction does not notice that we are gone.
    async fn give_up_creation(&mut self, waited: Duration) -> ReplicationError {
        let slot = self.settings.slot.to_string();
        let asked = beside(&self.settings, Phase::Creating, end_waiting(&self.settings, self.backend));
        match asked.await {
            Ok(blockers) => {
                // Nobody where the last one has just ended, or where the server is slow.
                let waits_for = if blockers.is_empty() { "no transaction any more".to_owned() } else { blockers.join("; ") };
                ReplicationError::SlotCreationWaits { slot, waited, waits_for }
            }
            Err(error) => error,
        }
    }
}

/// Who holds the transaction that a process waits for. A prepared transaction has no process, and `pg_blocking_pids` answers 0.
const BLOCKERS: &str = "
    select case when b.pid = 0 then
             'a prepared transaction: ' || coalesce((select string_agg(format('%s (since %s)', gid, prepared), ', ') from pg_prepared_xacts), '?')
           else
             format('process %s (%s, %s, %s since %s%s)', b.pid, coalesce(a.usename, '?'), coalesce(a.application_name, '?'),
                    coalesce(a.state, '?'), coalesce(a.xact_start::timestamptz(0)::text, '?'),
                    coalesce(', waits for ' || a.wait_event, ''))
           end
    from unnest(pg_blocking_pids($1::int)) b(pid) left join pg_stat_activity a using (pid)";

/// A row of `pg_replication_slots`.
#[derive(Debug, serde::Deserialize)]
struct SlotFacts {
    plugin: Option<String>,
    slot_type: String,
    database: Option<String>,
    active_pid: Option<i64>,
    confirmed_flush_lsn: Option<String>,
    wal_status: Option<String>,
    /// From Postgres 16 on.
    #[serde(default)]
    conflicting: Option<bool>,
    /// From Postgres 17 on.
    #[serde(default)]
    invalidation_reason: Option<String>,
}

impl SlotFacts {
    fn state(self, slot: &str, here: &str) -> Result<SlotState, ReplicationError> {
        if let Some(problem) = self.problem(here) {
            return Err(ReplicationError::SlotUnfit { slot: slot.to_owned(), problem });
        }
        if let Some(reason) = self.lost() {
            return Ok(SlotState::Lost { reason });
        }
        let confirmed = self.confirmed_flush_lsn.as_deref().and_then(|position| position.parse().ok());
        let message = || format!("it is being made by process {}", self.active_pid.unwrap_or_default());
        let confirmed = confirmed.ok_or_else(|| ReplicationError::SlotBusy { slot: slot.to_owned(), message: message() })?;
        Ok(SlotState::Ready { confirmed, holder: self.active_pid })
    }

    fn problem(&self, here: &str) -> Option<String> {
        let plugin = self.plugin.as_deref().unwrap_or_default();
        let database = self.database.as_deref().unwrap_or_default();
        if self.slot_type != "logical" {
            Some(format!("it is a {} slot, not a logical one", self.slot_type))
        } else if plugin != "pgoutput" {
            Some(format!("its plugin is {plugin}, not pgoutput"))
        } else {
            (database != here).then(|| format!("it belongs to database {database}, not {here}"))
        }
    }

    fn lost(&self) -> Option<String> {
        if let Some(reason) = &self.invalidation_reason {
            Some(format!("invalidation_reason is {reason}"))
        } else if self.wal_status.as_deref() == Some("lost") {
            // Before `conflicting`, which Postgres 16 shows of every slot that is lost.
            Some("wal_status is lost".to_owned())
        } else {
            (self.conflicting == Some(true)).then(|| "it conflicts with recovery".to_owned())
        }
    }
}

// Name, consistent point, snapshot, plugin.
fn creation_answer(row: &QueryRow) -> Option<(Lsn, String)> {
    let name = text(row, 2)?;
    // It goes into a statement.
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    plain.then_some((text(row, 1)?.parse().ok()?, name.to_owned()))
}

async fn exported_snapshot(settings: &StreamSettings, name: &str) -> Result<Snapshot, ReplicationError> {
    let shown = beside(settings, Phase::Creating, import(settings, name)).await?;
    Snapshot::exported(&shown)
        .map_err(|error| ReplicationError::Unexpected { doing: Phase::Creating.doing(), message: error.to_string() })
}

async fn import(settings: &StreamSettings, name: &str) -> Result<String, sqlx::Error> {
    let mut connection = settings.server.connect().await?;
    let mut transaction = connection.begin_with("begin isolation level repeatable read read only").await?;
    sqlx::query(AssertSqlSafe(format!("set transaction snapshot '{name}'"))).execute(&mut *transaction).await?;
    let shown = sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(&mut *transaction).await?;
    transaction.rollback().await?;
    connection.close().await?;
    Ok(shown)
}

async fn end_waiting(settings: &StreamSettings, backend: i64) -> Result<Vec<String>, sqlx::Error> {
    let mut connection = settings.server.connect().await?;
    let blockers = sqlx::query_scalar(BLOCKERS).bind(backend).fetch_all(&mut connection).await?;
    sqlx::query("select pg_terminate_backend($1::int)").bind(backend).execute(&mut connection).await?;
    connection.close().await?;
    Ok(blockers)
}

/// Asks on a connection beside the session, under the deadline for answers.
async fn beside<T>(
    settings: &StreamSettings,
    phase: Phase,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, ReplicationError> {
    let (doing, deadline) = (phase.doing(), settings.answer_deadline);
    match timeout(deadline, asked).await {
        Ok(answer) => answer.map_err(|source| ReplicationError::Sql { doing, source: Arc::new(source) }),
        Err(_) => Err(ReplicationError::Late { doing, deadline }),
    }
}

/// Waits for the client crate under the deadline for answers, and classifies its error.
async fn within<T>(
    settings: &StreamSettings,
    phase: Phase,
    answer: impl Future<Output = Result<T, PgWireError>>,
) -> Result<T, ReplicationError> {
    match timeout(settings.answer_deadline, answer).await {
        Ok(answer) => answer.map_err(|error| classify(error, phase, settings)),
        Err(_) => Err(ReplicationError::Late { doing: phase.doing(), deadline: settings.answer_deadline }),
    }
}

fn text(row: &QueryRow, column: usize) -> Option<&str> {
    std::str::from_utf8(row.get(column)?.as_ref()?).ok()
}
