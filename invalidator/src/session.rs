//! One session with the source after another: connect, read and plan, apply and publish, acknowledge.

use freshline::{
    admin::Readiness,
    change::Place,
    clock::now_us,
    coherence::{Links, Stripes},
    fault::{Classified, Kind},
    retry::{GivenUp, Policy, Retry},
    shard::Shard,
    telemetry::names,
};
use metrics::{counter, gauge};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    applier::{Applier, ApplyError, Replicas, SILENT_AFTER, Session},
    apply::Giant,
    plan::Planner,
    poll::Polls,
    source::{Source, Stream},
    trail::Trail,
    transaction::{Assembler, Work},
};

/// Batches planned and not yet applied. Full: the source is not read, and Postgres keeps the log.
const BATCHES_IN_FLIGHT_MAX: usize = 4;

/// The condition that every stripe of the cache is open.
pub const CACHE: &str = "cache";

/// What every session of the process shares.
pub struct Sessions {
    /// Redis.
    pub links: Links,
    /// The primary's snapshots.
    pub polls: Polls,
    /// How names are laid out.
    pub stripes: Stripes,
    /// Which of them are ours.
    pub shard: Shard,
    /// What maps changes to dependencies.
    pub planner: Planner,
    /// How many replicas have to confirm.
    pub replicas: Replicas,
    /// Where it is told whether the cache is open.
    pub readiness: Readiness,
    /// Where it is told what was done.
    pub trail: Trail,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError<E: Classified + 'static> {
    /// The source cannot go on.
    #[error("the change stream broke")]
    Source(#[source] E),
    /// The applier cannot go on.
    #[error("changes cannot be applied")]
    Apply(#[source] ApplyError),
}

impl<E: Classified + 'static> Classified for SessionError<E> {
    fn kind(&self) -> Kind {
        match self {
            Self::Source(error) => error.kind(),
            Self::Apply(error) => error.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.remedy(),
            Self::Apply(error) => error.remedy(),
        }
    }
}

impl<E: Classified + 'static> From<ApplyError> for SessionError<E> {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}

impl Sessions {
    /// Holds sessions with a source until `stop`, one after another.
    ///
    /// # Errors
    /// What will not pass by itself.
    pub async fn run<S: Source>(mut self, mut source: S, stop: CancellationToken) -> Result<(), GivenUp<SessionError<S::Error>>> {
        let mut retry = Retry::new("the change stream", Policy::FOR_EVER);
        while !stop.is_cancelled() {
            let ended = self.session(&mut source, &mut retry, &stop).await;
            self.readiness.unready(CACHE, "no session with the source");
            // What is known of them ended with the session.
            gauge!(names::STRIPES_CLOSED).set(self.shard.stripes(&self.stripes).count() as f64);
            gauge!(names::FRESHNESS).set(f64::NAN);
            match ended {
                Ok(()) | Err(SessionError::Apply(ApplyError::Stopped)) => {}
                Err(error) => match retry.failed(error, &stop).await {
                    Ok(()) => counter!(names::RECONNECTS, "to" => "source").increment(1),
                    Err(GivenUp::Stopped { .. }) => {}
                    Err(given_up) => return Err(given_up),
                },
            }
        }
        Ok(())
    }

    async fn session<S: Source>(
        &mut self,
        source: &mut S,
        retry: &mut Retry,
        stop: &CancellationToken,
    ) -> Result<(), SessionError<S::Error>> {
        let mut polls = self.polls.clone();
        let before = polls.fresh().await.map_err(ApplyError::from)?;
        let Some(connected) = stop.run_until_cancelled(source.connect(before.source)).await else { return Ok(()) };
        let connected = connected.map_err(SessionError::Source)?;
        // Sampled after the stream had started; the same history before and after proves that the stream is of it.
        let poll = polls.fresh().await.map_err(ApplyError::from)?;
        if poll.source != before.source {
            return Err(ApplyError::SourceChanged { from: before.source, to: poll.source }.into());
        }
        info!(source = %poll.source, "the change stream begins at {}", connected.place);
        retry.succeeded();
        let (start, begins_after) = (connected.start, connected.begins_after);
        let session = Session { source: poll.source, start, catch_up_to: poll.insert, begins_after };
        let to_redis = (self.links.clone(), polls, self.trail.clone());
        let layout = (self.stripes.clone(), self.shard);
        let applier = Applier::begin(to_redis, layout, session, poll, self.replicas, stop.clone()).await?;
        let (work_sender, work) = mpsc::channel(BATCHES_IN_FLIGHT_MAX);
        let (acknowledgement, acknowledged) = watch::channel(Place::default());
        let reading =
            read(connected.stream, &mut self.planner, Assembler::new(self.stripes.clone(), self.shard), work_sender, acknowledged);
        tokio::select! {
            ended = reading => ended.map_err(SessionError::Source),
            ended = drive(applier, work, acknowledgement, &self.readiness) => ended.map_err(SessionError::Apply),
            () = stop.cancelled() => Ok(()),
        }
    }
}

/// Reads the stream, plans, and hands work on; tells the stream what was acknowledged.
async fn read<S: Stream>(
    mut stream: S,
    planner: &mut Planner,
    mut assembler: Assembler,
    work_sender: mpsc::Sender<Vec<Work>>,
    mut acknowledged: watch::Receiver<Place>,
) -> Result<(), S::Error> {
    let mut events = Vec::new();
    loop {
        tokio::select! {
            batch = stream.next_batch(&mut events) => batch?,
            Ok(()) = acknowledged.changed() => stream.acknowledge(*acknowledged.borrow_and_update()),
        }
        let mut work = Vec::new();
        assembler.received(Some(now_us()));
        for event in events.drain(..) {
            planner.plan(event, &mut |step| assembler.take(step, &mut work));
        }
        assembler.flush(&mut work);
        if !work.is_empty() && work_sender.send(work).await.is_err() {
            debug!("the applier has ended");
            return Ok(());
        }
    }
}

/// Applies work as it comes, and takes each poll between batches.
async fn drive(
    mut applier: Applier,
    mut work: mpsc::Receiver<Vec<Work>>,
    acknowledgement: watch::Sender<Place>,
    readiness: &Readiness,
) -> Result<(), ApplyError> {
    let mut polls = applier.polls.clone();
    let mut giant: Option<Giant> = None;
    loop {
        let silent_after = SILENT_AFTER.saturating_sub(applier.poll_age());
        tokio::select! {
            biased; // a backlog must not keep the polls from being heard: at most one is pending
            poll = polls.next() => {
                if let Some(place) = applier.take_poll(poll?).await? {
                    acknowledgement.send_replace(place);
                }
                applier.report(readiness);
            }
            () = tokio::time::sleep(silent_after) => return Err(ApplyError::PrimarySilent),
            batch = work.recv() => match batch {
                Some(batch) => applier.apply(batch, &mut giant).await?,
                None => return Ok(()),
            },
        }
    }
}
