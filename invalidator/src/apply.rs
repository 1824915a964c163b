//! Effects → Redis: by script what may still be in the gap, by plain removal what is known to be visible.
//!
//! Everything here may be sent again, and is, until Redis has confirmed all of it.

use std::{
    collections::{BTreeMap, HashSet},
    time::Instant,
};

use freshline::change::Beginning;
use freshline::coherence::{
    Applied, CacheKey, Dependency, Generation, Link, LinkError, Lsn, NarrowXid, Stripe, Tag, TagVersion, Touched, WILDCARD_FIELD,
    Xid,
};
use freshline::telemetry::names;
use freshline::trail::{self, Record};
use metrics::{counter, histogram};

use crate::{
    applier::{Applier, ApplyError, BLIND_AFTER},
    told::{self, Commit},
    transaction::{Effect, Work, Written},
};

/// Dependencies in one script: its run stays far below a millisecond.
const SCRIPT_LEN_MAX: usize = 64;
/// More effects than this at a time are a backlog. To replace entries takes a script each; below it that keeps up.
const BACKLOG_MIN: usize = 256;
/// Keys in one UNLINK: some hundred, as a longer one holds up readers (0.14 to 0.5 µs a key).
const UNLINK_LEN_MAX: usize = 256;

/// What is sent together.
#[derive(Default)]
struct Batch {
    /// Entries are removed and not replaced where that is faster.
    is_backlog: bool,
    /// Changes that may be in the gap, by stripe.
    scripted: Vec<Scripted>,
    /// Changes known to be visible: removal only, by stripe.
    removals: BTreeMap<Stripe, Removals>,
    /// Transactions that are applied once all of this is confirmed.
    commits: Vec<Commit>,
    /// What is told of it then.
    told: Vec<Record>,
}

struct Scripted {
    stripe: Stripe,
    xid: Xid,
    end: Lsn,
    effects: Vec<Effect>,
}

#[derive(Default)]
struct Removals {
    hi: Lsn,
    keys: HashSet<CacheKey>,
    tags: HashSet<Tag>,
}

impl Applier {
    /// Carries out work in the order of the stream. Not to be dropped in between, but for good.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn apply(&mut self, work: Vec<Work>, giant: &mut Option<Giant>) -> Result<(), ApplyError> {
        let begun = Instant::now();
        self.stay_sighted().await?;
        self.trail.begin();
        let mut batch = Batch { is_backlog: is_backlog(&work), ..Batch::default() };
        for one in work {
            match one {
                Work::Whole { xid, end, effects, bumps, written } => {
                    let xid = xid.widen(&self.poll.snapshot);
                    let touched = effects.len();
                    self.add(&mut batch, (xid, end.lsn, written), effects);
                    batch.commits.push(Commit { xid, end, touched, written });
                    if bumps {
                        self.confirm(batch.take()).await?;
                        self.bump(xid, end.lsn).await?;
                    }
                }
                Work::GiantBegins(xid) => {
                    self.confirm(batch.take()).await?;
                    *giant = Some(self.begin_giant(xid).await?);
                }
                Work::GiantPart(effects) => {
                    if let Some(giant) = giant {
                        giant.touched += effects.len();
                        // Its commit is still to come, and with it its time.
                        self.trail.note(&mut batch.told, (giant.xid, giant.end, Written::default()), &effects);
                        batch.removals_of(self, effects, giant.end);
                    }
                }
                Work::GiantEnds { end, bumps, written } => {
                    if let Some(giant) = giant.take() {
                        batch.commits.push(Commit { xid: giant.xid, end, touched: giant.touched, written });
                        self.ledger.note_end(end.lsn);
                        self.confirm(batch.take()).await?;
                        if bumps {
                            self.bump(giant.xid, end.lsn).await?;
                        }
                    }
                }
                Work::Reached(position, place) => {
                    self.confirm(batch.take()).await?;
                    self.ledger.reached(position, place);
                }
                Work::CaughtUp => {
                    self.confirm(batch.take()).await?;
                    self.session.catch_up_to = Lsn::ZERO;
                }
                Work::Hole(beginning) => {
                    self.confirm(batch.take()).await?;
                    self.fall_into(beginning).await?;
                }
            }
        }
        self.confirm(batch).await?;
        histogram!(names::APPLY_SECONDS).record(begun.elapsed());
        Ok(())
    }

    /// Closes everything for something that will never be delivered.
    async fn fall_into(&mut self, beginning: Beginning) -> Result<(), ApplyError> {
        tracing::warn!("changes were lost: the cache is closed until nothing of them can be missing");
        self.trail.say_all(trail::Effect::Hole, None, None);
        self.session.begins_after.push(beginning);
        for index in 0..self.states.len() {
            self.close(index).await?;
        }
        Ok(())
    }

    /// Gives up remembering each transaction where too many are in the gap, or the primary has not been seen for too long.
    async fn stay_sighted(&mut self) -> Result<(), ApplyError> {
        if !self.ledger.is_full() && self.poll_age() < BLIND_AFTER {
            return Ok(());
        }
        if self.states.iter().any(|state| state.generation.is_some()) || self.ledger.is_full() {
            tracing::warn!(noted = self.ledger.noted_len(), poll_age = ?self.poll_age(), "too much is in the gap to remember it: the cache is closed");
            for index in 0..self.states.len() {
                self.close(index).await?;
            }
        }
        self.ledger.go_blind();
        Ok(())
    }

    /// Adds a transaction to a batch, noted before anything of it is sent.
    fn add(&mut self, batch: &mut Batch, (xid, end, written): (Xid, Lsn, Written), effects: Vec<Effect>) {
        self.trail.note(&mut batch.told, (xid, end, written), &effects);
        let is_replacing = !batch.is_backlog && effects.iter().any(|effect| matches!(effect, Effect::Key(_, Some(_))));
        if !is_replacing && self.is_published(xid) {
            self.ledger.note_end(end);
            return batch.removals_of(self, effects, end);
        }
        let mut by_stripe = BTreeMap::<Stripe, Vec<Effect>>::new();
        for effect in effects {
            by_stripe.entry(self.stripes.of(effect.name())).or_default().push(effect);
        }
        let fields = by_stripe.iter().flat_map(|(stripe, effects)| effects.iter().map(|effect| (*stripe, effect.fence_field())));
        self.ledger.note(xid, end, fields);
        batch.scripted.extend(by_stripe.into_iter().map(|(stripe, effects)| Scripted { stripe, xid, end, effects }));
    }

    /// Whether every open stripe has published a snapshot that sees this transaction.
    fn is_published(&self, xid: Xid) -> bool {
        self.states.iter().all(|state| match (&state.generation, &state.published) {
            (Some(_), published) => published.as_ref().is_some_and(|snapshot| snapshot.sees(xid)),
            (None, _) => self.poll.snapshot.sees(xid),
        })
    }

    /// Sends a batch until Redis has confirmed all of it, and notes its transactions as applied.
    async fn confirm(&mut self, batch: Batch) -> Result<(), ApplyError> {
        while !batch.scripted.is_empty() || !batch.removals.is_empty() {
            let link = self.link().await?;
            match self.send(&link, &batch).await {
                Ok(()) => break,
                Err(error) => self.pause_after(error).await?,
            }
        }
        batch.count();
        for commit in &batch.commits {
            self.ledger.applied(commit.xid, commit.end);
        }
        told::tell(&batch.commits, &self.poll);
        self.trail.say(batch.told);
        Ok(())
    }

    async fn send(&self, link: &Link, batch: &Batch) -> Result<(), LinkError> {
        let mut commands = Vec::new();
        for scripted in &batch.scripted {
            self.script(link, scripted, &mut commands);
        }
        for (stripe, removals) in &batch.removals {
            self.remove(link, *stripe, removals, &mut commands);
        }
        self.scripts(link).send(&commands).await?;
        self.await_replicas(link).await
    }

    fn script(&self, link: &Link, change: &Scripted, commands: &mut Vec<redis::Cmd>) {
        let generation = self.generation(change.stripe);
        let applied = Applied { generation, xid: change.xid, end: change.end };
        for effects in change.effects.chunks(SCRIPT_LEN_MAX) {
            let images: Vec<Option<Vec<u8>>> = effects.iter().map(|effect| effect.image(generation, change.end)).collect();
            let touched: Vec<_> = effects.iter().zip(&images).map(|(effect, image)| effect.touched(image.as_deref())).collect();
            commands.push(self.scripts(link).apply(change.stripe, applied, &touched));
        }
    }

    /// The fast path, in this order: how far it reaches; then each lease before its value, in one command; and the tags.
    fn remove(&self, link: &Link, stripe: Stripe, removals: &Removals, commands: &mut Vec<redis::Cmd>) {
        if let Some(generation) = self.generation(stripe) {
            commands.push(self.scripts(link).raise(stripe, generation, removals.hi));
        }
        let keys: Vec<String> = removals.keys.iter().flat_map(|key| [self.stripes.lease(key), self.stripes.value(key)]).collect();
        commands.extend(keys.chunks(UNLINK_LEN_MAX).map(|keys| {
            let mut command = redis::cmd("UNLINK");
            command.arg(keys);
            command
        }));
        let tags: Vec<_> = removals.tags.iter().map(|tag| (tag, TagVersion::random())).collect();
        commands.extend(tags.chunks(UNLINK_LEN_MAX).map(|tags| self.scripts(link).touch(tags)));
    }

    /// Waits until as many replicas as are configured have what was sent before.
    async fn await_replicas(&self, link: &Link) -> Result<(), LinkError> {
        if self.replicas.count == 0 {
            return Ok(());
        }
        let mut command = redis::cmd("WAIT");
        command.arg(self.replicas.count).arg(self.replicas.timeout.as_millis().to_string());
        let confirmed: u32 = link.call(&command).await?;
        if confirmed >= self.replicas.count { Ok(()) } else { Err(LinkError::Silent) }
    }

    /// Fences everything for a transaction that is too large to be held, before the first of its parts is removed.
    async fn begin_giant(&mut self, narrow: NarrowXid) -> Result<Giant, ApplyError> {
        // Its end comes with its commit only; until then a position of the log sampled after its beginning, which is later.
        let poll = self.polls.fresh().await?;
        let giant = Giant { xid: narrow.widen(&poll.snapshot), end: poll.insert, touched: 0 };
        if poll.source != self.session.source {
            return Err(ApplyError::SourceChanged { from: self.session.source, to: poll.source });
        }
        self.ledger.note(giant.xid, giant.end, self.everything());
        loop {
            let link = self.link().await?;
            let command = |state: &crate::applier::StripeState| {
                let applied = Applied { generation: state.generation, xid: giant.xid, end: giant.end };
                self.scripts(&link).apply(state.stripe, applied, &[Touched::Everything])
            };
            let commands: Vec<_> = self.states.iter().map(command).collect();
            match self.scripts(&link).send(&commands).await {
                Ok(()) => return Ok(giant),
                Err(error) => self.pause_after(error).await?,
            }
        }
    }

    /// Empties every stripe for a change that touches everything: TRUNCATE, or DDL that rewrites.
    async fn bump(&mut self, xid: Xid, end: Lsn) -> Result<(), ApplyError> {
        counter!(names::BUMPED).increment(1);
        self.ledger.note(xid, end, self.everything());
        for index in 0..self.states.len() {
            self.bump_stripe(index, xid, end).await?;
        }
        self.trail.say_all(trail::Effect::Bump, None, Some((xid, end)));
        Ok(())
    }

    async fn bump_stripe(&mut self, index: usize, xid: Xid, end: Lsn) -> Result<(), ApplyError> {
        let new = Generation::random();
        loop {
            let link = self.link().await?;
            let state = &self.states[index];
            // Without its fences a stripe takes nothing, and yet serves what it has while its control record stands.
            let Some(generation) = state.generation else { return self.close(index).await };
            let stripe = state.stripe;
            let applied = Applied { generation: Some(generation), xid, end };
            match self.scripts(&link).bump(stripe, new, applied).await {
                Ok(Ok(())) => {
                    self.bumped(index, new);
                    return Ok(());
                }
                Ok(Err(freshline::coherence::Closed)) => {
                    // An earlier try whose reply was lost had done it; or its fences are gone, and what stands there would be served on.
                    let stands = self.control(&link, stripe).await?.map(|control| control.generation);
                    if stands != Some(new) {
                        return self.close(index).await;
                    }
                    self.bumped(index, new);
                    return Ok(());
                }
                Err(error) => self.pause_after(error).await?,
            }
        }
    }

    fn bumped(&mut self, index: usize, new: Generation) {
        let state = &mut self.states[index];
        // What was published under the old generation says nothing about the new one.
        (state.generation, state.published) = (Some(new), None);
    }

    fn everything(&self) -> Vec<(Stripe, String)> {
        self.states.iter().map(|state| (state.stripe, WILDCARD_FIELD.to_owned())).collect()
    }

    fn generation(&self, stripe: Stripe) -> Option<Generation> {
        self.states[self.shard.index(stripe)].generation
    }
}

/// A transaction that is applied as it comes.
#[derive(Debug, Clone, Copy)]
pub struct Giant {
    xid: Xid,
    /// A position known to be later than its commit.
    end: Lsn,
    /// How many dependencies it has touched so far.
    touched: usize,
}

fn is_backlog(work: &[Work]) -> bool {
    let effects = |work: &Work| match work {
        Work::Whole { effects, .. } | Work::GiantPart(effects) => effects.len(),
        _ => 0,
    };
    work.iter().map(effects).sum::<usize>() > BACKLOG_MIN
}

impl Batch {
    /// What has been gathered so far.
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self { is_backlog: self.is_backlog, ..Self::default() })
    }

    /// Counts what has been confirmed.
    fn count(&self) {
        let effects = || self.scripted.iter().flat_map(|scripted| &scripted.effects);
        let refreshed = effects().filter(|effect| matches!(effect, Effect::Key(_, Some(_)))).count();
        let invalidated = effects().filter(|effect| matches!(effect, Effect::Key(_, None))).count();
        let tags = effects().filter(|effect| matches!(effect, Effect::Tag(_))).count();
        let removed: usize = self.removals.values().map(|removals| removals.keys.len()).sum();
        let touched: usize = self.removals.values().map(|removals| removals.tags.len()).sum();
        for (action, count) in [("refresh", refreshed), ("invalidate", invalidated + removed), ("tag", tags + touched)] {
            counter!(names::CHANGES_APPLIED, "action" => action).increment(count as u64);
        }
        counter!(names::TRANSACTIONS_APPLIED).increment(self.commits.len() as u64);
    }

    fn removals_of(&mut self, applier: &Applier, effects: Vec<Effect>, end: Lsn) {
        for effect in effects {
            let removals = self.removals.entry(applier.stripes.of(effect.name())).or_default();
            removals.hi = removals.hi.max(end);
            match effect {
                Effect::Key(key, _) => drop(removals.keys.insert(key)),
                Effect::Tag(tag) => drop(removals.tags.insert(tag)),
            }
        }
    }
}

impl Effect {
    /// The dependency that it touches.
    pub fn name(&self) -> &str {
        match self {
            Self::Key(key, _) => key.as_str(),
            Self::Tag(tag) => tag.as_str(),
        }
    }

    fn fence_field(&self) -> String {
        match self {
            Self::Key(key, _) => Dependency::Key(key.clone()).fence_field(),
            Self::Tag(tag) => Dependency::Tag(tag.clone()).fence_field(),
        }
    }

    /// The entry that replaces an older one, where the change has the whole row and there is a generation to write it in.
    fn image(&self, generation: Option<Generation>, end: Lsn) -> Option<Vec<u8>> {
        match self {
            Self::Key(_, Some(image)) => image.entry(generation?, end),
            Self::Key(_, None) | Self::Tag(_) => None,
        }
    }

    fn touched<'a>(&'a self, image: Option<&'a [u8]>) -> Touched<'a> {
        match self {
            Self::Key(key, _) => Touched::Key(key, image),
            Self::Tag(tag) => Touched::Tag(tag, TagVersion::random()),
        }
    }
}
