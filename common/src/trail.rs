//! The trail: a capped stream in Redis of what the invalidator did, for those who want to see it.
//!
//! It lies beside the protocol's keys, and nothing depends on it. It is written after the fact, may leave things out when there is much
//! to do, and says how many. Its ids are times of Redis's clock; the other times say whose they are.

use std::{fmt, sync::Arc, time::Duration};

use redis::streams::{StreamId, StreamReadReply};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    coherence::{Link, LinkError, Lsn, Stripes, Xid},
    rules::{Rules, TableName},
};

/// Records that one read answers with at most.
pub const READ_LEN_MAX: usize = 1_000;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The value of a key, if there was an older one, was removed.
    Removed,
    /// The value of a key, if there was an older one, was replaced by the row after the change.
    Replaced,
    /// A tag was given a new version: every page under it is given up.
    Tag,
    /// A polled snapshot sees a transaction that was fenced for this key or tag: the fence is dropped.
    Visible,
    /// Every value was given up at once.
    Bump,
    /// A stripe was opened under a new generation.
    Open,
    /// A stripe was closed.
    Closed,
    /// Changes may have been lost.
    Hole,
}

impl Effect {
    const ALL: [Self; 8] =
        [Self::Removed, Self::Replaced, Self::Tag, Self::Visible, Self::Bump, Self::Open, Self::Closed, Self::Hole];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::Tag => "tag",
            Self::Visible => "visible",
            Self::Bump => "bump",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Hole => "hole",
        }
    }

    /// Whether it is about every value, whatever its key.
    pub const fn is_of_all(self) -> bool {
        matches!(self, Self::Bump | Self::Open | Self::Closed | Self::Hole)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was done. As programs read it, what is not known is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Record {
    /// What.
    pub effect: Effect,
    /// To what: a key, a tag, or a stripe for what is done to one; empty for what is done to all.
    pub name: String,
    /// The transaction that called for it, if one did.
    #[serde(serialize_with = "number")]
    #[schema(value_type = Option<u64>)]
    pub xid: Option<Xid>,
    /// The end of its commit.
    #[serde(serialize_with = "text")]
    #[schema(value_type = Option<String>)]
    pub end: Option<Lsn>,
    /// How many things were done, and left out, before this.
    pub skipped: u64,
    /// The invalidator that did it, by its id in the registry.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "shared")]
    pub by: Option<Arc<str>>,
    /// When, as far as it is known.
    #[serde(flatten)]
    pub times: Moments,
}

/// When something came about, in µs since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Moments {
    /// When its transaction was committed, by Postgres's clock.
    pub committed_us: Option<i64>,
    /// When the invalidator took it from the change stream, by its own clock.
    pub received_us: Option<i64>,
    /// When Redis had confirmed it, by the same clock.
    pub applied_us: Option<i64>,
}

/// A record, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Told {
    /// Its place in the stream, to go on from.
    pub id: String,
    /// When, by Redis's clock, in ms since 1970.
    pub at_ms: u64,
    /// What was done.
    #[serde(flatten)]
    pub record: Record,
}

fn number<S: Serializer>(xid: &Option<Xid>, serializer: S) -> Result<S::Ok, S::Error> {
    xid.map(Xid::get).serialize(serializer)
}

fn text<S: Serializer>(end: &Option<Lsn>, serializer: S) -> Result<S::Ok, S::Error> {
    end.map(|end| end.to_string()).serialize(serializer)
}

fn shared<S: Serializer>(by: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    by.as_deref().serialize(serializer)
}

/// Which records somebody wants to see. Those about everything are always among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All.
    All,
    /// Those of one key or tag.
    Name(String),
    /// Those that changes of one table call for.
    Table(TableName),
}

impl Filter {
    /// Whether a record is one of them.
    pub fn takes(&self, rules: &Rules, record: &Record) -> bool {
        match self {
            _ if record.effect.is_of_all() => true,
            Self::All => true,
            Self::Name(name) => record.name == *name,
            Self::Table(table) => rules.touches(table, &record.name).unwrap_or(false),
        }
    }
}

/// The name of the stream: of the cache, and of no stripe.
fn key(stripes: &Stripes) -> String {
    format!("{{{}}}trail", stripes.namespace())
}

/// The command that adds a record and keeps the stream to about `len_max`. Each record has the same fields, which Redis then keeps once.
pub fn add(stripes: &Stripes, len_max: u32, record: &Record) -> redis::Cmd {
    let Record { effect, name, xid, end, skipped, by, times: Moments { committed_us, received_us, applied_us } } = record;
    let mut command = redis::cmd("XADD");
    command.arg(key(stripes)).arg("MAXLEN").arg("~").arg(len_max).arg("*");
    command.arg("effect").arg(effect.as_str()).arg("name").arg(name).arg("skipped").arg(skipped);
    command.arg("by").arg(by.as_deref().unwrap_or_default());
    let time = |time: &Option<i64>| time.map(|time| time.to_string());
    let known = [
        ("xid", xid.map(|xid| xid.to_string())),
        ("end", end.map(|end| end.to_string())),
        ("committed_us", time(committed_us)),
        ("received_us", time(received_us)),
        ("applied_us", time(applied_us)),
    ];
    for (field, value) in known {
        command.arg(field).arg(value.unwrap_or_default());
    }
    command
}

/// What was told after the record `after` (`$`: from now on; `0`: all there is), waiting up to `block` for the first. Empty where
/// nothing came. A record that another version wrote otherwise is left out.
///
/// # Errors
/// Any [`LinkError`]. The link's deadline has to be above `block`.
pub async fn follow(link: &Link, stripes: &Stripes, after: &str, block: Duration) -> Result<Vec<Told>, LinkError> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(READ_LEN_MAX).arg("BLOCK").arg(block.as_millis().max(1) as u64);
    command.arg("STREAMS").arg(key(stripes)).arg(after);
    Ok(read(link, &command).await?.filter_map(told).collect())
}

/// Some of what was told after the record `after`, the oldest first.
#[derive(Debug)]
pub struct Page {
    /// Up to [`READ_LEN_MAX`] records.
    pub told: Vec<Told>,
    /// The last place that was read, to go on from.
    pub last: String,
    /// Whether this is all that there was.
    pub is_last: bool,
}

/// A page of what was told after the record `after`.
///
/// # Errors
/// Any [`LinkError`].
pub async fn page(link: &Link, stripes: &Stripes, after: &str) -> Result<Page, LinkError> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(READ_LEN_MAX).arg("STREAMS").arg(key(stripes)).arg(after);
    let entries: Vec<StreamId> = read(link, &command).await?.collect();
    let last = entries.last().map_or_else(|| after.to_owned(), |entry| entry.id.clone());
    Ok(Page { is_last: entries.len() < READ_LEN_MAX, last, told: entries.into_iter().filter_map(told).collect() })
}

/// The place of the oldest record that there still is; `None` where there is none.
///
/// # Errors
/// Any [`LinkError`].
pub async fn first(link: &Link, stripes: &Stripes) -> Result<Option<String>, LinkError> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(1).arg("STREAMS").arg(key(stripes)).arg("0");
    Ok(read(link, &command).await?.next().map(|entry| entry.id))
}

async fn read(link: &Link, command: &redis::Cmd) -> Result<impl Iterator<Item = StreamId> + use<>, LinkError> {
    let reply: Option<StreamReadReply> = link.call(command).await?;
    Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids))
}

/// The place of the last record, to follow from; `0` where there is none.
///
/// # Errors
/// Any [`LinkError`].
pub async fn last(link: &Link, stripes: &Stripes) -> Result<String, LinkError> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(key(stripes)).arg("+").arg("-").arg("COUNT").arg(1);
    let reply: redis::streams::StreamRangeReply = link.call(&command).await?;
    Ok(reply.ids.into_iter().next().map_or_else(|| "0".to_owned(), |entry| entry.id))
}

fn told(entry: StreamId) -> Option<Told> {
    let text = |field: &str| entry.get::<String>(field);
    // A version before had none of them.
    let time = |field: &str| text(field)?.parse().ok();
    let effect = text("effect")?;
    let record = Record {
        effect: Effect::ALL.into_iter().find(|known| known.as_str() == effect)?,
        name: text("name")?,
        xid: text("xid")?.parse().ok().and_then(Xid::new),
        end: text("end")?.parse().ok(),
        skipped: text("skipped")?.parse().ok()?,
        by: text("by").filter(|by| !by.is_empty()).map(Arc::from),
        times: Moments { committed_us: time("committed_us"), received_us: time("received_us"), applied_us: time("applied_us") },
    };
    let at_ms = entry.id.split('-').next()?.parse().ok()?;
    Some(Told { at_ms, record, id: entry.id })
}
