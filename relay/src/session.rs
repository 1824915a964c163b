//! One session with the source and the broker after another: read, write, publish, confirm.
//!
//! The slot is told to forget a commit only when all messages up to its last are stored. Which those are, the broker's last message
//! tells at the beginning of the next session: what it has is not published again.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use freshline::{
    admin::Readiness,
    change::Event,
    coherence::{Lsn, Source},
    envelope::Encoder,
    fault::{Classified, Kind},
    primary::{Primary, PrimaryError},
    replication::{self, BatchLimits, ReplicationError, Started, StreamSettings},
    retry::{GivenUp, Policy, Retry},
    telemetry::names,
};
use metrics::{counter, gauge};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    sink::{Last, Sink, SinkError, Stored, To},
    transaction::{Letter, Writer},
};

/// What one batch may hold.
const LIMITS: BatchLimits = BatchLimits { events_max: 1_024, bytes_max: 1 << 20 };

/// Messages sent and not yet known to be stored. Full: nothing is sent, the source is not read, and Postgres keeps the log.
pub const IN_FLIGHT_MAX: usize = 4_000;

/// How soon a position is told that no message carries: the bound on staleness waits for it.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(25);

/// How often the primary is looked at: its snapshot widens transaction ids, for which 2^31 of them may pass; its history must stay.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What every session of the process shares.
pub struct Sessions {
    /// The slot.
    pub stream: StreamSettings,
    /// The broker.
    pub to: To,
    /// Where it is told whether changes are published.
    pub readiness: Readiness,
}

/// The condition that changes are published.
const PUBLISHING: &str = "publishing";

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The source cannot go on.
    #[error("the change stream broke")]
    Source(#[source] ReplicationError),
    /// The primary cannot be asked.
    #[error("the primary cannot be followed")]
    Primary(#[source] PrimaryError),
    /// The primary crashed or was promoted.
    #[error("the primary's history changed from {from} to {to}")]
    SourceChanged {
        /// What it was.
        from: Source,
        /// What it is.
        to: Source,
    },
    /// The broker takes nothing.
    #[error("changes cannot be published")]
    Sink(#[source] SinkError),
}

impl Classified for SessionError {
    fn kind(&self) -> Kind {
        match self {
            Self::Source(error) => error.kind(),
            Self::Primary(error) => error.kind(),
            Self::SourceChanged { .. } => Kind::Transient,
            Self::Sink(error) => error.kind(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.remedy(),
            Self::Primary(error) => error.remedy(),
            Self::SourceChanged { .. } => None,
            Self::Sink(error) => error.remedy(),
        }
    }
}

impl Sessions {
    /// Holds sessions until `stop`, one after another.
    ///
    /// # Errors
    /// What will not pass by itself.
    pub async fn run(self, stop: CancellationToken) -> Result<(), GivenUp<SessionError>> {
        self.readiness.unready(PUBLISHING, "not begun yet");
        let mut retry = Retry::new("the relay", Policy::FOR_EVER);
        let mut has_lost = false;
        while !stop.is_cancelled() {
            let Some(ended) = stop.run_until_cancelled(self.session(&mut retry, &mut has_lost)).await else { break };
            self.readiness.unready(PUBLISHING, "no session with source and broker");
            let Err(error) = ended else { continue };
            has_lost |= matches!(&error, SessionError::Sink(error) if error.is_loss());
            match retry.failed(error, &stop).await {
                Ok(()) | Err(GivenUp::Stopped { .. }) => {}
                Err(given_up) => return Err(given_up),
            }
        }
        Ok(())
    }

    /// One session. Where the one before it found that the broker has lost messages, it says so before anything else.
    async fn session(&self, retry: &mut Retry, has_lost: &mut bool) -> Result<(), SessionError> {
        let mut primary = Primary::connect(&self.stream.server).await.map_err(SessionError::Primary)?;
        let before = primary.look().await.map_err(SessionError::Primary)?;
        let (sink, last) = self.to.connect().await.map_err(SessionError::Sink)?;
        let started = replication::start(&self.stream).await.map_err(SessionError::Source)?;
        // The same history before and after proves that the stream is of it.
        let look = primary.look().await.map_err(SessionError::Primary)?;
        if look.source != before.source {
            return Err(SessionError::SourceChanged { from: before.source, to: look.source });
        }
        let tables = primary.relations().await.map_err(SessionError::Primary)?;
        let database = self.stream.server.get_database().unwrap_or_default();
        let encoder = Encoder::new(self.to.name(), database, look.source);
        let writer = Writer::new(encoder, look.source, tables, sink.value_len_max());
        info!(source = %look.source, "publishing what Postgres changes after {}", started.start);
        let Started { stream, start, made } = started;
        let resume = last.as_ref().and_then(|last| last.id).filter(|id| id.history == look.source).map(|id| id.place());
        let mut session = Session {
            primary,
            history: look.source,
            snapshot: look.snapshot,
            sink,
            writer,
            stream,
            resume,
            stored: VecDeque::new(),
        };
        if let Some(snapshot) = made {
            warn!("the slot is new: what it will not stream may be missing from the broker");
            session.publish_one(session.writer.hole(start, Some(&snapshot), None)).await?;
        } else if *has_lost || !holds(last.as_ref(), start) {
            warn!("the broker lacks changes that it had: saying so");
            let over = session.snapshot.xmax();
            session.publish_one(session.writer.hole(start, None, Some(over))).await?;
        }
        *has_lost = false;
        retry.succeeded();
        self.readiness.ready(PUBLISHING);
        session.run().await
    }
}

/// Whether the broker has all that the slot was told to forget.
fn holds(last: Option<&Last>, confirmed: Lsn) -> bool {
    let Some(Last { id: Some(id), position }) = last else { return false };
    // What follows a confirmed commit has its own commit record above that one's end.
    position.unwrap_or(Lsn::ZERO).max(id.position) >= confirmed
}

/// A session under way.
struct Session {
    primary: Primary,
    history: Source,
    snapshot: Arc<freshline::coherence::Snapshot>,
    sink: Sink,
    writer: Writer,
    stream: replication::ChangeStream,
    /// The place of the last message of this history that the broker had at the beginning.
    resume: Option<(Lsn, u64)>,
    stored: VecDeque<Sent>,
}

/// A message that has been sent.
struct Sent {
    stored: Stored,
    confirms: Option<Lsn>,
}

impl Session {
    async fn run(&mut self) -> Result<(), SessionError> {
        let (mut events, mut letters) = (Vec::new(), Vec::new());
        let mut beats = interval(HEARTBEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut looked) = (Lsn::ZERO, Instant::now());
        let lost = self.sink.lost();
        loop {
            let position = self.stream.position();
            tokio::select! {
                biased;
                () = lost.cancelled() => return Err(SessionError::Sink(SinkError::Lost)),
                Some(stored) = next_stored(&mut self.stored) => self.confirm(stored?),
                batch = self.stream.next_batch(&mut events, LIMITS), if self.stored.len() < IN_FLIGHT_MAX => {
                    batch.map_err(SessionError::Source)?;
                    for event in events.drain(..) {
                        self.take(event, &mut letters).await?;
                    }
                    for letter in letters.drain(..) {
                        told = self.sink.confirms(&letter).unwrap_or(told).max(told);
                        self.make_room().await?;
                        self.publish(letter).await?;
                    }
                }
                _ = beats.tick(), if position > told && self.stored.len() < IN_FLIGHT_MAX => {
                    self.publish(self.writer.heartbeat(position, now_ms())).await?;
                    told = position;
                }
            }
            if looked.elapsed() >= LOOK_EVERY {
                self.look().await?;
                looked = Instant::now();
            }
        }
    }

    async fn take(&mut self, event: Event, letters: &mut Vec<Letter>) -> Result<(), SessionError> {
        if !self.writer.is_familiar(&event) {
            self.writer.renew(self.primary.relations().await.map_err(SessionError::Primary)?);
            self.writer.learn(&event);
        }
        self.writer.take(event, &self.snapshot, letters);
        Ok(())
    }

    /// Looks at the primary again.
    async fn look(&mut self) -> Result<(), SessionError> {
        let look = self.primary.look().await.map_err(SessionError::Primary)?;
        if look.source != self.history {
            return Err(SessionError::SourceChanged { from: self.history, to: look.source });
        }
        self.snapshot = look.snapshot;
        gauge!(names::POSITION_LAG).set(look.insert.get().saturating_sub(self.stream.position().get()) as f64);
        gauge!(names::RELAY_UNSTORED).set(self.stored.len() as f64);
        Ok(())
    }

    /// Waits until fewer messages are in flight than may be. A batch may bring more than there is room for, and a client that has room for
    /// no more waits for answers that nobody else takes.
    async fn make_room(&mut self) -> Result<(), SessionError> {
        while self.stored.len() >= IN_FLIGHT_MAX {
            let Some(stored) = next_stored(&mut self.stored).await else { return Ok(()) };
            self.confirm(stored?);
        }
        Ok(())
    }

    /// Publishes a message, unless the broker has it already.
    async fn publish(&mut self, letter: Letter) -> Result<(), SessionError> {
        let confirms = self.sink.confirms(&letter);
        if self.resume.is_some_and(|resume| letter.nonce.is_none() && letter.id.place() <= resume) {
            self.stored.push_back(Sent { stored: Box::pin(async { Ok(()) }), confirms });
            return Ok(());
        }
        let stored = self.sink.publish(letter).await.map_err(SessionError::Sink)?;
        counter!(names::RELAY_PUBLISHED).increment(1);
        self.stored.push_back(Sent { stored, confirms });
        Ok(())
    }

    /// Publishes a message and waits until it is stored.
    async fn publish_one(&mut self, letter: Letter) -> Result<(), SessionError> {
        self.sink.publish(letter).await.map_err(SessionError::Sink)?.await.map_err(SessionError::Sink)
    }

    fn confirm(&mut self, confirms: Option<Lsn>) {
        if let Some(position) = confirms {
            self.stream.acknowledge(position);
        }
    }
}

/// The first message that is not known to be stored: when it is, what it confirms. `None` where there is none. May be dropped.
async fn next_stored(sent: &mut VecDeque<Sent>) -> Option<Result<Option<Lsn>, SessionError>> {
    let first = sent.front_mut()?;
    let outcome = first.stored.as_mut().await;
    let confirms = sent.pop_front()?.confirms;
    Some(outcome.map(|()| confirms).map_err(SessionError::Sink))
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}
