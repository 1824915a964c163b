//! What the applier tells Redis: changes, what is visible, and what stands open.

use redis::{FromRedisValue, Value};

use super::{Closed, Scripts, WILDCARD_FIELD, bytes, is_word, nonsense, number, text::Script, unless_closed};
use crate::coherence::{
    bytes::{pack_snapshot, pack_xids, unpack_snapshot},
    entry::RedisTime,
    identity::{Generation, Source, TagVersion},
    key::{CacheKey, Stripe, Tag},
    link::LinkError,
    snapshot::Snapshot,
    xid::{Lsn, Xid},
};

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

impl Scripts<'_> {
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
}

fn generation_or_none(generation: &Option<Generation>) -> &[u8] {
    generation.as_ref().map_or([].as_slice(), |generation| generation.as_bytes())
}

fn first_error(replies: Vec<Value>) -> Result<(), LinkError> {
    replies.into_iter().try_for_each(|reply| match reply {
        Value::ServerError(error) => Err(redis::RedisError::from(error).into()),
        _ => Ok(()),
    })
}
