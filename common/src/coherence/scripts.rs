//! The protocol's operations on Redis: a script each, with a typed caller.

use std::{sync::LazyLock, time::Duration};

use redis::{FromRedisValue, Value};

use super::{
    bytes::{pack_snapshot, pack_xids, unpack_snapshot, unpack_xids},
    entry::RedisTime,
    identity::{EntryId, Generation, LeaseToken, Source, TagVersion},
    key::{CacheKey, Stripe, Stripes, Tag},
    link::{Link, LinkError},
    snapshot::Snapshot,
    xid::{Lsn, Xid},
};

/// One of the scripts, in the order of [`SCRIPTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Tag,
    Lease,
    Fill,
    Apply,
    Raise,
    Touch,
    Publish,
    Settle,
    Open,
    Bump,
}

pub(super) const SCRIPTS: [Script; 10] = [
    Script::Tag,
    Script::Lease,
    Script::Fill,
    Script::Apply,
    Script::Raise,
    Script::Touch,
    Script::Publish,
    Script::Settle,
    Script::Open,
    Script::Bump,
];

impl Script {
    /// The text that Redis gets: the script, with what all share put before its first command.
    pub(super) fn text(self) -> &'static str {
        static TEXTS: LazyLock<[String; 10]> = LazyLock::new(|| SCRIPTS.map(|script| with_lib(script.source())));
        &TEXTS[self as usize]
    }

    fn source(self) -> &'static str {
        match self {
            Self::Tag => include_str!("scripts/tag.lua"),
            Self::Lease => include_str!("scripts/lease.lua"),
            Self::Fill => include_str!("scripts/fill.lua"),
            Self::Apply => include_str!("scripts/apply.lua"),
            Self::Raise => include_str!("scripts/raise.lua"),
            Self::Touch => include_str!("scripts/touch.lua"),
            Self::Publish => include_str!("scripts/publish.lua"),
            Self::Settle => include_str!("scripts/settle.lua"),
            Self::Open => include_str!("scripts/open.lua"),
            Self::Bump => include_str!("scripts/bump.lua"),
        }
    }
}

/// A line of flags (`#!lua …`) has to stay the first.
fn with_lib(script: &str) -> String {
    let flags_len = if script.starts_with("#!") { script.find('\n').map_or(0, |end| end + 1) } else { 0 };
    let (flags, rest) = script.split_at(flags_len);
    [flags, include_str!("scripts/lib.lua"), rest].concat()
}

/// The stripe serves nothing and takes nothing; the caller reads Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// What a page read after this must have seen, and the versions it is stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagGrant {
    /// The stripe's generation.
    pub generation: Generation,
    /// The published snapshot, which the page's has to include.
    pub snapshot: Snapshot,
    /// How far the changes applied in this stripe reach: a read on a standby has to have replayed it.
    pub hi: Lsn,
    /// For each tag that was asked for: its version, and transactions that the page's snapshot has to see.
    pub tags: Vec<(TagVersion, Vec<Xid>)>,
}

impl TagGrant {
    /// Whether a page read under this snapshot holds every change applied to the tags.
    pub fn allows(&self, snapshot: &Snapshot) -> bool {
        snapshot.includes(&self.snapshot) && self.tags.iter().all(|(_, xids)| xids.iter().all(|xid| snapshot.sees(*xid)))
    }
}

/// A lease wanted on one key.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The key.
    pub key: &'a CacheKey,
    /// The entry that was found there and could not be served.
    pub seen: Option<EntryId>,
    /// The lease's token, used once.
    pub token: LeaseToken,
}

/// What became of a request for leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseGrant {
    /// The generation that fills are made for.
    pub generation: Generation,
    /// Redis's time: nothing visible before it is missing from a read that begins now.
    pub now: RedisTime,
    /// What a read on a standby has to have replayed.
    pub hi: Lsn,
    /// For each key that was asked for.
    pub outcomes: Vec<Lease>,
}

/// What became of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// The caller may fill.
    Granted,
    /// A usable entry is there by now: read again, once.
    Hit,
    /// Somebody else fills.
    Busy,
}

/// An entry to be put under a key.
#[derive(Debug, Clone, Copy)]
pub struct Filling<'a> {
    /// The key.
    pub key: &'a CacheKey,
    /// The lease's token.
    pub token: LeaseToken,
    /// How long the entry stays.
    pub ttl: Duration,
    /// The entry's bytes, made for the lease's generation.
    pub entry: &'a [u8],
}

/// What became of a fill. A refusal is an outcome: the caller serves what it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Fill {
    /// It is there.
    Filled,
    /// The lease had run out, or was removed by a change.
    Lost,
    /// The stripe is closed, another generation or another history.
    Closed,
    /// The read may lack a change that has been applied.
    Old,
}

/// One dependency of a change, and what is to be done with it.
#[derive(Debug, Clone, Copy)]
pub enum Touched<'a> {
    /// Remove the value, or replace an older one by this entry.
    Key(&'a CacheKey, Option<&'a [u8]>),
    /// Give the tag a new version.
    Tag(&'a Tag, TagVersion),
    /// Fence everything: the transaction has too many dependencies to list.
    Everything,
}

/// Who applied a change, and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    /// The applier's generation; `None` before it has one: then it only removes.
    pub generation: Option<Generation>,
    /// The transaction.
    pub xid: Xid,
    /// The end of its commit, or a position known to be later.
    pub end: Lsn,
}

/// What an applier says about its progress.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// A snapshot of the primary.
    pub snapshot: &'a Snapshot,
    /// Every change that ends at or before this is applied.
    pub position: Lsn,
    /// Nothing visible before this is missing; `None` while that cannot be said.
    pub at: Option<RedisTime>,
}

/// What a stripe is opened with.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The generation that stands there now.
    pub expected: Option<Generation>,
    /// The new one.
    pub generation: Generation,
    /// The Postgres history.
    pub source: Source,
    /// A snapshot of the primary.
    pub snapshot: &'a Snapshot,
    /// At least every end that was noted.
    pub hi: Lsn,
    /// Every change that ends at or before this is applied.
    pub position: Lsn,
    /// The fences: a field and the transactions noted for it that the snapshot does not see.
    pub fences: Vec<(String, Vec<Xid>)>,
}

/// What became of an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Open {
    /// The stripe serves.
    Opened,
    /// Another generation stands there.
    Raced,
    /// The cache belongs to a later timeline of the same system: this applier's primary was deposed.
    Deposed,
}

/// The field of `fences` for a transaction that touches more than can be listed.
pub const WILDCARD_FIELD: &str = "*";

/// Runs the protocol's operations on a link. Every key of one call lies in one stripe.
#[derive(Clone, Copy)]
pub struct Scripts<'a> {
    link: &'a Link,
    stripes: &'a Stripes,
}

impl<'a> Scripts<'a> {
    /// The operations on this link, with names laid out like this.
    pub fn new(link: &'a Link, stripes: &'a Stripes) -> Self {
        Self { link, stripes }
    }

    /// The versions of some tags, each made if it is not there. To be asked before the lease, and so before the page is read.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn tag(&self, stripe: Stripe, tags: &[&Tag], ttl: Duration) -> Result<Result<TagGrant, Closed>, LinkError> {
        let mut keys = self.ctl_and_fences(stripe);
        keys.extend(tags.iter().map(|tag| self.stripes.tag(tag)));
        let ttl_ms = millis(ttl);
        let named: Vec<_> = tags.iter().map(|tag| (format!("t:{tag}"), TagVersion::random())).collect();
        let mut args: Vec<&[u8]> = vec![self.run(), ttl_ms.as_bytes()];
        args.extend(named.iter().flat_map(|(field, version)| [field.as_bytes(), version.as_bytes().as_slice()]));
        let reply = self.link.run_script(Script::Tag, &keys, &args).await?;
        unless_closed(reply, |reply| {
            let mut parts = reply.into_iter();
            let generation = Generation::from_bytes(fixed(parts.next()?)?);
            let snapshot = unpack_snapshot(&bytes(parts.next()?)?)?;
            let hi = Lsn::new(number(parts.next()?)?)?;
            let mut tags = Vec::with_capacity(named.len());
            while let Some(version) = parts.next() {
                tags.push((TagVersion::from_bytes(fixed(version)?), unpack_xids(&bytes(parts.next()?)?)?));
            }
            (tags.len() == named.len()).then_some(TagGrant { generation, snapshot, hi, tags })
        })
    }

    /// The right to fill some keys of one stripe.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn lease(
        &self,
        stripe: Stripe,
        wanted: &[Wanted<'_>],
        ttl: Duration,
    ) -> Result<Result<LeaseGrant, Closed>, LinkError> {
        let mut keys = self.ctl_and_fences(stripe);
        keys.extend(wanted.iter().flat_map(|w| [self.stripes.lease(w.key), self.stripes.value(w.key)]));
        let ttl_ms = millis(ttl);
        let fields: Vec<_> = wanted.iter().map(|w| format!("k:{}", w.key)).collect();
        let mut args: Vec<&[u8]> = vec![self.run(), ttl_ms.as_bytes()];
        for (w, field) in wanted.iter().zip(&fields) {
            let seen = w.seen.as_ref().map_or([].as_slice(), |id| id.as_bytes());
            args.extend([field.as_bytes(), w.token.as_bytes(), seen]);
        }
        let reply = self.link.run_script(Script::Lease, &keys, &args).await?;
        unless_closed(reply, |reply| {
            let [generation, now, hi, outcomes] = <[Value; 4]>::try_from(reply).ok()?;
            let outcome = |letter: u8| match letter {
                b'L' => Some(Lease::Granted),
                b'H' => Some(Lease::Hit),
                b'B' => Some(Lease::Busy),
                _ => None,
            };
            let outcomes: Vec<_> = bytes(outcomes)?.into_iter().map(outcome).collect::<Option<_>>()?;
            (outcomes.len() == wanted.len()).then_some(LeaseGrant {
                generation: Generation::from_bytes(fixed(generation)?),
                now: RedisTime::from_micros(number(now)?),
                hi: Lsn::new(number(hi)?)?,
                outcomes,
            })
        })
    }

    /// Puts entries under keys of one stripe, each if it covers what its lease has been told of.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn fill(&self, stripe: Stripe, source: &Source, fillings: &[Filling<'_>]) -> Result<Vec<Fill>, LinkError> {
        let mut keys = vec![self.stripes.ctl(stripe)];
        keys.extend(fillings.iter().flat_map(|f| [self.stripes.lease(f.key), self.stripes.value(f.key)]));
        let source = source.to_string();
        let ttls: Vec<_> = fillings.iter().map(|f| millis(f.ttl)).collect();
        let mut args: Vec<&[u8]> = vec![self.run(), source.as_bytes()];
        for (f, ttl_ms) in fillings.iter().zip(&ttls) {
            args.extend([f.token.as_bytes().as_slice(), ttl_ms.as_bytes(), f.entry]);
        }
        let reply = self.link.run_script(Script::Fill, &keys, &args).await?;
        let outcome = |letter: u8| match letter {
            b'F' => Some(Fill::Filled),
            b'L' => Some(Fill::Lost),
            b'C' => Some(Fill::Closed),
            b'O' => Some(Fill::Old),
            _ => None,
        };
        let outcomes = bytes(reply).and_then(|letters| letters.into_iter().map(outcome).collect::<Option<Vec<_>>>());
        outcomes.filter(|outcomes| outcomes.len() == fillings.len()).ok_or_else(nonsense)
    }

    /// Gives up leases of one stripe that will not be used, so that others need not wait until they run out: a fill with an empty
    /// entry, which is of no generation.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn give_back(&self, stripe: Stripe, leases: &[(&CacheKey, LeaseToken)]) -> Result<(), LinkError> {
        let mut keys = vec![self.stripes.ctl(stripe)];
        keys.extend(leases.iter().flat_map(|(key, _)| [self.stripes.lease(key), self.stripes.value(key)]));
        let mut args: Vec<&[u8]> = vec![self.run(), b""];
        args.extend(leases.iter().flat_map(|(_, token)| [token.as_bytes().as_slice(), b"1", b""]));
        self.link.run_script(Script::Fill, &keys, &args).await.map(drop)
    }

    /// The command that carries out one change on dependencies of one stripe, for a pipeline. Can be sent again.
    pub fn apply(&self, stripe: Stripe, applied: Applied, touched: &[Touched<'_>]) -> redis::Cmd {
        let mut keys = self.ctl_and_fences(stripe);
        let mut fields = Vec::with_capacity(touched.len());
        for one in touched {
            match one {
                Touched::Key(key, _) => {
                    keys.extend([self.stripes.lease(key), self.stripes.value(key)]);
                    fields.push(format!("k:{key}"));
                }
                Touched::Tag(tag, _) => {
                    keys.push(self.stripes.tag(tag));
                    fields.push(format!("t:{tag}"));
                }
                Touched::Everything => fields.push(WILDCARD_FIELD.to_owned()),
            }
        }
        let (xid, end) = (applied.xid.to_string(), applied.end.get().to_string());
        let mut args: Vec<&[u8]> = vec![generation_or_none(&applied.generation), xid.as_bytes(), end.as_bytes()];
        for (one, field) in touched.iter().zip(&fields) {
            let (kind, payload): (&[u8], &[u8]) = match one {
                Touched::Key(_, image) => (b"k", image.unwrap_or_default()),
                Touched::Tag(_, version) => (b"t", version.as_bytes()),
                Touched::Everything => (b"*", b""),
            };
            args.extend([kind, field.as_bytes(), payload]);
        }
        self.link.script_command(Script::Apply, &keys, &args)
    }

    /// The command that is the first step of the fast path: how far a batch of removals reaches. The removals follow it.
    pub fn raise(&self, stripe: Stripe, generation: Generation, end: Lsn) -> redis::Cmd {
        let keys = [self.stripes.fences(stripe)];
        self.link.script_command(Script::Raise, &keys, &[generation.as_bytes(), end.get().to_string().as_bytes()])
    }

    /// The command that is the last step of the fast path: gives tags of one stripe other versions. Can be sent again.
    pub fn touch(&self, tags: &[(&Tag, TagVersion)]) -> redis::Cmd {
        let keys: Vec<_> = tags.iter().map(|(tag, _)| self.stripes.tag(tag)).collect();
        let args: Vec<&[u8]> = tags.iter().map(|(_, version)| version.as_bytes().as_slice()).collect();
        self.link.script_command(Script::Touch, &keys, &args)
    }

    /// Sends commands made by [`apply`](Self::apply), [`raise`](Self::raise) and [`touch`](Self::touch), and plain ones, in order. All may be sent again.
    ///
    /// # Errors
    /// Any [`LinkError`]: then some may have been carried out, and all are to be sent again.
    pub async fn send(&self, commands: &[redis::Cmd]) -> Result<(), LinkError> {
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        match self.link.call_all(&pipeline, commands.len()).await.and_then(first_error) {
            Err(LinkError::Refused(error)) if error.kind() == redis::ServerErrorKind::NoScript.into() => {
                self.link.reload().await?;
                self.link.call_all(&pipeline, commands.len()).await.and_then(first_error)
            }
            outcome => outcome,
        }
    }

    /// Says how far the applier has come. Answers with the snapshot that stands then.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn publish(
        &self,
        stripe: Stripe,
        generation: Generation,
        progress: Progress<'_>,
    ) -> Result<Result<Snapshot, Closed>, LinkError> {
        let snapshot = pack_snapshot(progress.snapshot);
        let position = progress.position.get().to_string();
        let at = progress.at.map_or(0, RedisTime::as_micros).to_string();
        let args: [&[u8]; 5] = [generation.as_bytes(), self.run(), &snapshot, position.as_bytes(), at.as_bytes()];
        let reply = self.link.run_script(Script::Publish, &self.ctl_and_fences(stripe), &args).await?;
        unless_closed(reply, |reply| unpack_snapshot(&bytes(reply.into_iter().next()?)?))
    }

    /// Drops what the published snapshot sees from these fields of `fences`, at most 256. Answers how many still hold something.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn settle(
        &self,
        stripe: Stripe,
        generation: Generation,
        fields: &[String],
    ) -> Result<Result<u64, Closed>, LinkError> {
        let mut args: Vec<&[u8]> = vec![generation.as_bytes(), self.run()];
        args.extend(fields.iter().map(String::as_bytes));
        let reply = self.link.run_script(Script::Settle, &self.ctl_and_fences(stripe), &args).await?;
        if is_word(&reply, "closed") { Ok(Err(Closed)) } else { number(reply).map(Ok).ok_or_else(nonsense) }
    }

    /// Begins to serve a stripe under a new generation. Not to be sent again when its reply was lost: read what stands there.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn open(&self, stripe: Stripe, opening: &Opening<'_>) -> Result<Open, LinkError> {
        let source = opening.source.to_string();
        let snapshot = pack_snapshot(opening.snapshot);
        let (hi, position) = (opening.hi.get().to_string(), opening.position.get().to_string());
        let fences: Vec<_> = opening.fences.iter().map(|(field, xids)| (field, pack_xids(xids))).collect();
        let mut args: Vec<&[u8]> = vec![
            generation_or_none(&opening.expected),
            opening.generation.as_bytes(),
            self.run(),
            source.as_bytes(),
            &snapshot,
            hi.as_bytes(),
            position.as_bytes(),
        ];
        args.extend(fences.iter().flat_map(|(field, xids)| [field.as_bytes(), xids.as_slice()]));
        let reply = self.link.run_script(Script::Open, &self.ctl_and_fences(stripe), &args).await?;
        match String::from_redis_value(reply).as_deref() {
            Ok("opened") => Ok(Open::Opened),
            Ok("closed") => Ok(Open::Raced),
            Ok("deposed") => Ok(Open::Deposed),
            Ok(_) | Err(_) => Err(nonsense()),
        }
    }

    /// Empties a stripe by a new generation, for a change that touches everything.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn bump(&self, stripe: Stripe, new: Generation, applied: Applied) -> Result<Result<(), Closed>, LinkError> {
        let (xid, end) = (applied.xid.to_string(), applied.end.get().to_string());
        let args: [&[u8]; 4] = [generation_or_none(&applied.generation), new.as_bytes(), xid.as_bytes(), end.as_bytes()];
        let reply = self.link.run_script(Script::Bump, &self.ctl_and_fences(stripe), &args).await?;
        match () {
            () if is_word(&reply, "bumped") => Ok(Ok(())),
            () if is_word(&reply, "closed") => Ok(Err(Closed)),
            () => Err(nonsense()),
        }
    }

    fn run(&self) -> &'a [u8] {
        self.link.run_ref().as_bytes()
    }

    fn ctl_and_fences(&self, stripe: Stripe) -> Vec<String> {
        vec![self.stripes.ctl(stripe), self.stripes.fences(stripe)]
    }
}

fn generation_or_none(generation: &Option<Generation>) -> &[u8] {
    generation.as_ref().map_or([].as_slice(), |generation| generation.as_bytes())
}

fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

fn is_word(reply: &Value, word: &str) -> bool {
    matches!(reply, Value::BulkString(bytes) if bytes == word.as_bytes())
}

fn unless_closed<T>(reply: Value, read: impl FnOnce(Vec<Value>) -> Option<T>) -> Result<Result<T, Closed>, LinkError> {
    match reply {
        reply if is_word(&reply, "closed") => Ok(Err(Closed)),
        Value::Array(parts) => read(parts).map(Ok).ok_or_else(nonsense),
        _ => Err(nonsense()),
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

fn fixed<const N: usize>(value: Value) -> Option<[u8; N]> {
    bytes(value)?.try_into().ok()
}

fn number(value: Value) -> Option<u64> {
    if let Value::Int(number) = value { number.try_into().ok() } else { None }
}

fn nonsense() -> LinkError {
    LinkError::Reply((redis::ErrorKind::UnexpectedReturnType, "a script answered in a shape of another version").into())
}

fn first_error(replies: Vec<Value>) -> Result<(), LinkError> {
    replies.into_iter().try_for_each(|reply| match reply {
        Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
        _ => Ok(()),
    })
}
