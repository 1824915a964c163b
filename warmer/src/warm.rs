//! Chunks of ids into the cache: lease, one read, fill. Nothing else ever changes the cache here, so nothing newer is overwritten.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use freshline::{
    cache::{Cache, CacheError, FillOutcome, Loaded, Warmed},
    catalog::{DatabaseError, Reads, keys},
    fault::{Classified, Kind},
    retry::{GivenUp, Policy, Retry},
    telemetry::trace::Span,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    gate::{Gate, Shut},
    rate::Rate,
    tally::Tally,
};

/// How many refused ids are kept, to be offered once more at the end: 3 MB. Further ones are counted as refused at once.
const AGAIN_MAX: usize = 100_000;

/// How long a chunk that the cache did not take waits, longer than a stripe that was found closed is left alone.
const AWAY_PAUSE: Duration = Duration::from_millis(100);

/// Offers chunks to the cache, and counts what becomes of each id.
pub struct Warmer {
    /// The cache.
    pub cache: Cache,
    /// The rows.
    pub reads: Reads,
    /// Asked when the cache does not answer, or takes nothing.
    pub gate: Gate,
    /// How many ids per second, if there is a limit.
    pub rate: Option<Rate>,
    /// What became of each id.
    pub tally: Arc<Tally>,
    /// How long a chunk may be tried.
    pub wait: Duration,
    /// Once cancelled, chunks under way are finished and no other is begun.
    pub stop: CancellationToken,
    /// What may be offered once more.
    pub again: Again,
}

/// Why the run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WarmError {
    /// Rows cannot be read.
    #[error(transparent)]
    Read(#[from] GivenUp<CacheError<DatabaseError>>),
    /// The cache is away.
    #[error(transparent)]
    Shut(#[from] Shut),
    /// It looks open, and takes nothing.
    #[error("the cache is open and has taken none of the fills of a chunk for {} s", .0.as_secs())]
    Stuck(Duration),
}

impl Classified for WarmError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Shut(error) => error.kind(),
            Self::Stuck(_) => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.remedy().or_else(|| {
                Some(
                    "where Postgres is well and only slow: take smaller chunks (--chunk) or a longer FRESHLINE_LEASE_TTL_MS".into(),
                )
            }),
            Self::Shut(error) => error.remedy(),
            Self::Stuck(_) => Some("look above for what Redis answers: it may be out of memory, or a replica".into()),
        }
    }
}

impl Warmer {
    /// Takes chunks and offers them, until there are no more or the run is to end. Several may work on the same chunks.
    ///
    /// # Errors
    /// [`WarmError`]: then the others are told to end.
    pub async fn work(&self, chunks: Arc<tokio::sync::Mutex<mpsc::Receiver<Vec<Uuid>>>>) -> Result<(), WarmError> {
        let next = async || chunks.lock().await.recv().await;
        while let Some(Some(chunk)) = self.stop.run_until_cancelled(next()).await {
            if let Err(error) = self.offer(chunk).await {
                self.stop.cancel();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Offers a chunk until the cache has taken or refused each id of it. Not raced with `stop` while the cache is there.
    async fn offer(&self, mut ids: Vec<Uuid>) -> Result<(), WarmError> {
        if let Some(rate) = &self.rate
            && self.stop.run_until_cancelled(rate.pass(ids.len())).await.is_none()
        {
            return Ok(());
        }
        let deadline = Instant::now() + self.wait;
        loop {
            let Some(outcomes) = traced(&ids, self.lease_read_fill(&ids)).await? else { return Ok(()) };
            let away = self.count(&ids, outcomes);
            if away.is_empty() {
                return Ok(());
            }
            match self.until_there(deadline).await {
                Ok(true) => ids = away.into_iter().map(|(id, _)| id).collect(),
                given_up => {
                    away.into_iter().for_each(|(_, outcome)| self.count_away(outcome));
                    return given_up.map(drop);
                }
            }
        }
    }

    /// Waits until the cache is there. False if the run was stopped before.
    async fn until_there(&self, deadline: Instant) -> Result<bool, WarmError> {
        if self.stop.run_until_cancelled(sleep(AWAY_PAUSE)).await.is_none() || !self.gate.opened().await? {
            return Ok(false);
        }
        if Instant::now() < deadline { Ok(true) } else { Err(WarmError::Stuck(self.wait)) }
    }

    /// Counts what became of the ids. Answers with those for which the cache was not there.
    fn count(&self, ids: &[Uuid], outcomes: Vec<Outcome>) -> Vec<(Uuid, FillOutcome)> {
        let mut away = Vec::new();
        for (id, outcome) in ids.iter().zip(outcomes) {
            match outcome {
                Outcome::Absent => self.tally.absent(),
                Outcome::Other(Warmed::Filled) => self.tally.filled(),
                Outcome::Other(Warmed::AlreadyThere) => self.tally.already_there(),
                Outcome::Other(
                    Warmed::Refused(outcome @ FillOutcome::Closed) | Warmed::Failed(outcome @ FillOutcome::Unreachable),
                ) => away.push((*id, outcome)),
                Outcome::Other(Warmed::Refused(outcome)) => {
                    if !self.again.keep(*id, outcome) {
                        self.tally.refused(outcome);
                    }
                }
                Outcome::Other(Warmed::Failed(outcome)) => self.tally.failed(outcome),
            }
        }
        away
    }

    fn count_away(&self, outcome: FillOutcome) {
        match Warmed::from(outcome) {
            Warmed::Failed(outcome) => self.tally.failed(outcome),
            Warmed::Refused(_) | Warmed::Filled | Warmed::AlreadyThere => self.tally.refused(outcome),
        }
    }

    /// Offers a chunk once; again only where Postgres did not answer, for a while. `None` if the run was stopped meanwhile.
    async fn lease_read_fill(&self, ids: &[Uuid]) -> Result<Option<Vec<Outcome>>, WarmError> {
        let policy = Policy { base: Duration::from_millis(100), cap: Duration::from_secs(1), deadline: Some(self.wait) };
        let mut retry = Retry::new("the read of products", policy);
        loop {
            match self.try_lease_read_fill(ids).await {
                Ok(outcomes) => return Ok(Some(outcomes)),
                Err(error) => match retry.failed(error, &self.stop).await {
                    Ok(()) => {}
                    Err(GivenUp::Stopped { .. }) => return Ok(None),
                    Err(given_up) => {
                        self.tally.unread(ids.len());
                        return Err(given_up.into());
                    }
                },
            }
        }
    }

    async fn try_lease_read_fill(&self, ids: &[Uuid]) -> Result<Vec<Outcome>, CacheError<DatabaseError>> {
        let keys: Vec<_> = ids.iter().map(|id| keys::product(*id)).collect();
        let absent = Mutex::new(vec![false; ids.len()]);
        let load = async |wanted: Vec<usize>| {
            let leased: Vec<_> = wanted.iter().map(|at| ids[*at]).collect();
            let read = self.reads.products(&leased).await?;
            let mut absent = absent.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, product) in wanted.iter().zip(&read.value) {
                absent[*at] = product.is_none();
            }
            let bodies = read.value.into_iter().map(|product| product.map(|product| product.body)).collect();
            Ok(Loaded { value: bodies, proof: read.proof })
        };
        let warmed = self.cache.warm(&keys, load).await?;
        let absent = absent.into_inner().unwrap_or_else(PoisonError::into_inner);
        let outcomes = warmed.into_iter().zip(absent).map(|(warmed, is_absent)| match warmed {
            Warmed::Filled if is_absent => Outcome::Absent,
            warmed => Outcome::Other(warmed),
        });
        Ok(outcomes.collect())
    }
}

/// What became of an id.
enum Outcome {
    /// It was filled, with the knowledge that there is no such row.
    Absent,
    /// Anything else.
    Other(Warmed),
}

/// Ids that the protocol refused, and may take a moment later: another fills them, or a change is not visible yet.
#[derive(Default)]
pub struct Again(Mutex<Vec<(Uuid, FillOutcome)>>);

impl Again {
    /// Keeps an id, if there is room.
    fn keep(&self, id: Uuid, outcome: FillOutcome) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = kept.len() < AGAIN_MAX;
        if has_room {
            kept.push((id, outcome));
        }
        has_room
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// What is kept. Nothing is after this.
    pub fn take(&self) -> Vec<(Uuid, FillOutcome)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Awaits the work on a chunk; its steps are parts of a span, if it is one of those that are traced.
async fn traced<F: Future>(ids: &[Uuid], work: F) -> F::Output {
    let Some(mut span) = Span::root("chunk.warm") else { return work.await };
    span.tell("freshline.chunk.len", ids.len() as i64);
    span.scope(work).await
}
