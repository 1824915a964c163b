//! Trying again: full jitter, a cap, a deadline. The only module that uses the `backoff` crate.
//!
//! Only [`Kind::Transient`] failures are tried again. A failure is logged when it begins and when it is over, not at each try.

use std::{fmt, future::Future, time::Duration};

use backoff::{Clock, backoff::Backoff, exponential::ExponentialBackoff};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    fault::{Classified, Kind},
    telemetry::chain,
};

/// How long to wait between tries, and for how long to go on.
///
/// The n-th wait is a random time between nothing and `base · 2ⁿ`, at most `cap`: full jitter, so that many processes which failed
/// at one moment do not come back at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The longest first wait.
    pub base: Duration,
    /// The longest wait of all.
    pub cap: Duration,
    /// How long a failure may last before it is given up; `None`: it is tried for ever.
    pub deadline: Option<Duration>,
}

impl Policy {
    /// For a worker that has nothing else to do: for ever, and back within a second of the server.
    pub const FOR_EVER: Self = Self { base: Duration::from_millis(50), cap: Duration::from_secs(1), deadline: None };
}

/// Why something was not tried again.
#[derive(Debug, thiserror::Error)]
pub enum GivenUp<E: Classified + 'static> {
    /// It would fail again: its kind is not transient.
    #[error("{what} failed")]
    Hopeless {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        error: E,
    },
    /// It went on failing until the deadline.
    #[error("{what} failed {tries} times in {}", Seconds(*.lasted))]
    TooLong {
        /// What was tried.
        what: &'static str,
        /// How often.
        tries: u32,
        /// For how long.
        lasted: Duration,
        /// Why the last try failed.
        #[source]
        error: E,
    },
    /// The deadline passed inside a try, and none before it had failed.
    #[error("{what} did not answer within {}", Seconds(*.lasted))]
    NoAnswer {
        /// What was tried.
        what: &'static str,
        /// For how long.
        lasted: Duration,
    },
    /// The process is ending.
    #[error("{what} was stopped")]
    Stopped {
        /// What was tried.
        what: &'static str,
    },
}

impl<E: Classified + 'static> Classified for GivenUp<E> {
    fn kind(&self) -> Kind {
        match self {
            Self::Hopeless { error, .. } | Self::TooLong { error, .. } => error.kind(),
            Self::NoAnswer { .. } | Self::Stopped { .. } => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Hopeless { error, .. } | Self::TooLong { error, .. } => error.remedy(),
            Self::NoAnswer { .. } | Self::Stopped { .. } => None,
        }
    }
}

/// One thing that is tried again after each transient failure: for a loop that fails, works for hours, and fails again.
pub struct Retry {
    what: &'static str,
    backoff: ExponentialBackoff<RuntimeClock>,
    failing: Option<Failing>,
}

/// Since when it is being tried in vain, and how often it was.
struct Failing {
    since: Instant,
    tries: u32,
}

impl Retry {
    /// Something that has not failed yet. `what` is a noun for the log, such as "the change stream".
    pub fn new(what: &'static str, policy: Policy) -> Self {
        Self { what, backoff: full_jitter(policy), failing: None }
    }

    /// Notes that it worked: the next failure is a new one.
    pub fn succeeded(&mut self) {
        if let Some(Failing { since, tries: tries @ 1.. }) = self.failing.take() {
            let lasted = Seconds(since.elapsed());
            info!(retry.what = self.what, retry.tries = tries, "{} works again, after {tries} failures in {lasted}", self.what);
        }
    }

    /// Notes that it failed, and waits until it may be tried again. An error where it may not.
    pub async fn failed<E: Classified + 'static>(&mut self, error: E, stop: &CancellationToken) -> Result<(), GivenUp<E>> {
        let what = self.what;
        match error.kind() {
            Kind::Transient => {}
            Kind::Permanent | Kind::Bug => return Err(GivenUp::Hopeless { what, error }),
        }
        let (tries, since) = self.note(&error);
        let Some(wait) = self.backoff.next_backoff() else {
            return Err(GivenUp::TooLong { what, tries, lasted: since.elapsed(), error });
        };
        stop.run_until_cancelled(tokio::time::sleep(wait)).await.ok_or(GivenUp::Stopped { what })
    }

    /// Counts a failure, and logs it where it is the first.
    fn note<E: Classified>(&mut self, error: &E) -> (u32, Instant) {
        let failing = self.failing.get_or_insert_with(|| {
            self.backoff.reset();
            Failing { since: Instant::now(), tries: 0 }
        });
        failing.tries += 1;
        if failing.tries == 1 {
            let (what, cause) = (self.what, chain(error));
            warn!(retry.what = what, remedy = error.remedy(), "{what} failed and is tried again: {cause}");
        }
        (failing.tries, failing.since)
    }
}

/// Tries `operation` until it works, fails for good, the policy's deadline passes or `stop` is cancelled.
///
/// The deadline counts from here and holds inside a try as well. At the deadline and at `stop` the operation's future is dropped
/// where it waits. Without a deadline the operation has to have its own.
pub async fn retry<T, E, F, Fut>(
    what: &'static str,
    policy: Policy,
    stop: &CancellationToken,
    mut operation: F,
) -> Result<T, GivenUp<E>>
where
    E: Classified + 'static,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut retry = Retry::new(what, policy);
    let since = Instant::now();
    retry.failing = Some(Failing { since, tries: 0 });
    loop {
        let tried = stop.run_until_cancelled(within(policy.deadline.map(|limit| since + limit), operation()));
        match tried.await.ok_or(GivenUp::Stopped { what })? {
            None => return Err(GivenUp::NoAnswer { what, lasted: since.elapsed() }),
            Some(Err(error)) => retry.failed(error, stop).await?,
            Some(Ok(value)) => {
                retry.succeeded();
                return Ok(value);
            }
        }
    }
}

/// What a future answers before the deadline, `None` where it does not.
async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

/// The crate draws from `interval ± factor · interval`; with a factor of 1 and half of each limit that is full jitter.
fn full_jitter(policy: Policy) -> ExponentialBackoff<RuntimeClock> {
    ExponentialBackoff {
        current_interval: policy.base / 2,
        initial_interval: policy.base / 2,
        randomization_factor: 1.0,
        multiplier: 2.0,
        max_interval: policy.cap / 2,
        max_elapsed_time: policy.deadline,
        start_time: RuntimeClock.now(),
        clock: RuntimeClock,
    }
}

/// The runtime's clock, which tests can pause.
#[derive(Debug, Clone, Copy)]
struct RuntimeClock;

impl Clock for RuntimeClock {
    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests;
