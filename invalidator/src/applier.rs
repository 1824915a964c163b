//! The applier: the only one who applies changes. Its state, and what it may believe about each stripe.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use freshline::{
    change::Beginning,
    coherence::{Control, Generation, Link, LinkError, Links, Lsn, Run, Scripts, Snapshot, Source, Stripe, Stripes},
    fault::{Classified, Kind},
    shard::Shard,
    trail::Effect,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ledger::Ledger,
    poll::{Poll, PollerGone, Polls},
    trail::Trail,
};

/// Without a snapshot of the primary for so long, changes are no longer remembered one by one (protocol.md, open).
pub const BLIND_AFTER: Duration = Duration::from_secs(2);
/// Without one for so long the session ends. A fast shutdown of Postgres waits until its last commits are acknowledged, which they are
/// only when they are seen, which a server that is shutting down does not show.
pub const SILENT_AFTER: Duration = Duration::from_secs(5);
/// How long to wait before asking a Redis again that refused.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Applies changes within one session with a source. A new session has a new applier, which remembers nothing.
pub struct Applier {
    pub(crate) links: Links,
    pub(crate) polls: Polls,
    pub(crate) stripes: Stripes,
    pub(crate) shard: Shard,
    pub(crate) states: Vec<StripeState>,
    pub(crate) ledger: Ledger,
    pub(crate) session: Session,
    pub(crate) poll: Poll,
    pub(crate) replicas: Replicas,
    pub(crate) trail: Trail,
    pub(crate) stop: CancellationToken,
}

/// What is known of the session with the source when the applier begins.
#[derive(Debug, Clone)]
pub struct Session {
    /// The history that the stream comes from.
    pub source: Source,
    /// Where the stream begins, where the source knows.
    pub start: Option<Lsn>,
    /// The log's end, sampled after the stream had started: to be reached before a stripe is opened, or to be told as reached.
    pub catch_up_to: Lsn,
    /// What is never delivered: all of it has to be in the snapshot that a stripe is opened with.
    pub begins_after: Vec<Beginning>,
}

/// How many Redis replicas have to confirm before a change counts as applied.
#[derive(Debug, Clone, Copy)]
pub struct Replicas {
    /// 0: none.
    pub count: u32,
    /// How long to wait for them.
    pub timeout: Duration,
}

/// What the applier believes about one stripe.
#[derive(Debug, Clone)]
pub struct StripeState {
    pub stripe: Stripe,
    /// The generation that stands there open under this applier. `None`: closed, nobody can lease or be served.
    pub generation: Option<Generation>,
    /// The Redis process in which it does.
    pub run: Option<Run>,
    /// The snapshot that publish answered, in this session and generation: what the fast path goes by.
    pub published: Option<Arc<Snapshot>>,
}

/// Why a session with the source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The process stops.
    #[error("stopped")]
    Stopped,
    /// Redis refuses for good.
    #[error("cannot apply to Redis")]
    Redis(#[source] LinkError),
    /// The primary crashed or was promoted: xids may mean other transactions from here on.
    #[error("the primary's history changed from {from} to {to}")]
    SourceChanged { from: Source, to: Source },
    /// The primary has not been seen for so long that the session has to end: a server that is shutting down waits for it.
    #[error("the primary has not answered a poll for {} s", SILENT_AFTER.as_secs())]
    PrimarySilent,
    /// The cache belongs to a later timeline of this system.
    #[error("this primary was deposed: the cache follows a later timeline than {0}")]
    Deposed(Source),
}

impl Classified for ApplyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Stopped | Self::SourceChanged { .. } | Self::PrimarySilent => Kind::Transient,
            Self::Redis(error) => error.kind(),
            Self::Deposed(_) => Kind::Permanent,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Deposed(_) => Some("point FRESHLINE_DATABASE_URL at the primary that was promoted".into()),
            Self::Redis(error) => error.remedy(),
            Self::Stopped | Self::SourceChanged { .. } | Self::PrimarySilent => None,
        }
    }
}

impl From<PollerGone> for ApplyError {
    fn from(_: PollerGone) -> Self {
        Self::Stopped
    }
}

impl StripeState {
    fn closed(stripe: Stripe) -> Self {
        Self { stripe, generation: None, run: None, published: None }
    }

    /// Nothing that was known of the stripe holds any more.
    pub(crate) fn lose(&mut self) {
        (self.generation, self.published) = (None, None);
    }
}

impl Applier {
    /// An applier for a new session. Adopts what its predecessor left open, where that can be trusted; closes what cannot.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub async fn begin(
        (links, polls, trail): (Links, Polls, Trail),
        (stripes, shard): (Stripes, Shard),
        session: Session,
        poll: Poll,
        replicas: Replicas,
        stop: CancellationToken,
    ) -> Result<Self, ApplyError> {
        let states = shard.stripes(&stripes).map(StripeState::closed).collect();
        let ledger = Ledger::new(session.start.unwrap_or(Lsn::ZERO));
        let mut applier = Self { links, polls, stripes, shard, states, ledger, session, poll, replicas, trail, stop };
        for index in 0..applier.states.len() {
            applier.adopt(index).await?;
        }
        Ok(applier)
    }

    /// Decides what to believe of a stripe at the beginning of a session.
    async fn adopt(&mut self, index: usize) -> Result<(), ApplyError> {
        let (link, stripe) = (self.link().await?, self.states[index].stripe);
        let Some(control) = self.control(&link, stripe).await? else { return Ok(()) };
        if control.source.deposes(&self.session.source) {
            return Err(ApplyError::Deposed(self.session.source));
        }
        if control.run != link.run() {
            return Ok(());
        }
        if control.source != self.session.source && self.session.begins_after.is_empty() {
            // Its xids mean other transactions: a new generation before anything is applied.
            return self.open(index, "history").await;
        }
        let skipped = self.session.start.filter(|start| control.position < *start);
        if let (Some(start), []) = (skipped, self.session.begins_after.as_slice()) {
            // The slot begins later than what has been applied: it was made anew, or moved on by somebody else.
            tracing::warn!(applied = %control.position, slot = %start, "the slot has skipped changes");
            self.session.begins_after.push(Beginning::Over(self.poll.snapshot.xmax()));
        }
        if !self.session.begins_after.is_empty() {
            // Something was never delivered. Closing is always safe.
            return self.close(index).await;
        }
        let state = &mut self.states[index];
        (state.generation, state.run) = (Some(control.generation), Some(control.run));
        self.settle_leftovers(&link, stripe, control.generation).await
    }

    /// Removes the control record and the fences of a stripe: nothing is served or filled until it is opened again.
    pub(crate) async fn close(&mut self, index: usize) -> Result<(), ApplyError> {
        let stripe = self.states[index].stripe;
        self.states[index].lose();
        let mut command = redis::cmd("DEL");
        command.arg(self.stripes.ctl(stripe)).arg(self.stripes.fences(stripe));
        loop {
            let link = self.link().await?;
            match link.call::<u64>(&command).await {
                Ok(_) => {
                    self.trail.say_all(Effect::Closed, Some(stripe.number()), None);
                    return Ok(());
                }
                Err(error) => self.pause_after(error).await?,
            }
        }
    }

    /// What the control record of a stripe says.
    pub(crate) async fn control(&self, link: &Link, stripe: Stripe) -> Result<Option<Control>, ApplyError> {
        let mut command = redis::cmd("MGET"); // and not GET, to which another type under the key is an error
        command.arg(self.stripes.ctl(stripe));
        loop {
            match link.call::<(Option<Vec<u8>>,)>(&command).await {
                Ok((bytes,)) => return Ok(bytes.and_then(|bytes| Control::decode(&bytes))),
                Err(error) => self.pause_after(error).await?,
            }
        }
    }

    /// A link to Redis; waits until there is one. What was known of another Redis process is lost.
    pub(crate) async fn link(&mut self) -> Result<Link, ApplyError> {
        let link = self.stop.run_until_cancelled(self.links.ready()).await.flatten().ok_or(ApplyError::Stopped)?;
        for state in self.states.iter_mut().filter(|state| state.run.is_some_and(|run| run != link.run())) {
            state.lose();
        }
        Ok(link)
    }

    /// Waits a moment after an error that may pass.
    ///
    /// # Errors
    /// [`ApplyError::Redis`] for one that stays, [`ApplyError::Stopped`] when the process stops.
    pub(crate) async fn pause_after(&self, error: LinkError) -> Result<(), ApplyError> {
        if error.kind() != Kind::Transient {
            return Err(ApplyError::Redis(error));
        }
        tracing::debug!(error = &error as &dyn std::error::Error, "Redis did not take it; sending it again");
        self.stop.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await.ok_or(ApplyError::Stopped)
    }

    /// The operations on a link.
    pub(crate) fn scripts<'a>(&'a self, link: &'a Link) -> Scripts<'a> {
        Scripts::new(link, &self.stripes)
    }

    /// How long ago the primary was last seen.
    pub(crate) fn poll_age(&self) -> Duration {
        Instant::now().duration_since(self.poll.taken)
    }
}
