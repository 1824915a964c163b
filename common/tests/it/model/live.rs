//! The other side of a history: the same calls through the library's typed callers, on a real Redis.

mod blows;

use std::{cell::Cell as StdCell, cell::RefCell, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use freshline::coherence::{
    self as real, Applied, ETag, Entry, Fill, Filling, Generation, Link, LinkError, Open, Progress, RedisTime, Scripts, TagStamp,
    TagVersion, Touched, Wanted,
};

use super::{
    call::{Call, Reply},
    compare::Proof,
    dump,
    operations::{Change, Closed, FillOutcome, LeaseGrant, Leased, OpenOutcome, Opening, TagGrant, Touch},
    state::{Id, Key, Tag, Value, Version},
    universe::{self, SOURCES, Universe},
};

/// No history takes so long that anything is left with less to live.
pub const TTL_LEAST_MS: i64 = 250_000;
/// The run of another Redis process.
const OTHER_RUN: &[u8; 40] = b"another process was this, of another day";

pub const VALUE_TTL: Duration = Duration::from_secs(500);
pub const LEASE_TTL: Duration = Duration::from_secs(400);
pub const TAG_TTL: Duration = Duration::from_secs(900);

/// A Redis that a history is played on.
pub struct Live<'a> {
    pub link: &'a Link,
    pub universe: &'a Universe,
    /// The latest time that a lease was told: time does not go back.
    told: StdCell<Option<RedisTime>>,
    saved: RefCell<Vec<(String, i64, Bytes)>>,
    names: Vec<String>,
    reading: redis::Cmd,
}

impl<'a> Live<'a> {
    pub fn new(link: &'a Link, universe: &'a Universe) -> Self {
        let names = blows::names(universe);
        let reading = dump::reading(&names);
        Self { link, universe, told: StdCell::new(None), saved: RefCell::default(), names, reading }
    }

    /// The command that reads every key that a history may leave behind, in the order of the stripes and their parts.
    pub fn reading(&self) -> &redis::Cmd {
        &self.reading
    }

    fn scripts(&self) -> Scripts<'a> {
        Scripts::new(self.link, &self.universe.stripes)
    }

    /// Carries out a call.
    pub async fn step(&self, call: &Call) -> Result<Reply, LinkError> {
        match call {
            Call::Tag(at, tags) => self.tag(*at, tags).await,
            Call::Lease(at, wanted) => self.lease(*at, wanted).await,
            Call::Fill(at, source, fillings) => {
                let fillings: Vec<_> = fillings
                    .iter()
                    .map(|(key, token, value)| (Universe::key_name(*key), universe::token(*token), encoded(value)))
                    .collect();
                let fillings: Vec<_> =
                    fillings.iter().map(|(key, token, entry)| Filling { key, token: *token, ttl: VALUE_TTL, entry }).collect();
                let source = &SOURCES[usize::from(source.0)];
                let outcomes = self.scripts().fill(self.universe.stripe(*at), source, &fillings).await?;
                Ok(Reply::Fills(outcomes.into_iter().map(filled).collect()))
            }
            Call::GiveBack(at, leases) => {
                let names: Vec<_> = leases.iter().map(|(key, token)| (Universe::key_name(*key), universe::token(*token))).collect();
                let leases: Vec<_> = names.iter().map(|(key, token)| (key, *token)).collect();
                self.scripts().give_back(self.universe.stripe(*at), &leases).await.map(|()| Reply::Done)
            }
            Call::Apply(at, change, touched) => self.apply(*at, *change, touched).await,
            Call::Raise(at, generation, end) => {
                let command =
                    self.scripts().raise(self.universe.stripe(*at), universe::generation(*generation), universe::lsn(*end));
                self.scripts().send(&[command]).await.map(|()| Reply::Done)
            }
            Call::Unlink(_, keys, tags) => self.unlink(keys, tags).await,
            Call::Publish(at, generation, snap, pos, time) => {
                let snapshot = universe::snapshot(snap);
                let progress =
                    Progress { snapshot: &snapshot, position: universe::lsn(*pos), at: time.map(RedisTime::from_micros) };
                let answer = self.scripts().publish(self.universe.stripe(*at), universe::generation(*generation), progress).await?;
                Ok(Reply::Published(answer.map(|snapshot| universe::snap_of(&snapshot)).map_err(closed)))
            }
            Call::Settle(at, generation, deps) => {
                let fields: Vec<_> = deps.iter().map(|dep| Universe::field(*dep)).collect();
                let answer = self.scripts().settle(self.universe.stripe(*at), universe::generation(*generation), &fields).await?;
                Ok(Reply::Settled(answer.map_err(closed)))
            }
            Call::Open(at, opening) => self.open(*at, opening).await,
            Call::Bump(at, new, change) => {
                let answer = self.scripts().bump(self.universe.stripe(*at), universe::generation(*new), applied(*change)).await?;
                Ok(Reply::Bumped(answer.map_err(closed)))
            }
            Call::Blow(blow) => self.suffer(blow).await.map(|()| Reply::Done),
        }
    }

    async fn tag(&self, at: usize, tags: &[Tag]) -> Result<Reply, LinkError> {
        let names: Vec<_> = tags.iter().map(|tag| Universe::tag_name(*tag)).collect();
        let names: Vec<_> = names.iter().collect();
        let answer = self.scripts().tag(self.universe.stripe(at), &names, TAG_TTL).await?;
        Ok(Reply::Tags(answer.map_err(closed).map(|grant| {
            TagGrant {
                generation: known(grant.generation),
                snap: universe::snap_of(&grant.snapshot),
                hi: grant.hi.get(),
                tags: grant
                    .tags
                    .iter()
                    .map(|(version, xids)| (Version(*version.as_bytes()), xids.iter().map(|xid| xid.get()).collect()))
                    .collect(),
            }
        })))
    }

    async fn lease(&self, at: usize, wanted: &[(Key, Option<Id>, super::state::Token)]) -> Result<Reply, LinkError> {
        let keys: Vec<_> = wanted.iter().map(|(key, ..)| Universe::key_name(*key)).collect();
        let wanted: Vec<_> = wanted
            .iter()
            .zip(&keys)
            .map(|((_, seen, token), key)| Wanted { key, seen: seen.map(universe::entry_id), token: universe::token(*token) })
            .collect();
        let grant = match self.scripts().lease(self.universe.stripe(at), &wanted, LEASE_TTL).await? {
            Err(real::Closed) => return Ok(Reply::Leases(Err(Closed))),
            Ok(grant) => grant,
        };
        assert!(self.told.get() <= Some(grant.now) && grant.now <= self.link.now(), "a lease was told a time that is not now");
        self.told.set(Some(grant.now));
        let outcome = |outcome: &real::Lease| match outcome {
            real::Lease::Granted => Leased::Granted,
            real::Lease::Hit => Leased::Hit,
            real::Lease::Busy => Leased::Busy,
        };
        let outcomes = grant.outcomes.iter().map(outcome).collect();
        Ok(Reply::Leases(Ok(LeaseGrant { generation: known(grant.generation), hi: grant.hi.get(), outcomes })))
    }

    async fn apply(&self, at: usize, change: Change, touched: &[Touch]) -> Result<Reply, LinkError> {
        let keys: BTreeMap<Key, _> = Universe::KEYS.map(|key| (key, Universe::key_name(key))).into();
        let tags: BTreeMap<Tag, _> = Universe::TAGS.map(|tag| (tag, Universe::tag_name(tag))).into();
        let images: Vec<Option<Vec<u8>>> =
            touched.iter().map(|touch| if let Touch::Key(_, Some(image)) = touch { Some(encoded(image)) } else { None }).collect();
        let touched: Vec<_> = touched
            .iter()
            .zip(&images)
            .map(|(touch, image)| match touch {
                Touch::Key(key, _) => Touched::Key(&keys[key], image.as_deref()),
                Touch::Tag(tag, version) => Touched::Tag(&tags[tag], universe::version(*version)),
                Touch::All => Touched::Everything,
            })
            .collect();
        let command = self.scripts().apply(self.universe.stripe(at), applied(change), &touched);
        let (removed, replaced) = self.link.call(&command).await?;
        Ok(Reply::Applied { removed, replaced })
    }

    async fn open(&self, at: usize, opening: &Opening) -> Result<Reply, LinkError> {
        let snapshot = universe::snapshot(&opening.snap);
        let fences = opening
            .fences
            .iter()
            .map(|(dep, xids)| (Universe::field(*dep), xids.iter().map(|x| universe::xid(*x)).collect()))
            .collect();
        let opening = real::Opening {
            expected: opening.expected.map(universe::generation),
            generation: universe::generation(opening.generation),
            source: SOURCES[usize::from(opening.source.0)],
            snapshot: &snapshot,
            hi: universe::lsn(opening.hi),
            position: universe::lsn(opening.pos),
            fences,
        };
        Ok(Reply::Opened(match self.scripts().open(self.universe.stripe(at), &opening).await? {
            Open::Opened => OpenOutcome::Opened,
            Open::Raced => OpenOutcome::Closed,
            Open::Deposed => OpenOutcome::Stop,
        }))
    }

    async fn unlink(&self, keys: &[Key], tags: &[(Tag, Version)]) -> Result<Reply, LinkError> {
        let stripes = &self.universe.stripes;
        let mut commands = Vec::new();
        if !keys.is_empty() {
            let mut unlink = redis::cmd("UNLINK");
            for key in keys.iter().map(|key| Universe::key_name(*key)) {
                unlink.arg(stripes.lease(&key)).arg(stripes.value(&key));
            }
            commands.push(unlink);
        }
        if !tags.is_empty() {
            let tags: Vec<_> =
                tags.iter().map(|(tag, version)| (Universe::tag_name(*tag), TagVersion::from_bytes(version.0))).collect();
            let tags: Vec<_> = tags.iter().map(|(tag, version)| (tag, *version)).collect();
            commands.push(self.scripts().touch(&tags));
        }
        if !commands.is_empty() {
            self.scripts().send(&commands).await?;
        }
        Ok(Reply::Done)
    }
}

/// The body of an entry says which it is.
pub fn body(id: Id) -> Bytes {
    format!("the body of {id:?}").into()
}

/// The whole entry of which the model knows this much.
pub fn encoded(value: &Value) -> Vec<u8> {
    let stamp = |n: u16| TagStamp {
        stripe: n,
        generation: Generation::from_bytes([7; 16]),
        version: real::TagVersion::from_bytes([9; 16]),
    };
    let entry = Entry {
        id: universe::entry_id(value.id),
        generation: universe::generation(value.generation),
        proof: match &value.proof {
            Proof::Snap(snap) => real::Proof::Snapshot(universe::snapshot(snap)),
            Proof::Lsn(lsn) => real::Proof::Lsn(universe::lsn(*lsn)),
        },
        read_at: (value.read_at != 0).then(|| RedisTime::from_micros(value.read_at)),
        tags: (0..value.id.0 as u16 % 3).map(stamp).collect(),
        etag: ETag::of(&body(value.id)),
        body: Some(body(value.id)),
    };
    entry.encode().expect("few tags")
}

fn applied(change: Change) -> Applied {
    Applied {
        generation: change.generation.map(universe::generation),
        xid: universe::xid(change.xid),
        end: universe::lsn(change.end),
    }
}

fn known(generation: Generation) -> super::state::Gen {
    universe::generation_of(generation.as_bytes()).expect("a generation of this history")
}

fn closed(_: real::Closed) -> Closed {
    Closed
}

fn filled(outcome: Fill) -> FillOutcome {
    match outcome {
        Fill::Filled => FillOutcome::Filled,
        Fill::Lost => FillOutcome::Lost,
        Fill::Closed => FillOutcome::Closed,
        Fill::Old => FillOutcome::Old,
    }
}
