//! One message of a log → what it is, as far as that can be told without knowing the table.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    poison::{Partial, Poison, Reason},
    wire::{self, Text},
};
use crate::coherence::{Lsn, NarrowXid, Snapshot, Source, Xid};

/// The longest message that is read, in bytes: as for the direct source, a change with the row before and after.
const MESSAGE_LEN_MAX: usize = 256 << 20;

/// The first id that a transaction can have (`FirstNormalTransactionId`).
const XID_MIN: u32 = 3;

/// One message of a log.
#[derive(Debug)]
pub enum Record<'a> {
    /// A change of a row, a row read for a snapshot, or a table emptied.
    Change(Envelope<'a>),
    /// A logical message.
    Message(Logical<'a>),
    /// A transaction begins; its position is that of its first change.
    Begin(Boundary),
    /// A transaction ends; its position is the end of its commit.
    End(Boundary),
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// What comes before this may never have been written to the log. Only our relay says so.
    Hole(Hole),
    /// The row of this key is gone, for Kafka's compaction; a delete has come before it.
    Tombstone,
}

/// A change, its rows still as they came.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// What happened.
    pub operation: Operation,
    /// Where it came from.
    pub origin: Origin<'a>,
    pub(super) before: Option<&'a RawValue>,
    pub(super) after: Option<&'a RawValue>,
    pub(super) key: Option<&'a [u8]>,
}

/// `op` of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `c`: a row was inserted.
    Create,
    /// `u`: a row was updated.
    Update,
    /// `d`: a row was deleted.
    Delete,
    /// `r`: a row was read for a snapshot. What happened between the snapshots is nowhere in the log.
    Read,
    /// `t`: a table was emptied.
    Truncate,
}

/// Where a change or message came from.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    /// The table's schema.
    pub schema: Cow<'a, str>,
    /// The table.
    pub table: Cow<'a, str>,
    /// The top-level transaction; `None` for a message outside transactions.
    pub xid: Option<NarrowXid>,
    /// Where this change's record begins in Postgres's log: before its commit, and not unique.
    pub lsn: Option<Lsn>,
    /// When it was committed, in µs since 1970, by the server's clock.
    pub committed_us: Option<i64>,
    /// Its number among all events of its transaction, from 1.
    pub ordinal: Option<u64>,
    /// Whether it is known to be the last of its transaction.
    pub is_last: bool,
    /// The end of its commit, where the writer knew it.
    pub end: Option<Lsn>,
    /// The history it belongs to, where our relay wrote it.
    pub history: Option<Source>,
    /// Whether it was read for a snapshot.
    pub is_snapshot: bool,
    /// Whether the writer knows of no commit before this one: it has read none since it began, and went on from nothing. Never of ours,
    /// which says "hole" instead.
    pub begins_anew: bool,
}

/// A logical message (`pg_logical_emit_message`). Without a transaction in its origin it was not transactional: it comes before the
/// commit, and even from a transaction that rolls back.
#[derive(Debug)]
pub struct Logical<'a> {
    /// Where it came from.
    pub origin: Origin<'a>,
    /// The prefix that names its kind.
    pub prefix: Cow<'a, str>,
    /// The content, any bytes.
    pub content: Bytes,
}

/// The beginning or end of a transaction, as transaction metadata tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// The transaction.
    pub xid: NarrowXid,
    /// Its first change, or the end of its commit.
    pub position: Lsn,
    /// When it was committed, in µs since 1970 by Postgres's clock, where the writer told.
    pub committed_us: Option<i64>,
    /// How many events it has; known at the end.
    pub events: Option<u64>,
    /// The history it belongs to, where our relay wrote it.
    pub history: Option<Source>,
}

/// A sign of life. Debezium's says nothing; our relay's, that all up to a position has been written before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// All changes whose commit ends up to here precede it.
    pub position: Option<Lsn>,
    /// The history it belongs to.
    pub history: Option<Source>,
}

/// Something may be missing before this: the relay's slot was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// What the new slot exported: all that will not come is in it.
    pub snapshot: Option<Snapshot>,
    /// Without one, X of protocol.md: all that began below it has to be over.
    pub over: Option<Xid>,
    /// Where the log goes on.
    pub position: Lsn,
    /// The history it belongs to.
    pub history: Option<Source>,
}

/// Decodes one message. A message without a value is a tombstone.
///
/// # Errors
/// [`Poison`], with what could be read all the same.
pub fn decode<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Result<Record<'a>, Poison> {
    let Some(value) = value else { return Ok(Record::Tombstone) };
    read(key, value).map_err(|reason| Poison { reason, partial: salvage(key, value) })
}

fn read<'a>(key: Option<&'a [u8]>, value: &'a [u8]) -> Result<Record<'a>, Reason> {
    if value.len() > MESSAGE_LEN_MAX {
        return Err(Reason::Oversized { len: value.len(), max: MESSAGE_LEN_MAX });
    }
    let text = std::str::from_utf8(value).map_err(|wrong| Reason::NotUtf8 { offset: wrong.valid_up_to() })?;
    let mut message = parse(text)?;
    if let (Some(payload), None) = (message.payload, &message.op) {
        message = parse(payload.get())?;
    }
    match (&message.op, &message.status) {
        (Some(_), _) => change_or_message(key, message),
        (None, Some(_)) => boundary(&message),
        (None, None) => alone(key, &message),
    }
}

fn parse(text: &str) -> Result<wire::Message<'_>, Reason> {
    serde_json::from_str(text).map_err(|error| Reason::Undecodable { problem: error.to_string() })
}

fn change_or_message<'a>(key: Option<&'a [u8]>, message: wire::Message<'a>) -> Result<Record<'a>, Reason> {
    let wire::Message { op: Some(op), source: Some(source), before, after, message: logical, transaction, .. } = message else {
        return Err(Reason::Shape { lacks: "source" });
    };
    let origin = origin(source, transaction)?;
    if &*op.0 == "m" {
        let logical = logical.ok_or(Reason::Shape { lacks: "message" })?;
        let wrong = |_| Reason::Field { field: "message.content", found: shortened(&logical.content.0) };
        let content = BASE64_STANDARD.decode(&*logical.content.0).map_err(wrong)?.into();
        return Ok(Record::Message(Logical { origin, prefix: logical.prefix.0, content }));
    }
    let operation = match &*op.0 {
        "c" => Operation::Create,
        "u" => Operation::Update,
        "d" => Operation::Delete,
        "r" => Operation::Read,
        "t" => Operation::Truncate,
        other => return Err(Reason::Field { field: "op", found: shortened(other) }),
    };
    if origin.xid.is_none() {
        return Err(Reason::Shape { lacks: "source.txId" });
    }
    if origin.table.is_empty() {
        return Err(Reason::Shape { lacks: "source.table" });
    }
    if matches!(operation, Operation::Create | Operation::Update | Operation::Read) && after.is_none() {
        return Err(Reason::Shape { lacks: "after" });
    }
    Ok(Record::Change(Envelope { operation, origin, before, after, key }))
}

fn origin<'a>(source: wire::Origin<'a>, transaction: Option<wire::Transaction>) -> Result<Origin<'a>, Reason> {
    let text = |text: Option<Text<'a>>| text.map_or(Cow::Borrowed(""), |text| text.0);
    // Debezium's `["<the end of the commit before>", "<lsn>"]`, as a text; what stands first comes from its offsets.
    let knows_none = source.sequence.is_some_and(|sequence| sequence.0.starts_with("[null"));
    let ordinal = source.ordinal.or(transaction.and_then(|transaction| transaction.total_order));
    Ok(Origin {
        schema: text(source.schema),
        table: text(source.table),
        xid: source.xid.or(source.tx_id).map(narrowed).transpose()?,
        lsn: source.lsn.map(position).transpose()?,
        committed_us: source.ts_us,
        ordinal,
        is_last: source.last,
        end: source.end.map(position).transpose()?,
        history: source.history,
        is_snapshot: source.snapshot.is_some_and(|word| !matches!(word.get(), "\"false\"" | "false")),
        begins_anew: knows_none && source.history.is_none(),
    })
}

fn boundary<'a>(message: &wire::Message<'a>) -> Result<Record<'a>, Reason> {
    let status = message.status.as_ref().map_or("", |status| &status.0);
    let id: Text<'_> =
        message.id.and_then(|id| serde_json::from_str(id.get()).ok()).ok_or(Reason::Shape { lacks: "the transaction's id" })?;
    let wrong = || Reason::Field { field: "id", found: shortened(&id.0) };
    let (xid, position) = id.0.split_once(':').ok_or_else(wrong)?;
    let (xid, position) = (xid.parse().map_err(|_| wrong())?, position.parse().map_err(|_| wrong())?);
    let boundary = Boundary {
        xid: narrowed(message.xid.unwrap_or(xid))?,
        position: self::position(position)?,
        committed_us: message.ts_ms.and_then(|ts_ms| ts_ms.checked_mul(1_000)),
        events: message.event_count,
        history: message.history,
    };
    match status {
        "BEGIN" => Ok(Record::Begin(boundary)),
        "END" => Ok(Record::End(boundary)),
        other => Err(Reason::Field { field: "status", found: shortened(other) }),
    }
}

/// A message that belongs to no transaction.
fn alone<'a>(key: Option<&'a [u8]>, message: &wire::Message<'a>) -> Result<Record<'a>, Reason> {
    if let Some(hole) = &message.hole {
        let wrong = |text: &Text<'_>| Reason::Field { field: "hole.snapshot", found: shortened(&text.0) };
        return Ok(Record::Hole(Hole {
            snapshot: hole.snapshot.as_ref().map(|text| text.0.parse().map_err(|_| wrong(text))).transpose()?,
            over: hole.over.and_then(Xid::new),
            position: position(message.position.ok_or(Reason::Shape { lacks: "position" })?)?,
            history: message.history,
        }));
    }
    // Debezium's: the time alone, under the name of the server. Nothing else looks like it.
    let names_server = key.is_none_or(|key| key.windows(HEARTBEAT_KEY.len()).any(|part| part == HEARTBEAT_KEY.as_bytes()));
    let is_bare = message.before.is_none() && message.after.is_none() && message.source.is_none() && message.id.is_none();
    if message.ts_ms.is_none() || !names_server || !is_bare {
        return Err(Reason::Shape { lacks: "op" });
    }
    let position = message.position.map(position).transpose()?;
    Ok(Record::Heartbeat(Heartbeat { position, history: message.history }))
}

/// The field of a heartbeat's key.
pub(super) const HEARTBEAT_KEY: &str = "serverName";

/// The low 32 bits: Debezium gives no more while it streams, and the applier widens them.
fn narrowed(id: u64) -> Result<NarrowXid, Reason> {
    let wrong = || Reason::Field { field: "source.txId", found: id.to_string() };
    let narrow = u32::try_from(id & u64::from(u32::MAX)).map_err(|_| wrong())?;
    if narrow < XID_MIN { Err(wrong()) } else { Ok(NarrowXid(narrow)) }
}

fn position(position: u64) -> Result<Lsn, Reason> {
    Lsn::new(position).ok_or_else(|| Reason::Field { field: "a log position", found: position.to_string() })
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What can be read of a message that does not fit.
fn salvage(key: Option<&[u8]>, value: &[u8]) -> Partial {
    let mut partial = Partial { key: key.map(Into::into), ..Partial::default() };
    let Ok(text) = std::str::from_utf8(value) else { return partial };
    let Ok(mut found) = serde_json::from_str::<wire::Salvage<'_>>(text) else { return partial };
    if let (Some(payload), None) = (found.payload, found.source) {
        found = serde_json::from_str(payload.get()).unwrap_or_default();
    }
    let origin = found.source.and_then(|source| serde_json::from_str::<wire::SalvageOrigin<'_>>(source.get()).ok());
    let Some(origin) = origin else { return partial };
    let number = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<u64>(raw.get()).ok());
    let text = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<Box<str>>(raw.get()).ok());
    partial.xid = number(origin.xid).or(number(origin.tx_id)).filter(|id| narrowed(*id).is_ok());
    partial.table = text(origin.schema).zip(text(origin.table));
    partial
}

impl Envelope<'_> {
    /// What of it is left if it turns out that it cannot be used.
    pub(super) fn partial(&self) -> Partial {
        Partial {
            xid: self.origin.xid.map(|xid| xid.0.into()),
            table: Some(((&*self.origin.schema).into(), (&*self.origin.table).into())),
            key: self.key.map(Into::into),
        }
    }
}
