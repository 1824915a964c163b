//! Whether a process can do its work: named conditions, each set by the task that knows.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{fault::Classified, telemetry::chain};

/// The conditions under which a process is ready. Cheap to clone; every clone sees the same conditions.
///
/// A condition is there from the first time that it is named. Name each of them as failing before the server starts: with none at
/// all a process is ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<Held>>>,
}

#[derive(Debug)]
struct Held {
    name: &'static str,
    failure: Option<Reason>,
    since: Instant,
}

/// Why a condition fails, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Why it fails.
    pub text: String,
    /// The statement or setting that mends it, where there is one.
    pub remedy: Option<String>,
}

/// What is told of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: &'static str,
    /// Why it fails; `None` where it holds.
    pub failure: Option<Reason>,
    /// For how long it has held, or failed for whatever reason.
    pub lasted: Duration,
}

impl Reason {
    /// An error as a reason: its whole chain, and its remedy.
    pub fn of(error: &impl Classified) -> Self {
        Self { text: chain(error), remedy: error.remedy() }
    }
}

impl<T: Into<String>> From<T> for Reason {
    fn from(text: T) -> Self {
        Self { text: text.into(), remedy: None }
    }
}

impl Readiness {
    /// No conditions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that a condition holds.
    pub fn ready(&self, name: &'static str) {
        self.set(name, None);
    }

    /// Says that a condition fails, and why.
    pub fn unready(&self, name: &'static str, reason: impl Into<Reason>) {
        self.set(name, Some(reason.into()));
    }

    /// What is told of every condition, in the order in which they were first named.
    pub fn status(&self) -> Vec<Status> {
        let status = |held: &Held| Status { name: held.name, failure: held.failure.clone(), lasted: held.since.elapsed() };
        self.lock().iter().map(status).collect()
    }

    /// The time counts from when it last began or ceased to hold: another reason for the same failure does not reset it.
    fn set(&self, name: &'static str, failure: Option<Reason>) {
        let mut conditions = self.lock();
        match conditions.iter_mut().find(|held| held.name == name) {
            None => conditions.push(Held { name, failure, since: Instant::now() }),
            Some(held) => {
                if held.failure.is_some() != failure.is_some() {
                    held.since = Instant::now();
                }
                held.failure = failure;
            }
        }
    }

    /// Nothing is left half-done under this lock, so one that a panic left behind is as good as any.
    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_is_that_of_the_whole_failure() {
        let readiness = Readiness::new();
        readiness.ready("redis");
        tokio::time::advance(Duration::from_secs(5)).await;
        readiness.unready("redis", "refused");
        tokio::time::advance(Duration::from_secs(3)).await;
        readiness.clone().unready("redis", "timed out");
        let failure = Some(Reason { text: "timed out".to_owned(), remedy: None });
        assert_eq!(readiness.status(), [Status { name: "redis", failure, lasted: Duration::from_secs(3) }]);
    }

    #[test]
    fn an_error_is_told_with_its_remedy() {
        let error = crate::rules::Rules::parse("").expect_err("no tables");
        assert_eq!(Reason::of(&error), Reason { text: error.to_string(), remedy: error.remedy() });
        assert!(error.remedy().is_some());
    }
}
