//! The trail: a capped stream in Redis of what the invalidator did, for those who want to see it.
//!
//! It lies beside the protocol's keys, and nothing depends on it. It is written after the fact, may leave things out when there is much
//! to do, and says how many. Its times are Redis's.

use std::{fmt, time::Duration};

use redis::streams::{StreamId, StreamReadReply};

use crate::coherence::{Link, LinkError, Lsn, Stripes, Xid};

/// Records that one read answers with at most.
const READ_LEN_MAX: usize = 1_000;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The value of a key, if there was an older one, was removed.
    Removed,
    /// The value of a key, if there was an older one, was replaced by the row after the change.
    Replaced,
    /// A tag was given a new version: every page under it is given up.
    Tag,
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
    const ALL: [Self; 7] = [Self::Removed, Self::Replaced, Self::Tag, Self::Bump, Self::Open, Self::Closed, Self::Hole];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::Tag => "tag",
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

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What.
    pub effect: Effect,
    /// To what: a key, a tag, or a stripe for what is done to one; empty for what is done to all.
    pub name: String,
    /// The transaction that called for it, if one did.
    pub xid: Option<Xid>,
    /// The end of its commit.
    pub end: Option<Lsn>,
    /// How many things were done, and left out, before this.
    pub skipped: u64,
}

/// A record, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its place in the stream, to go on from.
    pub id: String,
    /// When, by Redis's clock, in ms since 1970.
    pub at_ms: u64,
    /// What was done.
    pub record: Record,
}

/// The name of the stream: of the cache, and of no stripe.
fn key(stripes: &Stripes) -> String {
    format!("{{{}}}trail", stripes.namespace())
}

/// The command that adds a record and keeps the stream to about `len_max`. Each record has the same fields, which Redis then keeps once.
pub fn add(stripes: &Stripes, len_max: u32, record: &Record) -> redis::Cmd {
    let number = |number: Option<String>| number.unwrap_or_default();
    let mut command = redis::cmd("XADD");
    command.arg(key(stripes)).arg("MAXLEN").arg("~").arg(len_max).arg("*");
    command.arg("effect").arg(record.effect.as_str()).arg("name").arg(&record.name);
    command.arg("xid").arg(number(record.xid.map(|xid| xid.to_string())));
    command.arg("end").arg(number(record.end.map(|end| end.to_string())));
    command.arg("skipped").arg(record.skipped);
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
    let reply: Option<StreamReadReply> = link.call(&command).await?;
    Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids).filter_map(told).collect())
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
    let effect = text("effect")?;
    let record = Record {
        effect: Effect::ALL.into_iter().find(|known| known.as_str() == effect)?,
        name: text("name")?,
        xid: text("xid")?.parse().ok().and_then(Xid::new),
        end: text("end")?.parse().ok(),
        skipped: text("skipped")?.parse().ok()?,
    };
    let at_ms = entry.id.split('-').next()?.parse().ok()?;
    Some(Told { at_ms, record, id: entry.id })
}
