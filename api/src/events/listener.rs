//! One who listens: first what was told since it left, where it comes back; then what comes.

use std::{collections::VecDeque, future::pending, sync::Arc};

use axum::response::sse::Event;
use freshline::{
    coherence::LinkError,
    trail::{self, Filter, Told},
};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError, broadcast, broadcast::error::RecvError, watch};
use tracing::debug;
use utoipa::ToSchema;

use super::{Events, Seen, asked::Asked, json, place::Place};

/// One who listens.
pub struct Listener {
    events: Arc<Events>,
    filter: Filter,
    live: broadcast::Receiver<Arc<Told>>,
    seen: Option<watch::Receiver<Option<Arc<Seen>>>>,
    /// What it heard last, or says so.
    last: Place,
    /// Whether there may be more in the trail that it has not heard, and that is not live any more.
    is_behind: bool,
    /// What was read of that, and is to be sent.
    past: VecDeque<Told>,
    _place: OwnedSemaphorePermit,
}

/// That a listener was not told of everything.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lost {
    /// How many records, of those that were asked for or of others; null where nobody knows.
    count: Option<u64>,
}

impl Listener {
    /// A listener from now on, or from what it saw last.
    ///
    /// # Errors
    /// If as many listen as may.
    pub fn new(events: &Arc<Events>, asked: Asked) -> Result<Self, TryAcquireError> {
        let place = events.places.clone().try_acquire_owned()?;
        let seen = asked.processes.then(|| {
            let mut seen = events.seen.subscribe();
            if seen.borrow().is_some() {
                seen.mark_changed();
            }
            seen
        });
        let listener = Self {
            events: events.clone(),
            filter: asked.filter,
            live: events.told.subscribe(),
            seen,
            last: asked.after.unwrap_or_default(),
            is_behind: asked.after.is_some(),
            past: VecDeque::new(),
            _place: place,
        };
        events.wanted.iter().for_each(|wanted| wanted.notify_one());
        Ok(listener)
    }

    /// Says that something is missing between what it saw last and what the trail still has, if that is so.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn lost(&self) -> Result<Option<Event>, LinkError> {
        if !self.is_behind {
            return Ok(None);
        }
        let first = trail::first(&self.events.link().await?, &self.events.stripes).await?;
        let is_lost = first.and_then(|first| first.parse::<Place>().ok()).is_some_and(|first| first > self.last);
        Ok(is_lost.then(|| lost(None)))
    }

    /// Waits for the next; `None` when there will be none.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(told) = self.past.pop_front() {
                if self.filter.takes(&self.events.rules, &told.record) {
                    return Some(done(&told));
                }
                continue;
            }
            if self.is_behind {
                if let Err(error) = self.look_back().await {
                    // It comes back, and says what it saw last.
                    debug!(error = &error as &dyn std::error::Error, "what a listener missed could not be read");
                    return None;
                }
                continue;
            }
            tokio::select! {
                told = self.live.recv() => match told {
                    Ok(told) => if let Some(event) = self.heard(&told) { return Some(event) },
                    Err(RecvError::Lagged(count)) => return Some(lost(Some(count))),
                    Err(RecvError::Closed) => return None,
                },
                seen = changed(&mut self.seen) => match seen.as_deref() {
                    Some(Seen::Processes(json)) => return Some(Event::default().event("processes").data(json)),
                    Some(Seen::Nothing(json)) => return Some(Event::default().event("unseen").data(json)),
                    None => {}
                },
            }
        }
    }

    /// What is live, unless it was read of the past already.
    fn heard(&mut self, told: &Told) -> Option<Event> {
        let place = told.id.parse().unwrap_or_default();
        if place <= self.last {
            return None;
        }
        self.last = place;
        self.filter.takes(&self.events.rules, &told.record).then(|| done(told))
    }

    /// Reads on in the past. What is live begins again before it: what is told meanwhile is in one of both.
    async fn look_back(&mut self) -> Result<(), LinkError> {
        self.live = self.live.resubscribe();
        let page = trail::page(&self.events.link().await?, &self.events.stripes, &self.last.to_string()).await?;
        self.last = page.last.parse().unwrap_or(self.last);
        (self.is_behind, self.past) = (!page.is_last, page.told.into());
        Ok(())
    }
}

/// Waits until something new is seen; for ever where nobody asked.
async fn changed(seen: &mut Option<watch::Receiver<Option<Arc<Seen>>>>) -> Option<Arc<Seen>> {
    let Some(seen) = seen else { return pending().await };
    match seen.changed().await {
        Ok(()) => seen.borrow_and_update().clone(),
        Err(_) => pending().await,
    }
}

fn done(told: &Told) -> Event {
    Event::default().event("done").id(&told.id).data(json(told))
}

fn lost(count: Option<u64>) -> Event {
    Event::default().event("lost").data(json(&Lost { count }))
}
