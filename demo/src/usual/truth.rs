//! What Postgres shows to a new reader, and the judgement by it: which reads were stale.
//!
//! One session looks at the row again and again, each time under a new snapshot, and notes each value with the moment at which its answer
//! was there. A value that was noted before a read began could be seen by any new reader then. The read is stale if what it brought is a
//! value that Postgres had shown earlier, and no longer did. What changed while the read was on its way is not held against it, and neither
//! is a value that is newer than what Postgres showed: whoever takes values from the change stream may have those, in the gap.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::failure::Failure;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// A value that Postgres showed, and when that was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    value: String,
    from: Instant,
}

/// What Postgres showed, in order.
#[derive(Debug, Default)]
struct History {
    shown: Vec<Shown>,
}

impl History {
    fn saw(&mut self, value: &str, at: Instant) {
        if self.shown.last().is_none_or(|last| last.value != value) {
            self.shown.push(Shown { value: value.to_owned(), from: at });
        }
    }

    /// When a value was last begun to be shown.
    fn since(&self, value: &str) -> Option<Instant> {
        self.shown.iter().rev().find(|shown| shown.value == value).map(|shown| shown.from)
    }

    /// How long before `began` this value had ceased to be shown; `None` where it had not, or was never shown. The history has to go on
    /// until after the end of the read.
    fn staleness(&self, began: Instant, value: &str) -> Option<Duration> {
        let later = self.shown.partition_point(|shown| shown.from <= began);
        if later == 0 || self.shown[later - 1..].iter().any(|shown| shown.value == value) {
            return None;
        }
        let last = self.shown[..later].iter().rposition(|shown| shown.value == value)?;
        Some(began - self.shown[last + 1].from)
    }
}

/// The history, while it is made.
#[derive(Debug)]
pub struct Truth {
    history: Mutex<History>,
    /// When the latest look began that has been noted.
    looked: watch::Sender<Option<Instant>>,
}

impl Truth {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { history: Mutex::default(), looked: watch::Sender::new(None) }
    }

    /// Looks until it fails.
    pub async fn look(&self, session: &mut PgConnection, id: Uuid) -> Result<Infallible, Failure> {
        loop {
            let begun = Instant::now();
            let price = sqlx::query_scalar("select price::text from public.products where id = $1").bind(id);
            let price = timeout(LOOK_MAX, price.fetch_optional(&mut *session)).await;
            let price: Option<String> = price.map_err(|_| Failure::Late { what: "a look at the row", bound: LOOK_MAX })??;
            self.history().saw(&price.ok_or(Failure::Gone)?, Instant::now());
            self.looked.send_replace(Some(begun));
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until this value has been shown, and answers since when.
    pub async fn shows(&self, value: &str) -> Instant {
        let mut looked = self.looked.subscribe();
        loop {
            if let Some(since) = self.history().since(value) {
                return since;
            }
            // The sender is ours: it does not go.
            if looked.changed().await.is_err() {
                futures::future::pending::<()>().await;
            }
        }
    }

    /// How long before `began` Postgres had ceased to show this value; `None` where a read of it was not stale.
    pub async fn staleness(&self, began: Instant, ended: Instant, value: &str) -> Option<Duration> {
        self.history().staleness(began, value)?;
        // It may have been shown again, or only now, since the last look: so another has to have begun after the read's end.
        let mut looked = self.looked.subscribe();
        if looked.wait_for(|begun| begun.is_some_and(|begun| begun > ended)).await.is_err() {
            futures::future::pending::<()>().await;
        }
        self.history().staleness(began, value)
    }

    /// Nothing is left half-done under this lock, so one that a panic left behind is as good as any.
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Shown: 1 from 100 ms, 2 from 200, 3 from 300, 2 again from 400.
    #[rstest]
    #[case::what_is_shown(150, "1", None)]
    #[case::what_was_shown(250, "1", Some(50))]
    #[case::long_ago(450, "1", Some(250))]
    #[case::shown_at_that_very_moment(200, "2", None)]
    #[case::replaced_at_that_very_moment(200, "1", Some(0))]
    #[case::became_visible_on_the_way(150, "2", None)]
    #[case::shown_again_on_the_way(350, "2", None)]
    #[case::newer_than_anything_shown(450, "9", None)]
    #[case::before_the_first_look(50, "1", None)]
    fn a_read_is_stale_if_its_value_had_ceased_to_be_shown(#[case] began: u64, #[case] value: &str, #[case] stale_ms: Option<u64>) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut history = History::default();
        for (value, ms) in [("1", 100), ("1", 110), ("2", 200), ("3", 300), ("2", 400)] {
            history.saw(value, at(ms));
        }
        assert_eq!(history.staleness(at(began), value), stale_ms.map(Duration::from_millis));
    }
}
