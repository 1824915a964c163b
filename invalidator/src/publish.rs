//! What the applier tells Redis and the source after each poll: what is visible, how far it has come, what it no longer needs.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use freshline::{
    admin::Readiness,
    change::Place,
    coherence::{Closed, Dependency, Generation, Link, LinkError, Open, Opening, Progress, Stripe},
    telemetry::names,
    trail::Effect,
};
use metrics::{counter, gauge};
use tracing::{info, warn};

use crate::{
    applier::{Applier, ApplyError, StripeState},
    ledger::Mark,
    poll::Poll,
    session::CACHE,
};

/// Fields that one settle may look at (protocol.md): its run stays below a millisecond.
const SETTLE_LEN_MAX: usize = 256;
/// How long a sample of the log's end may wait for the walsender before the log is nudged.
const NUDGE_PATIENCE: Duration = Duration::from_millis(500);

impl Applier {
    /// Takes a poll: publishes and settles, opens what is closed and may be opened. Answers with what may be acknowledged to the source.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn take_poll(&mut self, poll: Poll) -> Result<Option<Place>, ApplyError> {
        if poll.source != self.session.source {
            return Err(ApplyError::SourceChanged { from: self.session.source, to: poll.source });
        }
        if let Some((run, time)) = poll.clock {
            self.ledger.mark(Mark { run, time, insert: poll.insert, taken: poll.taken });
        }
        if self.ledger.needs_nudge(Instant::now(), NUDGE_PATIENCE) {
            self.polls.nudge();
        }
        self.poll = poll;
        if self.links.get().is_none() {
            return Ok(None);
        }
        let link = self.link().await?;
        match self.tell(&link).await? {
            // Nobody would know of the hole any more: a successor has to find it again, unless everything is open.
            Ok(()) if !self.session.begins_after.is_empty() => Ok(None),
            Ok(()) => Ok(self.ledger.acknowledgeable(&self.poll.snapshot)),
            // The next poll says it again.
            Err(error) => self.pause_after(error).await.map(|()| None),
        }
    }

    /// Publishes in every stripe, opening those that are closed, and settles what the poll saw.
    async fn tell(&mut self, link: &Link) -> Result<Result<(), LinkError>, ApplyError> {
        for index in 0..self.states.len() {
            if let Err(error) = self.publish(link, index).await {
                return Ok(Err(error));
            }
            if self.states[index].generation.is_none() && self.open_if_caught_up(index).await? {
                // Opening says nothing about time; publishing does.
                if let Err(error) = self.publish(link, index).await {
                    return Ok(Err(error));
                }
            }
        }
        if self.states.iter().all(|state| state.generation.is_some()) {
            self.session.begins_after.clear();
        }
        self.trail.begin();
        let (mut told, trail) = (Vec::new(), &mut self.trail);
        let settled = self.ledger.see(&self.poll.snapshot, |xid, field| {
            // What is said of everything is said as a bump.
            if let Some(name) = Dependency::name_of(field) {
                trail.note_visible(&mut told, xid, name);
            }
        });
        let done = self.settle(link, settled).await;
        if done.is_ok() {
            self.trail.say(told);
        }
        Ok(done)
    }

    /// Publishes in one stripe, if it is open; notices if it is not any more.
    async fn publish(&mut self, link: &Link, index: usize) -> Result<(), LinkError> {
        let state = &self.states[index];
        let (Some(generation), stripe) = (state.generation, state.stripe) else { return Ok(()) };
        let at = self.ledger.at(link.run());
        let progress = Progress { snapshot: &self.poll.snapshot, position: self.ledger.position(), at };
        match self.scripts(link).publish(stripe, generation, progress).await? {
            Ok(snapshot) => self.states[index].published = Some(Arc::new(snapshot)),
            Err(Closed) => {
                info!(stripe = stripe.number(), "the cache is closed: its control record or its fences are gone, or another's");
                self.states[index].lose();
            }
        }
        Ok(())
    }

    async fn settle(&self, link: &Link, settled: BTreeMap<Stripe, Vec<String>>) -> Result<(), LinkError> {
        for (stripe, fields) in settled {
            let Some(generation) = self.states[self.shard.index(stripe)].generation else { continue };
            for fields in fields.chunks(SETTLE_LEN_MAX) {
                // Closed by now: the next publish notices, and open writes the fences anew.
                if self.scripts(link).settle(stripe, generation, fields).await?.is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Tells whoever watches this process how it stands.
    pub(crate) fn report(&mut self, readiness: &Readiness) {
        let closed = self.states.iter().filter(|state| state.generation.is_none()).count();
        gauge!(names::STRIPES_CLOSED).set(closed as f64);
        match closed {
            0 => readiness.ready(CACHE),
            _ => readiness.unready(CACHE, format!("{closed} of {} stripes are closed", self.states.len())),
        }
        gauge!(names::FENCED_TRANSACTIONS).set(self.ledger.noted_len() as f64);
        gauge!(names::POSITION_LAG).set(self.poll.insert.get().saturating_sub(self.ledger.position().get()) as f64);
        if let Some((at, now)) = self.poll.clock.and_then(|(run, now)| Some((self.ledger.at(run)?, now))) {
            gauge!(names::FRESHNESS).set(at.age_at(now).as_secs_f64());
        }
    }

    /// Settles what a predecessor had published as visible, and died before it settled.
    pub(crate) async fn settle_leftovers(&self, link: &Link, stripe: Stripe, generation: Generation) -> Result<(), ApplyError> {
        let mut command = redis::cmd("HKEYS");
        command.arg(self.stripes.fences(stripe));
        let fields: Vec<String> = match link.call(&command).await {
            Ok(fields) => fields,
            // Left for the next session: a fence too many delays a fill, and no more.
            Err(error) => return self.pause_after(error).await,
        };
        let fields = fields.into_iter().filter(|field| !field.starts_with('.')).collect();
        match self.settle(link, BTreeMap::from([(stripe, fields)])).await {
            Ok(()) => Ok(()),
            Err(error) => self.pause_after(error).await,
        }
        .inspect(|()| tracing::debug!(generation = %generation, stripe = stripe.number(), "adopted what the predecessor left open"))
    }

    /// Opens a closed stripe if everything up to the log's end at the start of this session has been applied, so that all that is
    /// in the gap is known, the predecessor's work included.
    async fn open_if_caught_up(&mut self, index: usize) -> Result<bool, ApplyError> {
        let is_caught_up = self.ledger.position() >= self.session.catch_up_to;
        let holds_the_start = self.session.begins_after.iter().all(|beginning| beginning.is_in(&self.poll.snapshot));
        let may_open = is_caught_up && holds_the_start && self.ledger.may_open(&self.poll.snapshot);
        if may_open {
            self.open(index, "closed").await?;
        }
        Ok(may_open)
    }

    /// Opens a stripe under a new generation, with the fences of all that is noted and not yet visible.
    ///
    /// Does not end before it is known what stands there: an open whose reply was lost may have run, or may run late, and a change
    /// applied meanwhile would leave no fence. Each further try takes the place of what the one before may have opened.
    pub(crate) async fn open(&mut self, index: usize, reason: &'static str) -> Result<(), ApplyError> {
        let stripe = self.states[index].stripe;
        loop {
            let link = self.link().await?;
            let expected = self.control(&link, stripe).await?.map(|control| control.generation);
            let generation = Generation::random();
            match self.scripts(&link).open(stripe, &self.opening(stripe, expected, generation)).await {
                Ok(Open::Opened) => {
                    info!(stripe = stripe.number(), generation = %generation, source = %self.session.source, "the cache is open");
                    self.trail.say_all(Effect::Open, Some(stripe.number()), None);
                    counter!(names::OPENED, "reason" => reason).increment(1);
                    let published = Some(self.poll.snapshot.clone());
                    self.states[index] = StripeState { stripe, generation: Some(generation), run: Some(link.run()), published };
                    return Ok(());
                }
                Ok(Open::Raced) => warn!(stripe = stripe.number(), "another generation was opened meanwhile; looking again"),
                Ok(Open::Deposed) => return Err(ApplyError::Deposed(self.session.source)),
                Err(error) => self.pause_after(error).await?,
            }
        }
    }

    fn opening(&self, stripe: Stripe, expected: Option<Generation>, generation: Generation) -> Opening<'_> {
        Opening {
            expected,
            generation,
            source: self.session.source,
            snapshot: &self.poll.snapshot,
            hi: self.ledger.hi(),
            position: self.ledger.position(),
            fences: self.ledger.fences(stripe, &self.poll.snapshot),
        }
    }
}
