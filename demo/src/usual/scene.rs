//! What the parts of a comparison share: which round it is, what was served last, and whom to tell.

use std::time::Instant;

use freshline::coherence::Links;
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use super::{
    event::{Event, Phase, Source, Way},
    readers::Found,
    truth::Truth,
};
use crate::clock::Clock;

/// What the parts share.
pub struct Scene {
    /// The row.
    pub id: Uuid,
    /// Its key in the usual way.
    pub key: String,
    /// Redis.
    pub links: Links,
    /// What Postgres shows.
    pub truth: Truth,
    /// Told when the key has been deleted.
    pub deleted: Notify,
    /// From 1.
    pub round: watch::Sender<u32>,
    /// What either way served last.
    pub served: watch::Sender<Served>,
    events: mpsc::Sender<Event>,
    clock: Clock,
}

/// What was served last.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// In the usual way.
    pub usual: Option<Found>,
    /// By Freshline.
    pub freshline: Option<Found>,
}

impl Scene {
    /// One in which nothing has happened.
    pub fn new(id: Uuid, key: String, links: Links, events: mpsc::Sender<Event>, clock: Clock) -> Self {
        let (round, served) = (watch::Sender::new(0), watch::Sender::default());
        Self { id, key, links, truth: Truth::new(), deleted: Notify::new(), round, served, events, clock }
    }

    /// Tells that the change of this round has come so far, just now.
    pub async fn phase(&self, phase: Phase, price: &str) {
        self.phase_at(Instant::now(), phase, price).await;
    }

    /// Tells that the change of this round had come so far.
    pub async fn phase_at(&self, at: Instant, phase: Phase, price: &str) {
        let round = *self.round.borrow();
        self.tell(Event::Phase { at_us: self.clock.us(at), round, phase, price: price.to_owned() }).await;
    }

    /// A read, as it is told.
    pub fn read(&self, began: Instant, round: u32, way: Way, found: &Found, stale_ms: Option<f64>) -> Event {
        let (at_us, value, source) = (self.clock.us(began), found.value.clone(), found.source);
        Event::Read { at_us, round, way, value, source, is_stale: stale_ms.is_some(), stale_ms }
    }

    /// Tells it to whoever asked; where he has gone, the run hears of that by itself.
    pub async fn tell(&self, event: Event) {
        drop(self.events.send(event).await);
    }

    /// Waits until he has gone.
    pub async fn gone(&self) {
        self.events.closed().await;
    }

    /// Waits until both ways have served this value last.
    pub async fn both_serve(&self, value: &str) {
        self.wait(|served| {
            [&served.usual, &served.freshline].into_iter().all(|found| found.as_ref().is_some_and(|found| found.value == value))
        })
        .await;
    }

    /// Waits until both ways have served this value from their caches.
    pub async fn both_have(&self, value: &str) {
        let has = |found: &Option<Found>| found.as_ref().is_some_and(|found| found.value == value && found.source == Source::Cache);
        self.wait(|served| has(&served.usual) && has(&served.freshline)).await;
    }

    async fn wait(&self, condition: impl Fn(&Served) -> bool) {
        // The sender is ours: it does not go.
        if self.served.subscribe().wait_for(condition).await.is_err() {
            futures::future::pending::<()>().await;
        }
    }

    /// A failure, as it is told.
    pub fn failed(&self, detail: String) -> Event {
        Event::Failed { at_us: self.clock.us(Instant::now()), detail }
    }
}
