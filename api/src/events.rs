//! The live feed: what the invalidators did, as the trail tells it, and which processes run, sent to everybody who listens (server-sent
//! events, HTML standard, 9.2).
//!
//! One task of a replica reads the trail and one looks at the registry, each for all listeners, on connections of their own and only while
//! somebody listens: readers of the cache share nothing with them. A listener that does not keep up loses the oldest events and is told
//! how many; one that comes back says what it saw last, and is told from there.

mod answer;
mod asked;
mod listener;
mod place;

use std::{sync::Arc, time::Duration};

use freshline::{
    clock::now_us,
    coherence::{Link, LinkError, Stripes},
    fault::in_full,
    registry::{self, Process},
    retry::{Policy, Retry},
    rules::Rules,
    trail::{self, Told},
};
use serde::Serialize;
use tokio::{
    sync::{Mutex, Notify, Semaphore, broadcast, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use utoipa::ToSchema;

pub use self::{
    answer::{__path_events, events},
    asked::LAST_EVENT_ID,
    listener::Lost,
};

/// Listeners at a time: each holds a connection, of which a replica has a thousand or so.
const LISTENERS_MAX: usize = 256;

/// Events that one listener may be behind. They are kept once for all of them.
const BEHIND_MAX: usize = 1_024;

/// How long one look at the trail waits for something to come.
const BLOCK: Duration = Duration::from_secs(2);

/// How long Redis may take for that, the wait included.
const FOLLOW_WITHIN: Duration = Duration::from_secs(4);

/// How long it may take for anything else.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// How often is told which processes run.
const PROCESSES_EVERY: Duration = Duration::from_secs(1);

/// How long to leave a Redis alone that refuses for good, until somebody mends it.
const REFUSED_PAUSE: Duration = Duration::from_secs(15);

/// Who listens, and to what.
pub struct Events {
    told: broadcast::Sender<Arc<Told>>,
    trail: watch::Sender<Trail>,
    /// What was seen of the processes last; none while nobody wants to know.
    seen: watch::Sender<Option<Arc<Seen>>>,
    wanted: [Notify; 2],
    places: Arc<Semaphore>,
    redis: redis::Client,
    /// For looks that do not wait.
    looks: Mutex<Option<Link>>,
    stripes: Stripes,
    rules: Rules,
    /// This process's name in the registry.
    process: String,
    ending: CancellationToken,
}

/// How it is with the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trail {
    /// Nobody reads it.
    Unread,
    /// What comes is heard by whoever listens.
    Read,
    /// It cannot be read at present. What comes meanwhile is heard later.
    Away,
}

/// What was seen when the registry was looked at.
#[derive(Debug)]
enum Seen {
    /// Which processes run.
    Processes(String),
    /// Nothing.
    Nothing(String),
}

/// Which processes run, and what each says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct Processes<'a> {
    /// When, by the clock of the replica that looked, in µs since 1970.
    at_us: i64,
    /// That replica.
    by: &'a str,
    /// By role, and then by start.
    processes: Vec<Process>,
}

/// Why the processes could not be looked at.
#[derive(Debug, Serialize, ToSchema)]
pub struct Unseen<'a> {
    /// When, by the clock of the replica that looked, in µs since 1970.
    at_us: i64,
    /// That replica.
    by: &'a str,
    /// Why.
    why: String,
}

impl Events {
    /// Nobody listens yet. Listeners are sent away when `ending` is cancelled. `process` is this process's name in the registry.
    pub fn new(redis: redis::Client, stripes: Stripes, rules: Rules, process: String, ending: CancellationToken) -> Self {
        Self {
            told: broadcast::channel(BEHIND_MAX).0,
            trail: watch::channel(Trail::Unread).0,
            seen: watch::channel(None).0,
            wanted: Default::default(),
            places: Arc::new(Semaphore::new(LISTENERS_MAX)),
            redis,
            looks: Mutex::default(),
            stripes,
            rules,
            process,
            ending,
        }
    }

    /// Reads for those who listen, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let followed = stop.run_until_cancelled(self.follow(&stop));
        let looked = stop.run_until_cancelled(self.look_again_and_again());
        futures::join!(followed, looked);
    }

    /// Reads the trail while somebody listens.
    async fn follow(&self, stop: &CancellationToken) {
        let (mut retry, mut place) = (Retry::new("the live feed", Policy::FOR_EVER), None);
        loop {
            let Err(error) = self.follow_while_wanted(&mut retry, &mut place).await else { continue };
            self.trail.send_replace(Trail::Away);
            if let Err(given_up) = retry.failed(error, stop).await {
                warn!("the live feed cannot be read: {}", in_full(&given_up));
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }

    /// Waits until somebody listens, then sends what comes after this place, or from now on, until nobody does any more.
    async fn follow_while_wanted(&self, retry: &mut Retry, place: &mut Option<String>) -> Result<(), LinkError> {
        let [wanted, _] = &self.wanted;
        while self.told.receiver_count() == 0 {
            *place = None;
            self.trail.send_replace(Trail::Unread);
            wanted.notified().await;
        }
        let link = Link::connect(&self.redis, FOLLOW_WITHIN).await?;
        if place.is_none() {
            *place = Some(trail::last(&link, &self.stripes).await?);
        }
        retry.succeeded();
        self.trail.send_replace(Trail::Read);
        while self.is_wanted() {
            let after = place.as_deref().unwrap_or("$");
            for told in trail::follow(&link, &self.stripes, after, BLOCK).await? {
                *place = Some(told.id.clone());
                // Whoever listened may have left.
                self.told.send(Arc::new(told)).ok();
            }
        }
        Ok(())
    }

    /// Whether somebody listens. Where nobody does, the trail counts as unread before it is: who comes in between is not told that it is
    /// read, or is counted.
    fn is_wanted(&self) -> bool {
        if self.told.receiver_count() > 0 {
            return true;
        }
        self.trail.send_replace(Trail::Unread);
        let is_wanted = self.told.receiver_count() > 0;
        if is_wanted {
            self.trail.send_replace(Trail::Read);
        }
        is_wanted
    }

    /// Looks at the registry once a second while somebody wants to know.
    async fn look_again_and_again(&self) {
        let [_, wanted] = &self.wanted;
        let mut every = interval(PROCESSES_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while self.seen.receiver_count() == 0 {
                self.seen.send_replace(None);
                wanted.notified().await;
            }
            every.tick().await;
            let seen = self.look().await;
            self.seen.send_replace(Some(Arc::new(seen)));
        }
    }

    async fn look(&self) -> Seen {
        let looked = async { registry::processes(&self.link().await?, &self.stripes).await };
        let (at_us, by) = (now_us(), self.process.as_str());
        // Strings and numbers: none of them can fail to be written.
        match looked.await {
            Ok(processes) => Seen::Processes(json(&Processes { at_us, by, processes })),
            Err(error) => {
                debug!(error = &error as &dyn std::error::Error, "the registry could not be looked at");
                Seen::Nothing(json(&Unseen { at_us, by, why: in_full(&error) }))
            }
        }
    }

    /// The connection for looks.
    async fn link(&self) -> Result<Link, LinkError> {
        let mut kept = self.looks.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| !link.is_broken()) {
            return Ok(link.clone());
        }
        let link = Link::connect(&self.redis, LOOK_WITHIN).await?;
        *kept = Some(link.clone());
        Ok(link)
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
