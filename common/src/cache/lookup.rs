//! One look at Redis: values, tags and control records in one MGET, each value judged.
//!
//! *In one MGET*: a position that was read after a value may claim a change that the value lacks.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use redis::Value as Reply;

use super::{
    Explanation, Found, Origin, Shared, Value, Want,
    door::{Barred, Operation},
};
use crate::{
    coherence::{
        CacheKey, Control, ETag, Entry, EntryId, Garbled, Grounds, LinkError, ProvenBy, Reading, RedisTime, Refusal, Run, Stripe,
        Tag, TagReading, TagVersion,
    },
    telemetry::trace::{Span, SpanKind},
};

/// The most values that one MGET asks for, so that no reply keeps Redis from others for long.
const LOOK_LEN_MAX: usize = 256;

/// What is asked of each key of a read.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    /// The tags that the value depends on, always named in the same order.
    pub tags: &'a [Tag],
    pub want: &'a Want,
}

/// What a look at one key came to.
pub(super) type Sight<V> = Result<Served<V>, Refused>;

/// A value that the cache may serve.
pub(super) struct Served<V> {
    pub value: Option<V>,
    pub etag: ETag,
    pub grounds: Grounds,
    /// Redis, or what stands in for it.
    pub origin: Origin,
    pub explanation: Option<Box<Explanation>>,
}

/// What stands in the way of serving.
pub(super) struct Refused {
    pub refusal: Refusal,
    /// The entry that could not be served: a lease is given although it is there.
    pub seen: Option<EntryId>,
    pub explanation: Option<Box<Explanation>>,
}

/// What one MGET told of everything but the values.
pub(super) struct View {
    pub run: Run,
    /// Redis's clock, bounded from above, after the reply: no value is younger than it seems.
    pub now: RedisTime,
    /// The control records of the stripes used.
    controls: Vec<(Stripe, Option<Control>)>,
    /// For each tag: its stripe and version.
    versions: Vec<(Stripe, Option<TagVersion>)>,
}

impl View {
    pub fn control(&self, stripe: Stripe) -> Option<&Control> {
        self.controls.iter().find(|(of, _)| *of == stripe)?.1.as_ref()
    }

    pub fn tags(&self) -> Vec<TagReading<'_>> {
        let reading = |(stripe, version): &(Stripe, Option<TagVersion>)| TagReading {
            stripe: stripe.number(),
            control: self.control(*stripe),
            version: *version,
        };
        self.versions.iter().map(reading).collect()
    }
}

impl Shared {
    /// Looks at one key.
    pub(super) async fn look_at_one<V: Value>(&self, key: &CacheKey, ask: Ask<'_>) -> Sight<V> {
        match self.read(&[key], ask.tags).await {
            Ok((view, mut values)) => self.judge(key, ask, &view, values.next().and_then(bulk)),
            Err(refusal) => self.blind(key, ask, refusal),
        }
    }

    /// Looks at some keys; one sight for each, in order.
    pub(super) async fn look<V: Value>(&self, keys: &[&CacheKey], ask: Ask<'_>) -> Vec<Sight<V>> {
        if keys.len() <= LOOK_LEN_MAX {
            return self.look_at_once(keys, ask).await;
        }
        let looks = keys.chunks(LOOK_LEN_MAX).map(|chunk| self.look_at_once(chunk, ask));
        join_all(looks).await.into_iter().flatten().collect()
    }

    async fn look_at_once<V: Value>(&self, keys: &[&CacheKey], ask: Ask<'_>) -> Vec<Sight<V>> {
        match self.read(keys, ask.tags).await {
            Ok((view, values)) => keys.iter().zip(values).map(|(key, value)| self.judge(key, ask, &view, bulk(value))).collect(),
            Err(refusal) => keys.iter().map(|key| self.blind(key, ask, refusal)).collect(),
        }
    }

    /// Of a look that Redis did not answer, or was not asked.
    fn blind<V: Value>(&self, key: &CacheKey, ask: Ask<'_>, refusal: Refusal) -> Sight<V> {
        let mut explanation = ask.want.explain.then(|| Explanation::blind(key, ask, refusal, self.bound(ask)));
        let Some((value, etag, age)) = self.fallen_back(key, ask) else { return Err(Refused { refusal, seen: None, explanation }) };
        if let Some(explanation) = &mut explanation {
            explanation.fell_back(age);
        }
        let grounds = Grounds { age, proven_by: ProvenBy::ReadTime };
        Ok(Served { value, etag, grounds, origin: Origin::Fallback, explanation })
    }

    /// What was read from Postgres since Redis went away, if this read may be answered with it: one that has to see a write of its own
    /// may not.
    fn fallen_back<V: Value>(&self, key: &CacheKey, ask: Ask<'_>) -> Option<(Option<V>, ETag, Duration)> {
        if ask.want.token.is_some() {
            return None;
        }
        let (kept, age) = self.fallback.get(self.door.outage()?, key, self.bound(ask))?;
        let value = match kept.body {
            Some(body) => Some(V::decode(body)?),
            None => None,
        };
        Some((value, kept.etag, age))
    }

    /// The one MGET: control records of the stripes used, then values, then tags.
    async fn read(&self, keys: &[&CacheKey], tags: &[Tag]) -> Result<(View, impl Iterator<Item = Reply> + use<>), Refusal> {
        let stripes = self.stripes_of(keys, tags);
        let link = self.door.open(&stripes).map_err(|barred| match barred {
            Barred::Paused => Refusal::Closed,
            Barred::NoLink => Refusal::Unreachable,
        })?;
        let command = self.mget(&stripes, keys, tags);
        let looking = Span::child("cache.look", SpanKind::Client);
        let reply = link.call::<Reply>(&command).await.and_then(|reply| whole(reply, stripes.len() + keys.len() + tags.len()));
        drop(looking);
        let reply = self.door.heard(&self.meters, Operation::Look, &stripes, reply).ok_or(Refusal::Unreachable)?;
        self.fallback.clear();
        let (run, now) = (link.run(), link.now());
        let mut reply = reply.into_iter();
        let controls: Vec<_> = stripes
            .iter()
            .zip(&mut reply)
            .map(|(stripe, value)| (*stripe, bulk(value).and_then(|bytes| Control::decode(&bytes))))
            .collect();
        for (stripe, control) in &controls {
            if control.as_ref().is_none_or(|control| control.run != run) {
                self.door.found_closed(*stripe);
            }
        }
        let mut values: Vec<_> = reply.collect();
        let versions =
            values.drain(keys.len()..).zip(tags).map(|(value, tag)| (self.stripes.of(tag.as_str()), version(value))).collect();
        Ok((View { run, now, controls, versions }, values.into_iter()))
    }

    fn mget(&self, stripes: &[Stripe], keys: &[&CacheKey], tags: &[Tag]) -> redis::Cmd {
        let mut command = redis::cmd("MGET");
        for stripe in stripes {
            command.arg(&self.controls[usize::from(stripe.number())]);
        }
        for key in keys {
            command.arg(self.stripes.value(key));
        }
        for tag in tags {
            command.arg(self.stripes.tag(tag));
        }
        command
    }

    /// The stripes of these names, each once.
    fn stripes_of(&self, keys: &[&CacheKey], tags: &[Tag]) -> Vec<Stripe> {
        let names = keys.iter().map(|key| key.as_str()).chain(tags.iter().map(Tag::as_str));
        let mut stripes = Vec::with_capacity(1);
        for stripe in names.map(|name| self.stripes.of(name)) {
            if !stripes.contains(&stripe) {
                stripes.push(stripe);
            }
        }
        stripes
    }

    fn judge<V: Value>(&self, key: &CacheKey, ask: Ask<'_>, view: &View, bytes: Option<Bytes>) -> Sight<V> {
        let stripe = self.stripes.of(key.as_str());
        let claimed = bytes.as_ref().and_then(Entry::claimed_id);
        let entry = bytes.map(|bytes| Entry::decode(&bytes)).transpose();
        let tags = view.tags();
        let reading = Reading {
            run: view.run,
            now: view.now,
            max_staleness: self.bound(ask),
            token: ask.want.token.as_ref(),
            control: view.control(stripe),
            tags: &tags,
        };
        let (entry, verdict) = match entry {
            Ok(entry) => {
                let verdict = reading.judge(entry.as_ref());
                (entry, verdict)
            }
            Err(garbled) => (None, reading.open(reading.control).and_then(|_| Err(self.unreadable(garbled)))),
        };
        let body = entry.as_ref().and_then(|entry| entry.body.clone());
        let verdict = verdict.and_then(|grounds| match body.map(V::decode) {
            None => Ok((grounds, None)),
            Some(Some(value)) => Ok((grounds, Some(value))),
            Some(None) => {
                self.meters.unreadable("body");
                Err(Refusal::Garbled)
            }
        });
        let explanation = ask.want.explain.then(|| {
            let verdict = verdict.as_ref().map(|(grounds, _)| *grounds).map_err(|refusal| *refusal);
            Explanation::of_look(key, stripe, ask, &reading, entry.as_ref(), verdict)
        });
        match (verdict, entry) {
            (Ok((grounds, value)), Some(entry)) => {
                Ok(Served { value, etag: entry.etag, grounds, origin: Origin::Redis, explanation })
            }
            (Ok(_), None) => Err(Refused { refusal: Refusal::Missing, seen: None, explanation }),
            (Err(refusal), _) => Err(Refused { refusal, seen: claimed, explanation }),
        }
    }

    fn unreadable(&self, garbled: Garbled) -> Refusal {
        self.meters.unreadable(match garbled {
            Garbled::Format => "format",
            Garbled::Shape => "shape",
            Garbled::Checksum => "checksum",
        });
        Refusal::Garbled
    }

    fn bound(&self, ask: Ask<'_>) -> Duration {
        let setting = self.settings.max_staleness;
        ask.want.max_staleness.map_or(setting, |wanted| wanted.min(setting))
    }
}

impl<V> Served<V> {
    pub fn found(self) -> Found<V> {
        Found {
            value: self.value,
            etag: self.etag,
            age: self.grounds.age,
            origin: self.origin,
            refusal: None,
            fill: None,
            explanation: self.explanation,
        }
    }
}

/// The replies of an MGET, if there are as many as were asked for.
fn whole(reply: Reply, len: usize) -> Result<Vec<Reply>, LinkError> {
    match reply {
        Reply::Array(values) if values.len() == len => Ok(values),
        _ => {
            Err(LinkError::Reply((redis::ErrorKind::UnexpectedReturnType, "MGET did not answer with a value for each key").into()))
        }
    }
}

/// A string; nothing where the key is absent or of another type, which MGET does not tell apart.
fn bulk(reply: Reply) -> Option<Bytes> {
    if let Reply::BulkString(bytes) = reply { Some(bytes.into()) } else { None }
}

fn version(reply: Reply) -> Option<TagVersion> {
    Some(TagVersion::from_bytes(bulk(reply)?.as_ref().try_into().ok()?))
}
