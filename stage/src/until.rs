//! Awaiting a condition: a level, not an edge, with a bound so long that only a real fault meets it.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long [`until`] waits before it gives up. Far beyond anything seen on a busy machine, so that giving up means a fault.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// The pause after the first look; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a look at a condition answers: a `bool`, an `Option`, or a `Result` of either, whose error then is the last status.
pub trait Probe {
    /// What is there once the condition holds.
    type Found;

    /// What was found, or what is still in the way.
    fn found(self) -> Result<Self::Found, String>;
}

impl Probe for () {
    type Found = ();
    fn found(self) -> Result<(), String> {
        Ok(())
    }
}

impl Probe for bool {
    type Found = ();
    fn found(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".into()) }
    }
}

impl<T> Probe for Option<T> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "none".into())
    }
}

/// What is inside is probed too: `Ok(false)` does not hold.
impl<T: Probe, E: Debug> Probe for Result<T, E> {
    type Found = T::Found;
    fn found(self) -> Result<T::Found, String> {
        self.map_err(|error| format!("{error:?}"))?.found()
    }
}

/// Looks until `condition` holds, and answers with what it found.
///
/// # Panics
/// If it does not hold within [`WAIT_MAX`]: with `what` was awaited and the last status seen.
pub async fn until<P: Probe>(what: &str, condition: impl AsyncFnMut() -> P) -> P::Found {
    until_within(WAIT_MAX, what, condition).await
}

/// As [`until`], for what takes longer than [`WAIT_MAX`] on a busy machine.
///
/// # Panics
/// If it does not hold within `bound`.
pub async fn until_within<P: Probe>(bound: Duration, what: &str, mut condition: impl AsyncFnMut() -> P) -> P::Found {
    match within(bound, async || condition().await.found()).await {
        Ok(found) => found,
        Err(last) => panic!("waited {bound:?} for: {what}; last seen: {last}"),
    }
}

/// Looks until `condition` is `Ok` or `bound` has passed; then the last error is the error. A look that hangs is cut off.
pub(crate) async fn within<T, E: Debug>(bound: Duration, mut condition: impl AsyncFnMut() -> Result<T, E>) -> Result<T, String> {
    let deadline = Instant::now() + bound;
    let mut pause = PAUSE_MIN;
    let mut last = "nothing".to_owned();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, condition()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(status)) => last = format!("{status:?}"),
            Err(_) => return Err(format!("{last}; then a look did not come back in time")),
        }
        if Instant::now() >= deadline {
            return Err(last);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
