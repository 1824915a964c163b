//! Breakers: no call waits for a server that has not answered lately.
//!
//! Closed, a breaker lets every call through. After [`FAILURES_MAX`] calls in a row that got no answer it opens: for [`PAUSE`], calls
//! are refused at once. Then one is let through to try; its answer closes the breaker, and without one the pause begins anew. An
//! answer that says no is an answer: what opens a breaker is silence.
//!
//! Redis needs none of these: a [`Link`](crate::coherence::Link) that did not answer in time is not asked until it answers its keeper.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{Counter, Gauge, counter, gauge};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::telemetry::names;

/// How many calls in a row have to go unanswered. More than those that one session takes along when it is ended.
pub const FAILURES_MAX: u32 = 5;

/// How long no call is made then. What callers are told as `Retry-After`, too.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Stands before one server, for one kind of call. Cheap to clone.
#[derive(Clone)]
pub struct Breaker {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    state: Mutex<State>,
    is_open: Gauge,
    refused: Counter,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Calls go through. The last so many of them got no answer.
    Closed { failures: u32 },
    /// None goes through before this.
    Open { until: Instant },
    /// One has gone through, and the others wait for what becomes of it.
    Trying,
}

/// What a breaker does with the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets it through.
    Closed,
    /// Refuses it.
    Open,
    /// Has let one through to try, or will with the next.
    HalfOpen,
}

impl BreakerState {
    /// A word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// That a call was not made, because the server did not answer the calls before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barred;

/// A call that was let through. Dropped before it is told how it ended, as where its client has left, it says nothing of the server.
struct Pass<'a> {
    breaker: &'a Shared,
    is_trial: bool,
}

impl Breaker {
    /// A closed one. `name` says what it stands before, in metrics and in the log.
    pub fn new(name: &'static str) -> Self {
        let is_open = gauge!(names::BREAKER_OPEN, "dependency" => name);
        is_open.set(0.0);
        let refused = counter!(names::BREAKER_REFUSED, "dependency" => name);
        Self { shared: Arc::new(Shared { name, state: Mutex::new(State::Closed { failures: 0 }), is_open, refused }) }
    }

    /// What it stands before.
    pub fn name(&self) -> &'static str {
        self.shared.name
    }

    /// What it does with the next call.
    pub fn state(&self) -> BreakerState {
        match *self.shared.state() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if Instant::now() < until => BreakerState::Open,
            State::Open { .. } | State::Trying => BreakerState::HalfOpen,
        }
    }

    /// Makes a call, unless it is barred. `is_silence` says of its error that no answer came. May be dropped at any time.
    pub async fn call<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        is_silence: impl FnOnce(&E) -> bool,
    ) -> Result<Result<T, E>, Barred> {
        let pass = self.shared.enter().inspect_err(|_| self.shared.refused.increment(1))?;
        let outcome = call.await;
        pass.ended(!outcome.as_ref().is_err_and(is_silence));
        Ok(outcome)
    }
}

impl Shared {
    fn enter(&self) -> Result<Pass<'_>, Barred> {
        let mut state = self.state();
        let is_trial = match *state {
            State::Closed { .. } => false,
            State::Open { until } if Instant::now() >= until => true,
            State::Open { .. } | State::Trying => return Err(Barred),
        };
        if is_trial {
            *state = State::Trying;
        }
        Ok(Pass { breaker: self, is_trial })
    }

    fn answered(&self) {
        let mut state = self.state();
        if !matches!(std::mem::replace(&mut *state, State::Closed { failures: 0 }), State::Closed { .. }) {
            self.is_open.set(0.0);
            info!(dependency = self.name, "{} answers again", self.name);
        }
    }

    fn failed(&self, is_trial: bool) {
        let mut state = self.state();
        match *state {
            State::Closed { failures } if failures + 1 < FAILURES_MAX => *state = State::Closed { failures: failures + 1 },
            State::Closed { .. } => {
                self.is_open.set(1.0);
                warn!(
                    dependency = self.name,
                    "{FAILURES_MAX} calls to {} in a row had no answer: others are refused at once", self.name
                );
                *state = State::Open { until: Instant::now() + PAUSE };
            }
            State::Trying if is_trial => *state = State::Open { until: Instant::now() + PAUSE },
            // One that was under way when the breaker opened.
            State::Trying | State::Open { .. } => {}
        }
    }

    /// Nothing is left half-done under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    fn ended(mut self, is_answered: bool) {
        let is_trial = std::mem::take(&mut self.is_trial);
        if is_answered { self.breaker.answered() } else { self.breaker.failed(is_trial) }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            // The next call tries.
            *self.breaker.state() = State::Open { until: Instant::now() };
        }
    }
}

impl std::fmt::Debug for Breaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Breaker").field("name", &self.name()).field("state", &self.state()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;

    use super::*;

    /// What a call came to whose server is silent, or says no.
    #[derive(Debug, PartialEq, Eq)]
    enum Failure {
        Silence,
        No,
    }

    async fn call(breaker: &Breaker, outcome: Result<(), Failure>) -> Result<Result<(), Failure>, Barred> {
        breaker.call(ready(outcome), |failure| *failure == Failure::Silence).await
    }

    async fn opened() -> Breaker {
        let breaker = Breaker::new("a server");
        for _ in 0..FAILURES_MAX {
            assert_eq!(call(&breaker, Err(Failure::Silence)).await, Ok(Err(Failure::Silence)));
        }
        assert_eq!((breaker.state(), call(&breaker, Ok(())).await), (BreakerState::Open, Err(Barred)));
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_asked_by_one_at_a_time_until_it_does() {
        let breaker = opened().await;
        tokio::time::advance(PAUSE).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let trial = breaker.call(ready(Err(Failure::Silence)), |_| true);
        assert_eq!(trial.await, Ok(Err::<(), _>(Failure::Silence)));
        assert_eq!(call(&breaker, Ok(())).await, Err(Barred), "the pause begins anew");
        tokio::time::advance(PAUSE).await;
        let mut trial = Box::pin(breaker.call(pending::<Result<(), Failure>>(), |_| true));
        assert!((&mut trial).now_or_never().is_none());
        assert_eq!(call(&breaker, Ok(())).await, Err(Barred), "one tries already");
        drop(trial);
        assert_eq!(call(&breaker, Ok(())).await, Ok(Ok(())), "the one who tried has left, so another does");
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test]
    async fn only_silence_without_an_answer_in_between_opens_it() {
        let breaker = Breaker::new("a server");
        for _ in 0..FAILURES_MAX {
            for _ in 1..FAILURES_MAX {
                assert_eq!(call(&breaker, Err(Failure::Silence)).await, Ok(Err(Failure::Silence)));
            }
            assert_eq!(call(&breaker, Err(Failure::No)).await, Ok(Err(Failure::No)), "who says no is there");
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_on_its_way_closes_it_and_a_late_failure_does_not_prolong_it() {
        let breaker = Breaker::new("a server");
        let (late, lost) = (breaker.shared.enter().expect("closed"), breaker.shared.enter().expect("closed"));
        for _ in 0..FAILURES_MAX {
            breaker.shared.failed(false);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        lost.ended(false);
        tokio::time::advance(PAUSE).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        late.ended(true);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
