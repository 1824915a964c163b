//! Whether this process is ready: as long as Redis or Postgres answers.
//!
//! Degraded is not down. Without Redis every read is answered from Postgres; without Postgres what is cached is still served inside
//! the bound, and writes are told when to come again. A replica that called itself unready for either would take its sisters along,
//! since they lose the same server at the same moment, and leave the balancer with nobody. Only one that has neither has nothing to
//! offer, nor does one that is ending.

pub mod answer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use freshline::{
    admin::{Readiness, Reason},
    catalog::{DatabaseError, Reads},
    coherence::Links,
    fault::Classified,
    telemetry::{chain, names},
};
use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

/// How often is looked. Postgres is asked only where no request has heard from it since.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The condition that this is about.
const SERVERS: &str = "Redis or Postgres";

/// Hears how Postgres answers to requests. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Postgres {
    answers: Arc<AtomicU64>,
    /// What the last look said.
    is_there: Arc<AtomicBool>,
}

impl Postgres {
    /// Takes note of what a call came to.
    pub fn heard<T, E>(&self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_ok() {
            self.answers.fetch_add(1, Relaxed);
        }
        outcome
    }

    /// Whether it answered when it was last looked at.
    pub fn is_there(&self) -> bool {
        self.is_there.load(Relaxed)
    }
}

/// Watches over both servers, and says whether there is one.
pub struct Watch {
    readiness: Readiness,
    links: Links,
    reads: Reads,
    postgres: Postgres,
    answers_seen: u64,
    /// Whether Postgres answered when it was last looked at; `None` before the first time.
    was_there: Option<bool>,
}

impl Watch {
    /// A watch that is to be run.
    pub fn new(readiness: Readiness, links: Links, reads: Reads, postgres: Postgres) -> Self {
        readiness.unready(SERVERS, "neither has been looked for yet");
        Self { readiness, links, reads, postgres, answers_seen: 0, was_there: None }
    }

    /// Looks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut every = interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(every.tick()).await.is_some() {
            if stop.run_until_cancelled(self.look()).await.is_none() {
                return;
            }
        }
    }

    async fn look(&mut self) {
        // Postgres may take its time to say nothing, and one is enough.
        if self.links.get().is_some() {
            self.readiness.ready(SERVERS);
        }
        let postgres = self.postgres_answers().await;
        self.tell(&postgres);
        match postgres {
            Err(error) if self.links.get().is_none() => {
                let text = format!("neither answers; {}", chain(&error));
                self.readiness.unready(SERVERS, Reason { text, remedy: error.remedy() });
            }
            Ok(()) | Err(_) => self.readiness.ready(SERVERS),
        }
    }

    /// Whether Postgres has answered since the last look, or answers now: to a read of a product that nothing can have the id of.
    async fn postgres_answers(&mut self) -> Result<(), DatabaseError> {
        let answers = self.postgres.answers.load(Relaxed);
        if std::mem::replace(&mut self.answers_seen, answers) != answers {
            return Ok(());
        }
        self.reads.product(Uuid::nil()).await.map(drop)
    }

    /// Logs a change, not a state.
    fn tell(&mut self, postgres: &Result<(), DatabaseError>) {
        let was_there = self.was_there.replace(postgres.is_ok());
        gauge!(names::POSTGRES_UP).set(if postgres.is_ok() { 1.0 } else { 0.0 });
        self.postgres.is_there.store(postgres.is_ok(), Relaxed);
        match postgres {
            Ok(()) if was_there != Some(true) => info!("Postgres answers"),
            Err(error) if was_there != Some(false) => warn!(remedy = error.remedy(), "{}", chain(error)),
            Ok(()) | Err(_) => {}
        }
    }
}
