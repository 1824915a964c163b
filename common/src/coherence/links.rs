//! Keeps a link to Redis: makes another when one breaks, and asks a silent one until it answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Acquire},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use metrics::{counter, gauge, histogram};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::link::{Link, LinkError, Shared};
use crate::{fault::Classified, telemetry::names};

/// How often the clock is read on a link that answers. A reading serves until the next, and drift is far below a microsecond a second.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// How soon a silent link is asked again, and a broken one replaced.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The link that stands now, for those who call Redis. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    current: Arc<ArcSwapOption<Shared>>,
    outages: Arc<AtomicU64>,
    /// Told of each change of `current`. Read apart from it, because each read of the cache asks for the link, and this has a lock.
    changed: watch::Receiver<()>,
}

/// One time that Redis was away. Two are the same only if it did not answer in between; a later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outage(u64);

#[cfg(test)]
impl Outage {
    /// One of this number, for tests without a Redis.
    pub(crate) fn numbered(number: u64) -> Self {
        Self(number)
    }
}

/// The task that keeps [`Links`] supplied. To be spawned, and owned, by the process.
pub struct LinkKeeper {
    client: redis::Client,
    deadline: Duration,
    current: Arc<ArcSwapOption<Shared>>,
    outages: Arc<AtomicU64>,
    changed: watch::Sender<()>,
}

impl Links {
    /// Links to this Redis, each call of which is given up after `deadline`; and the task that makes them.
    pub fn new(client: redis::Client, deadline: Duration) -> (Self, LinkKeeper) {
        let (sender, changed) = watch::channel(());
        let (current, outages) = (Arc::new(ArcSwapOption::empty()), Arc::new(AtomicU64::new(0)));
        let links = Self { current: current.clone(), outages: outages.clone(), changed };
        (links, LinkKeeper { client, deadline, current, outages, changed: sender })
    }

    /// The link that stands now; `None` where there is none, or where it is silent.
    pub fn get(&self) -> Option<Link> {
        self.unbroken().filter(|link| !link.is_silent())
    }

    /// The outage that Redis is in; `None` while there is a link that answers.
    pub fn outage(&self) -> Option<Outage> {
        // In this order: an outage is counted before the link shows it.
        if self.get().is_some() { None } else { Some(Outage(self.outages.load(Acquire))) }
    }

    /// Waits for a link.
    pub async fn ready(&mut self) -> Option<Link> {
        loop {
            self.changed.mark_unchanged();
            if let Some(link) = self.unbroken() {
                return Some(link);
            }
            self.changed.changed().await.ok()?;
        }
    }

    fn unbroken(&self) -> Option<Link> {
        self.current.load_full().map(Link::from_shared).filter(|link| !link.is_broken())
    }
}

impl LinkKeeper {
    /// Keeps a link until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep()).await;
    }

    fn set(&self, link: Option<&Link>) {
        up(link.is_some());
        self.current.store(link.map(|link| link.shared().clone()));
        self.changed.send_replace(());
    }

    async fn keep(self) {
        let mut pause = RETRY_MIN;
        let mut is_known_down = false;
        up(false);
        loop {
            match Link::connect_counting(&self.client, self.deadline, self.outages.clone()).await {
                Ok(link) => {
                    info!(redis.run = %link.run(), "connected to Redis, process {}", link.run());
                    (pause, is_known_down) = (RETRY_MIN, false);
                    self.set(Some(&link));
                    watch_over(&link).await;
                    self.set(None);
                    counter!(names::RECONNECTS, "to" => "redis").increment(1);
                    warn!("the connection to Redis broke");
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_known_down, true) {
                        report(&error);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }
}

/// Reads the clock of a link until it breaks.
async fn watch_over(link: &Link) {
    loop {
        let pause = if link.is_silent() { RETRY_MIN } else { CLOCK_INTERVAL };
        tokio::select! {
            () = link.broken() => return,
            () = link.silenced(), if !link.is_silent() => continue,
            () = tokio::time::sleep(pause) => {}
        }
        let (was_silent, asked) = (link.is_silent(), Instant::now());
        let time = link.time().await;
        up(time.is_ok());
        match time {
            Ok(_) if was_silent => info!("Redis answers again"),
            Ok(_) => histogram!(names::REDIS_ROUND_TRIP).record(asked.elapsed()),
            Err(LinkError::Silent) if was_silent => {}
            Err(error) => report(&error),
        }
    }
}

fn up(is_up: bool) {
    gauge!(names::REDIS_UP).set(if is_up { 1.0 } else { 0.0 });
}

fn report(error: &LinkError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    warn!(cause, remedy = error.remedy(), "{error}");
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("run", &self.get().map(|link| link.run())).finish()
    }
}
