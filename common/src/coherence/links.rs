//! Keeps a link to Redis: makes another when one breaks, and asks a silent one until it answers.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::link::{Link, LinkError};
use crate::fault::Classified;

/// How often the clock is read on a link that answers. A reading serves until the next, and drift is far below a microsecond a second.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// How soon a silent link is asked again, and a broken one replaced.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The link that stands now, for those who call Redis. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    current: watch::Receiver<Option<Link>>,
}

/// The task that keeps [`Links`] supplied. To be spawned, and owned, by the process.
pub struct LinkKeeper {
    client: redis::Client,
    deadline: Duration,
    current: watch::Sender<Option<Link>>,
}

impl Links {
    /// Links to this Redis, each call of which is given up after `deadline`; and the task that makes them.
    pub fn new(client: redis::Client, deadline: Duration) -> (Self, LinkKeeper) {
        let (sender, current) = watch::channel(None);
        (Self { current }, LinkKeeper { client, deadline, current: sender })
    }

    /// The link that stands now; `None` where there is none, or where it is silent.
    pub fn get(&self) -> Option<Link> {
        self.current.borrow().as_ref().filter(|link| !link.is_silent() && !link.is_broken()).cloned()
    }

    /// Waits for a link.
    pub async fn ready(&mut self) -> Option<Link> {
        let usable = |link: &Option<Link>| link.as_ref().is_some_and(|link| !link.is_broken());
        self.current.wait_for(usable).await.ok()?.clone()
    }
}

impl LinkKeeper {
    /// Keeps a link until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep()).await;
    }

    async fn keep(self) {
        let mut pause = RETRY_MIN;
        let mut is_known_down = false;
        loop {
            match Link::connect(&self.client, self.deadline).await {
                Ok(link) => {
                    info!(redis.run = %link.run(), "connected to Redis, process {}", link.run());
                    (pause, is_known_down) = (RETRY_MIN, false);
                    self.current.send_replace(Some(link.clone()));
                    watch_over(&link).await;
                    self.current.send_replace(None);
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
        let was_silent = link.is_silent();
        match link.time().await {
            Ok(_) if was_silent => info!("Redis answers again"),
            Ok(_) => {}
            Err(LinkError::Silent) if was_silent => {}
            Err(error) => report(&error),
        }
    }
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
