//! Whether a process can do its work: named conditions, each set by the task that knows.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The conditions under which a process is ready. Cheap to clone; every clone sees the same conditions.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<Held>>>,
}

#[derive(Debug)]
struct Held {
    name: &'static str,
    state: State,
    since: Instant,
}

/// One condition, in the hands of the task that knows whether it holds.
#[derive(Debug, Clone)]
pub struct Condition {
    readiness: Readiness,
    place: usize,
}

/// Whether a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It holds.
    Holds,
    /// It does not.
    Fails {
        /// Why not.
        reason: String,
        /// The statement or setting that mends it, where there is one.
        remedy: Option<String>,
    },
}

/// What is told of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: &'static str,
    /// Whether it holds.
    pub state: State,
    /// For how long that has been so.
    pub lasted: Duration,
}

impl Readiness {
    /// No conditions yet: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, which fails until its task says that it holds. Add all of them before the server starts.
    pub fn add(&self, name: &'static str) -> Condition {
        let mut conditions = self.lock();
        let state = State::Fails { reason: "not yet".to_owned(), remedy: None };
        conditions.push(Held { name, state, since: Instant::now() });
        Condition { readiness: self.clone(), place: conditions.len() - 1 }
    }

    /// Whether every condition holds.
    pub fn is_ready(&self) -> bool {
        self.lock().iter().all(|held| held.state == State::Holds)
    }

    /// What is told of every condition, in the order they were added.
    pub fn status(&self) -> Vec<Status> {
        let status = |held: &Held| Status { name: held.name, state: held.state.clone(), lasted: held.since.elapsed() };
        self.lock().iter().map(status).collect()
    }

    /// Nothing is left half-done under this lock, so one that a panic left behind is as good as any.
    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// Says that it holds.
    pub fn holds(&self) {
        self.set(State::Holds);
    }

    /// Says that it fails, why, and what mends it.
    pub fn fails(&self, reason: impl fmt::Display, remedy: Option<String>) {
        self.set(State::Fails { reason: reason.to_string(), remedy });
    }

    /// The time counts from when it last began or ceased to hold: another reason for the same failure does not reset it.
    fn set(&self, state: State) {
        let mut conditions = self.readiness.lock();
        let Some(held) = conditions.get_mut(self.place) else { return };
        if (held.state == State::Holds) != (state == State::Holds) {
            held.since = Instant::now();
        }
        held.state = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_is_ready_while_every_condition_holds() {
        let readiness = Readiness::new();
        let (stream, redis) = (readiness.add("stream"), readiness.add("redis"));
        assert!(!readiness.is_ready(), "nothing has been said yet");
        stream.holds();
        redis.holds();
        assert!(readiness.is_ready());
        redis.fails("refused", Some("start it".to_owned()));
        assert!(!readiness.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_is_that_of_the_whole_failure() {
        let readiness = Readiness::new();
        let redis = readiness.add("redis");
        redis.holds();
        tokio::time::advance(Duration::from_secs(5)).await;
        redis.fails("refused", None);
        tokio::time::advance(Duration::from_secs(3)).await;
        redis.fails("timed out", None);
        let [status] = &*readiness.status() else { panic!("one condition") };
        assert_eq!(status.lasted, Duration::from_secs(3));
        assert_eq!(status.state, State::Fails { reason: "timed out".to_owned(), remedy: None });
    }
}
