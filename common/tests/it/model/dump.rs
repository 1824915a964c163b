//! What lies in Redis, read in one go and decoded into the model's state, by the layouts of protocol.md §2 and of `lib.lua`'s head.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use freshline::coherence::{Entry, LinkError, Proof as RealProof};

use super::{
    compare::{Proof, Snap},
    live::{self, Live},
    operations::RUN,
    state::{Cell, Ctl, Dep, Fences, Lease, RunId, Src, Stripe, Value, Version},
    universe::{self, SOURCES, Universe},
};

/// For each key: its type, its milliseconds to live, and of a string or a hash what is in it.
const READ_ALL: &str = "
local all = {}
for i, key in ipairs(KEYS) do
    local kind = redis.call('TYPE', key).ok
    local held = {}
    if kind == 'string' then held = {redis.call('GET', key)} end
    if kind == 'hash' then held = redis.call('HGETALL', key) end
    all[i] = {kind, redis.call('PTTL', key), held}
end
return all
";

/// One key of Redis: its type, its milliseconds to live, its parts.
type Raw = (String, i64, Vec<Vec<u8>>);

/// The command that reads all of these keys.
pub fn reading(names: &[String]) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(READ_ALL).arg(names.len()).arg(names);
    command
}

/// All that Redis holds of this history.
pub async fn read(live: &Live<'_>) -> Result<Vec<Stripe>, LinkError> {
    let mut raw = live.link.call::<Vec<Raw>>(live.reading()).await?.into_iter();
    let mut next = || raw.next().expect("a reply for each key");
    let universe = live.universe;
    let stripe = |(at, stripe)| {
        let deps = universe.deps_in(at);
        let mut held = Stripe::empty(&universe.keys_in(stripe), &universe.tags_in(stripe));
        held.ctl = cell(&next(), None, |raw| ctl(raw, live));
        held.fences = cell(&next(), None, |raw| fences(raw, &deps));
        held.values.values_mut().for_each(|held| *held = cell(&next(), Some(live::VALUE_TTL), value));
        held.leases.values_mut().for_each(|held| *held = cell(&next(), Some(live::LEASE_TTL), lease));
        held.tags.values_mut().for_each(|held| *held = cell(&next(), Some(live::TAG_TTL), version));
        held
    };
    Ok(universe.stripes.all().enumerate().map(stripe).collect())
}

/// Decodes one key. What does not go away by itself in time, or goes where it should stay, is not what ours write.
fn cell<T>(raw: &Raw, ttl: Option<std::time::Duration>, decode: impl Fn(&Raw) -> Option<T>) -> Cell<T> {
    if raw.0 == "none" {
        return Cell::Absent;
    }
    let most = ttl.map_or(-1, |ttl| i64::try_from(ttl.as_millis()).expect("minutes"));
    let lasts_as_it_should = raw.1 <= most && (raw.1 > live::TTL_LEAST_MS || ttl.is_none());
    decode(raw).filter(|_| lasts_as_it_should).map_or(Cell::Garbage, Cell::Holds)
}

/// Little-endian fields.
struct Packed<'a>(&'a [u8]);

impl Packed<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn numbers(&mut self, count: usize) -> Option<Vec<u64>> {
        (0..count).map(|_| self.number()).collect()
    }

    fn last<T>(&self, decoded: T) -> Option<T> {
        self.0.is_empty().then_some(decoded)
    }
}

fn string(raw: &Raw) -> Option<Packed<'_>> {
    (raw.0 == "string").then(|| Packed(&raw.2[0]))
}

fn hash(raw: &Raw) -> Option<BTreeMap<&[u8], &[u8]>> {
    (raw.0 == "hash").then(|| raw.2.chunks(2).map(|pair| (&pair[0][..], &pair[1][..])).collect())
}

fn ctl(raw: &Raw, live: &Live<'_>) -> Option<Ctl> {
    let mut fields = string(raw)?;
    let _format = fields.take::<1>().filter(|format| *format == [1])?;
    let generation = universe::generation_of(&fields.take()?)?;
    let run = if fields.take::<40>()? == *live.link.run().as_bytes() { RUN } else { RunId(1) };
    let (pos, at) = (fields.number()?, fields.number()?);
    let source = SOURCES.iter().position(|source| source.to_string().as_bytes() == fields.0)?;
    Some(Ctl { generation, run, source: Src(source as u8), pos, at })
}

fn snap(packed: &[u8]) -> Option<Snap> {
    let mut fields = Packed(packed);
    Some(Snap { xmin: fields.number()?, xmax: fields.number()?, xip: xids(fields.0)? })
}

/// A set of xids, for that is what they are, whether one stands there twice or not.
fn xids(packed: &[u8]) -> Option<BTreeSet<u64>> {
    let mut fields = Packed(packed);
    let all = fields.numbers(packed.len() / 8)?;
    fields.last(all.into_iter().collect())
}

fn packed_number(packed: &[u8]) -> Option<u64> {
    let mut fields = Packed(packed);
    let number = fields.number()?;
    fields.last(number)
}

fn fences(raw: &Raw, deps: &[Dep]) -> Option<Fences> {
    let mut fields = hash(raw)?;
    let generation = universe::generation_of(fields.remove(&b".gen"[..])?.try_into().ok()?)?;
    let snap = snap(fields.remove(&b".snap"[..])?)?;
    let hi = packed_number(fields.remove(&b".hi"[..])?)?;
    let dep = |field: &[u8]| deps.iter().copied().find(|dep| Universe::field(*dep).as_bytes() == field);
    let held = |(field, packed)| Some((dep(field)?, xids(packed).filter(|xids| !xids.is_empty())?));
    let xids = fields.into_iter().map(held).collect::<Option<_>>()?;
    Some(Fences { generation, snap, hi, xids })
}

fn lease(raw: &Raw) -> Option<Lease> {
    let mut fields = string(raw)?;
    let _format = fields.take::<1>().filter(|format| *format == [1])?;
    let token = universe::token_of(&fields.take()?)?;
    let running = u16::from_le_bytes(fields.take()?);
    let generation = universe::generation_of(&fields.take()?)?;
    let (hi, xmin, xmax) = (fields.number()?, fields.number()?, fields.number()?);
    let xip = fields.numbers(running.into())?.into_iter().collect();
    Some(Lease { token, generation, snap: Snap { xmin, xmax, xip }, xids: xids(fields.0)?, hi })
}

fn version(raw: &Raw) -> Option<Version> {
    let mut fields = string(raw)?;
    let version = fields.take().map(Version)?;
    fields.last(version)
}

/// An entry by the bytes that scripts read, which must be what the library reads of it.
fn value(raw: &Raw) -> Option<Value> {
    let mut fields = string(raw)?;
    let [_, flags] = fields.take::<2>().filter(|head| head[0] == 1)?;
    let running = u16::from_le_bytes(fields.take()?);
    let id = universe::entry_id_of(&fields.take()?)?;
    let generation = universe::generation_of(&fields.take()?)?;
    let (low, high, read_at) = (fields.number()?, fields.number()?, fields.number()?);
    let xip = fields.numbers(running.into())?.into_iter().collect();
    let proof = if flags & 1 == 0 { Proof::Snap(Snap { xmin: low, xmax: high, xip }) } else { Proof::Lsn(low) };
    let value = Value { id, generation, proof, read_at };
    assert!(is_same(&value, Bytes::copy_from_slice(&raw.2[0])), "the library reads another entry than {value:?}");
    Some(value)
}

fn is_same(value: &Value, bytes: Bytes) -> bool {
    let entry = Entry::decode(&bytes).expect("an entry that one of ours wrote");
    let proof = match &entry.proof {
        RealProof::Snapshot(snapshot) => Proof::Snap(universe::snap_of(snapshot)),
        RealProof::Lsn(lsn) => Proof::Lsn(lsn.get()),
    };
    let ids = (universe::entry_id(value.id), universe::generation(value.generation)) == (entry.id, entry.generation);
    let read_at = entry.read_at.map_or(0, |at| at.as_micros());
    ids && proof == value.proof && read_at == value.read_at && entry.body == Some(live::body(value.id))
}
