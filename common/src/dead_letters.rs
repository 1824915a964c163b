//! Dead letters: messages that a source could not use, kept with their bytes and the reason in one table of the primary.
//!
//! One place for every source: transactional, readable with psql, and every source has an SQL connection to the primary anyway.

use std::{fmt, time::Duration};

use serde::Serialize;
use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions, postgres::PgPoolOptions};
use tracing::{debug, warn};

use crate::{
    fault::{Classified, Kind},
    primary::is_for_good,
    telemetry::names,
};

/// The bytes of a message that are kept: what migrations/0007_dead_letters.sql checks.
pub const RAW_LEN_MAX: usize = 1 << 20;

/// How many are tried again at a time: as many megabytes at most.
const ASKED_MAX: i64 = 16;

/// How long one statement may take, a connection included.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is known of a message that cannot be used.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// Which source it came from: `postgres`, `nats` or `kafka`, and which shard of it where there are more.
    pub source: &'a str,
    /// Where it lies there, such as `stream FRESHLINE seq 42` or `topic p0@17`.
    pub place: &'a str,
    /// The subject or topic that it was sent to.
    pub subject: Option<&'a str>,
    /// The table that it is about, as `schema.table`.
    pub table: Option<&'a str>,
    /// Why it cannot be used.
    pub reason: &'a str,
    /// Its bytes; what is beyond [`RAW_LEN_MAX`] is cut off.
    pub raw: &'a [u8],
}

/// Where a source writes its dead letters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    pool: PgPool,
}

/// What is to become of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody has looked after it.
    New,
    /// It is to be tried again.
    Retry,
    /// It was tried again, and worked.
    Done,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::New, Self::Retry, Self::Done];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Retry => "retry",
            Self::Done => "done",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A dead letter as it is kept, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Kept {
    /// Its number.
    pub id: i64,
    /// When it came last, as Postgres prints it in UTC.
    pub at: String,
    /// Which source it came from.
    pub source: String,
    /// Where it lies there.
    pub place: String,
    /// The subject or topic that it was sent to.
    pub subject: Option<String>,
    /// The table that it is about.
    #[sqlx(rename = "table_name")]
    pub table: Option<String>,
    /// Why it could not be used.
    pub reason: String,
    /// How many of its bytes are kept.
    pub raw_len: i32,
    /// Whether it had more.
    pub truncated: bool,
    /// How often it was met.
    pub attempts: i32,
    /// `new`, `retry` or `done`.
    pub state: String,
}

/// A dead letter that somebody wants tried again.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Asked {
    /// Its number.
    pub id: i64,
    /// Whether it had more bytes than are kept.
    pub truncated: bool,
    /// The bytes that are kept.
    pub raw: Vec<u8>,
}

/// Why the table could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// It refused, or there was no connection.
    #[error("the dead letters cannot be reached")]
    Sql(#[from] sqlx::Error),
    /// It did not answer.
    #[error("the dead letters did not answer within {} s", DEADLINE.as_secs())]
    Late,
}

impl Classified for DeadLetterError {
    fn kind(&self) -> Kind {
        match self {
            Self::Sql(error) if is_for_good(error) => Kind::Permanent,
            Self::Sql(_) | Self::Late => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Sql(error) => match sqlstate(error).as_deref() {
                Some("42P01" | "3F000") => Some("apply the migrations: 0007_dead_letters.sql makes the table".into()),
                Some("42501") => Some("grant select, insert, update on freshline.dead_letters to this role".into()),
                Some(_) | None => None,
            },
            Self::Late => None,
        }
    }
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

impl DeadLetters {
    /// In the database of these options. Connects when the first is written.
    pub fn new(database: PgConnectOptions) -> Self {
        let database = database.application_name("freshline dead letters");
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(DEADLINE).connect_lazy_with(database);
        Self { pool }
    }

    /// Keeps a message that cannot be used, counts it, and logs it where it is met for the first time. The same message again, as in a
    /// replay, is kept once.
    ///
    /// # Errors
    /// [`DeadLetterError`]: it is not kept, and may not be acknowledged.
    pub async fn write(&self, letter: &Letter<'_>) -> Result<(), DeadLetterError> {
        metrics::counter!(names::DEAD_LETTERS, "source" => letter.source.to_owned()).increment(1);
        let raw = &letter.raw[..letter.raw.len().min(RAW_LEN_MAX)];
        let statement = sqlx::query_scalar(
            "insert into freshline.dead_letters as kept (source, place, subject, table_name, reason, raw, truncated)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (source, place, md5(raw))
                 do update set at = now(), attempts = kept.attempts + 1, state = 'new', reason = excluded.reason
             returning attempts",
        )
        .bind(letter.source)
        .bind(storable(letter.place))
        .bind(letter.subject.map(storable))
        .bind(letter.table.map(storable))
        .bind(storable(letter.reason))
        .bind(raw)
        .bind(raw.len() < letter.raw.len());
        let attempts: i32 = within(statement.fetch_one(&self.pool)).await?;
        let Letter { source, place, reason, .. } = letter;
        if attempts == 1 {
            warn!(source, place, reason, "a message from {source} at {place} cannot be used, and is a dead letter: {reason}");
        } else {
            debug!(source, place, attempts, "a dead letter was met again");
        }
        Ok(())
    }
}

impl DeadLetters {
    /// Some of this source's that somebody wants tried again, the first first.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    pub async fn asked(&self, source: &str) -> Result<Vec<Asked>, DeadLetterError> {
        let sql =
            "select id, truncated, raw from freshline.dead_letters where state = 'retry' and source = $1 order by id limit $2";
        within(sqlx::query_as(sql).bind(source).bind(ASKED_MAX).fetch_all(&self.pool)).await
    }

    /// Says what became of one: it worked, or why not, which leaves it as new as it was.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    pub async fn tried(&self, id: i64, outcome: Result<(), String>) -> Result<(), DeadLetterError> {
        let (state, reason) = match outcome {
            Ok(()) => (State::Done, None),
            Err(reason) => (State::New, Some(storable(&reason))),
        };
        let statement = sqlx::query(
            "update freshline.dead_letters set state = $2, reason = coalesce($3, reason), attempts = attempts + 1 where id = $1",
        );
        within(statement.bind(id).bind(state.as_str()).bind(reason).execute(&self.pool)).await.map(drop)
    }
}

/// Postgres keeps no NUL in a text.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

async fn within<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, DeadLetterError> {
    Ok(tokio::time::timeout(DEADLINE, statement).await.map_err(|_| DeadLetterError::Late)??)
}

/// The columns of [`Kept`].
macro_rules! kept {
    ($rest:literal) => {
        concat!(
            "select id, to_char(at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') as at, source, place, subject, table_name,
                    reason, octet_length(raw) as raw_len, truncated, attempts, state from freshline.dead_letters ",
            $rest
        )
    };
}

/// The dead letters in one state, or in any but done, the last first.
///
/// # Errors
/// [`DeadLetterError`].
pub async fn list(connection: &mut PgConnection, state: Option<State>, limit: u32) -> Result<Vec<Kept>, DeadLetterError> {
    let sql = kept!("where case when $1 is null then state <> 'done' else state = $1 end order by id desc limit $2");
    within(sqlx::query_as(sql).bind(state.map(State::as_str)).bind(i64::from(limit)).fetch_all(connection)).await
}

/// One dead letter and its bytes; `None` where there is none of this number.
///
/// # Errors
/// [`DeadLetterError`].
pub async fn show(connection: &mut PgConnection, id: i64) -> Result<Option<(Kept, Vec<u8>)>, DeadLetterError> {
    let kept: Option<Kept> = within(sqlx::query_as(kept!("where id = $1")).bind(id).fetch_optional(&mut *connection)).await?;
    let Some(kept) = kept else { return Ok(None) };
    let raw = sqlx::query_scalar("select raw from freshline.dead_letters where id = $1").bind(id).fetch_optional(connection);
    Ok(within(raw).await?.map(|raw| (kept, raw)))
}

/// How many are in each state but done: new, and waiting for another attempt.
///
/// # Errors
/// [`DeadLetterError`].
pub async fn waiting(connection: &mut PgConnection) -> Result<(i64, i64), DeadLetterError> {
    let sql = "select count(*) filter (where state = 'new'), count(*) filter (where state = 'retry')
               from freshline.dead_letters where state <> 'done'";
    within(sqlx::query_as(sql).fetch_one(connection)).await
}

/// Asks for another attempt at these, or at all that are new. Answers with the numbers of those that were there.
///
/// # Errors
/// [`DeadLetterError`].
pub async fn retry(connection: &mut PgConnection, ids: Option<&[i64]>) -> Result<Vec<i64>, DeadLetterError> {
    let sql = "update freshline.dead_letters set state = 'retry'
               where case when $1::bigint[] is null then state = 'new' else id = any($1) end returning id";
    within(sqlx::query_scalar(sql).bind(ids).fetch_all(connection)).await
}

/// Forgets these, or all. Answers with the numbers of those that were there.
///
/// # Errors
/// [`DeadLetterError`].
pub async fn forget(connection: &mut PgConnection, ids: Option<&[i64]>) -> Result<Vec<i64>, DeadLetterError> {
    let sql = "delete from freshline.dead_letters where $1::bigint[] is null or id = any($1) returning id";
    within(sqlx::query_scalar(sql).bind(ids).fetch_all(connection)).await
}
