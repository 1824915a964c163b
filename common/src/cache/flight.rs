//! Flights: reads of one process that miss the same keys share one reading of Redis and Postgres.
//!
//! A read may share only what was read after it arrived: what was read before may lack a change that the caller knows to be applied.
//! So those who come while a flight is under way wait for the next one: one flight is under way, at most one waits.
//!
//! Invariant: a lane is in the map exactly while one [`Lead`] of it exists. Dropped without landing (its client is gone), a lead passes
//! to another who waits for the same flight, so nobody is stranded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::coherence::CacheKey;

/// What a flight fetches.
pub(super) type Keys = Box<[CacheKey]>;

/// The flights of one process, which bring `T`.
pub(super) struct Flights<T> {
    lanes: Mutex<HashMap<Keys, Lane<T>>>,
}

/// Those who wait for the same keys, besides the one who leads.
struct Lane<T> {
    /// For the flight that is under way: all of them came before it began.
    aboard: Vec<oneshot::Sender<Call<T>>>,
    /// For the one after it.
    next: Vec<oneshot::Sender<Call<T>>>,
}

/// What somebody who joins is called to do.
pub(super) enum Call<T> {
    /// To read for all who are aboard.
    Lead(Lead<T>),
    /// To take what another brought.
    Landed(T),
}

/// The duty to read for all who are aboard of one flight.
pub(super) struct Lead<T> {
    flights: Arc<Flights<T>>,
    /// None once it has passed to another.
    key: Option<Keys>,
    has_waited: bool,
}

impl<T> Flights<T> {
    /// No flights yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { lanes: Mutex::default() })
    }

    /// Begins a flight, or waits for the next one and for what it brings. May be dropped at any time.
    pub async fn join(self: &Arc<Self>, key: Keys) -> Call<T> {
        let Some(called) = self.board(&key) else { return Call::Lead(self.lead(key, false)) };
        // The lane never drops a sender unheard. Were it to, reading alone would be right.
        called.await.unwrap_or_else(|_| Call::Lead(Lead { flights: self.clone(), key: None, has_waited: true }))
    }

    /// A seat in the next flight; none where no flight is under way, and then one is from now on.
    fn board(&self, key: &Keys) -> Option<oneshot::Receiver<Call<T>>> {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(key) else {
            lanes.insert(key.clone(), Lane { aboard: Vec::new(), next: Vec::new() });
            return None;
        };
        let (seat, called) = oneshot::channel();
        lane.next.push(seat);
        Some(called)
    }

    fn lead(self: &Arc<Self>, key: Keys, has_waited: bool) -> Lead<T> {
        Lead { flights: self.clone(), key: Some(key), has_waited }
    }

    /// Gives the lead to somebody aboard, after a landing to somebody of the next flight, which begins with that. Answers with those
    /// to whom the landing is owed.
    fn pass_on(self: &Arc<Self>, key: Keys, has_landed: bool) -> Vec<oneshot::Sender<Call<T>>> {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(&key) else { return Vec::new() };
        let landed = if has_landed { std::mem::take(&mut lane.aboard) } else { Vec::new() };
        loop {
            if lane.aboard.is_empty() {
                lane.aboard = std::mem::take(&mut lane.next);
            }
            let Some(next) = lane.aboard.pop() else {
                lanes.remove(&key);
                return landed;
            };
            match next.send(Call::Lead(self.lead(key.clone(), true))) {
                Ok(()) => return landed,
                // Gone meanwhile. The lead must not be dropped here as if it had been taken: it would pass on once more, with the map locked.
                Err(Call::Lead(mut lead)) => lead.key = None,
                Err(Call::Landed(_)) => {}
            }
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Keys, Lane<T>>> {
        // What a panic can leave behind is whole: each change of a lane is a push, a pop or a take.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lead<T> {
    /// Whether time has passed since the reader last looked at Redis: a flight has landed meanwhile, and may have filled.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Ends the flight. What it brings is made only if somebody is aboard.
    pub fn land(mut self, brought: impl FnOnce() -> T)
    where
        T: Clone,
    {
        let Some(key) = self.key.take() else { return };
        let aboard = self.flights.pass_on(key, true);
        if aboard.is_empty() {
            return;
        }
        let brought = brought();
        for seat in aboard {
            // One who is gone needs no answer.
            drop(seat.send(Call::Landed(brought.clone())));
        }
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            drop(self.flights.pass_on(key, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};

    use super::*;

    type Call = super::Call<u32>;
    type Lead = super::Lead<u32>;

    /// Somebody who has joined a flight.
    struct Reader(BoxFuture<'static, Call>);

    impl Reader {
        fn of(flights: &Arc<Flights<u32>>) -> Self {
            let flights = flights.clone();
            Self(async move { flights.join(keys()).await }.boxed())
        }

        /// Somebody who has joined and waits for the next flight.
        fn waiting(flights: &Arc<Flights<u32>>) -> Self {
            let mut reader = Self::of(flights);
            assert!(reader.waits(), "was called at once");
            reader
        }

        fn waits(&mut self) -> bool {
            self.called().is_none()
        }

        fn called(&mut self) -> Option<Call> {
            (&mut self.0).now_or_never()
        }

        fn leads(&mut self) -> Lead {
            match self.called() {
                Some(Call::Lead(lead)) => lead,
                Some(Call::Landed(brought)) => panic!("was brought {brought} instead of leading"),
                None => panic!("waits instead of leading"),
            }
        }

        fn was_brought(&mut self) -> u32 {
            match self.called() {
                Some(Call::Landed(brought)) => brought,
                Some(Call::Lead(_)) => panic!("leads instead of being brought something"),
                None => panic!("still waits"),
            }
        }
    }

    fn keys() -> Keys {
        Box::new([CacheKey::new("k")])
    }

    /// Flights, the first of which is under way.
    fn under_way() -> (Arc<Flights<u32>>, Lead) {
        let flights = Flights::new();
        let lead = Reader::of(&flights).leads();
        assert!(!lead.has_waited());
        (flights, lead)
    }

    fn are_over(flights: &Flights<u32>) -> bool {
        flights.lanes().is_empty()
    }

    #[test]
    fn who_comes_while_a_flight_is_under_way_gets_nothing_of_it() {
        let (flights, first) = under_way();
        let (mut a, mut b) = (Reader::waiting(&flights), Reader::waiting(&flights));
        first.land(|| panic!("nobody came before the first flight began"));
        let second = b.leads();
        assert!(second.has_waited());
        let mut late = Reader::waiting(&flights);
        second.land(|| 2);
        assert_eq!(a.was_brought(), 2);
        // The late one came after the second flight had begun.
        late.leads().land(|| panic!("nobody is aboard"));
        assert!(are_over(&flights));
    }

    #[test]
    fn a_lead_that_is_dropped_passes_to_another_of_its_flight() {
        let (flights, first) = under_way();
        let (mut a, mut b) = (Reader::waiting(&flights), Reader::waiting(&flights));
        first.land(|| 1);
        let second = b.leads();
        let mut late = Reader::waiting(&flights);
        drop(second);
        let second = a.leads();
        assert!(late.waits(), "who came later is called before who came first");
        drop(second);
        late.leads().land(|| 3);
        assert!(are_over(&flights));
    }

    #[test]
    fn a_first_lead_that_is_dropped_lets_the_next_flight_begin() {
        let (flights, first) = under_way();
        let mut a = Reader::waiting(&flights);
        drop(first);
        a.leads().land(|| 1);
        assert!(are_over(&flights));
    }

    #[test]
    fn those_who_are_gone_before_they_are_called_are_left_out() {
        let (flights, first) = under_way();
        let (a, mut b, c) = (Reader::waiting(&flights), Reader::waiting(&flights), Reader::waiting(&flights));
        drop((a, c));
        first.land(|| 1);
        b.leads().land(|| 2);
        assert!(are_over(&flights));
    }

    #[test]
    fn one_who_is_gone_after_being_called_passes_the_lead_on() {
        let (flights, first) = under_way();
        let (mut a, b) = (Reader::waiting(&flights), Reader::waiting(&flights));
        first.land(|| 1);
        drop(b); // called, and never polled again
        a.leads().land(|| 2);
        assert!(are_over(&flights));
    }

    #[test]
    fn a_thousand_who_come_at_once_make_two_flights() {
        let (flights, first) = under_way();
        let mut readers: Vec<_> = (0..1000).map(|_| Reader::waiting(&flights)).collect();
        first.land(|| 1);
        let second = readers.pop().expect("a thousand").leads();
        assert!(readers.iter_mut().all(Reader::waits), "more than one was called");
        second.land(|| 2);
        assert!(readers.iter_mut().all(|reader| reader.was_brought() == 2));
        assert!(are_over(&flights));
    }
}
