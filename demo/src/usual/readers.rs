//! The readers: both ways at the same instants, each read judged.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    cached::{self, Cached},
    event::{Source, Tally, Way},
    failure::Failure,
    freshline::Replicas,
    scene::Scene,
};
use crate::clock::ms;

/// How long one read may take.
const READ_MAX: Duration = Duration::from_secs(5);

/// What a read brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The price.
    pub value: String,
    /// Where it was.
    pub source: Source,
}

/// Both readers, and what became of their reads.
pub struct Readers {
    /// The usual way's.
    pub cached: Cached,
    /// Freshline's.
    pub replicas: Replicas,
    /// Of the usual way.
    pub usual: Tally,
    /// Of Freshline.
    pub freshline: Tally,
}

impl Readers {
    /// Reads at each `pause`, and, where `at_once`, also as soon as the key is deleted, as the next of many readers would; until it fails.
    pub async fn run(&mut self, scene: &Scene, pause: Duration, at_once: bool) -> Result<Infallible, Failure> {
        cached::delete(&scene.links, &scene.key).await?; // what one that was killed may have left
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = scene.deleted.notified(), if at_once => {}
                _ = ticks.tick() => {}
            }
            self.read(scene).await?;
        }
    }

    async fn read(&mut self, scene: &Scene) -> Result<(), Failure> {
        let (began, round) = (Instant::now(), *scene.round.borrow());
        let (usual, freshline) = futures::join!(ended(self.cached.read()), ended(self.replicas.read()));
        for (way, read) in [(Way::Usual, usual), (Way::Freshline, freshline)] {
            let (found, ended) = read?;
            let stale = scene.truth.staleness(began, ended, &found.value).await;
            let tally = match way {
                Way::Usual => &mut self.usual,
                Way::Freshline => &mut self.freshline,
            };
            tally.count(stale);
            scene.tell(scene.read(began, round, way, &found, stale.map(ms))).await;
            scene.served.send_modify(|served| match way {
                Way::Usual => served.usual = Some(found),
                Way::Freshline => served.freshline = Some(found),
            });
        }
        Ok(())
    }
}

/// A read, with the moment at which it ended.
async fn ended(read: impl Future<Output = Result<Found, Failure>>) -> Result<(Found, Instant), Failure> {
    let found = timeout(READ_MAX, read).await.map_err(|_| Failure::Late { what: "a read", bound: READ_MAX })??;
    Ok((found, Instant::now()))
}
