//! The way to Redis: which stripes may be asked now, and what a call that failed means.
//!
//! Nothing from here is an error for the caller of the cache. A call that failed is counted, told in the log when that is news, and
//! then the read goes to Postgres.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::meters::Meters;
use crate::{
    coherence::{Link, LinkError, Links, Outage, Stripe, Stripes},
    fault::Classified,
    telemetry::chain,
};

/// The link that stands, and what is known of the stripes behind it.
pub(super) struct Door {
    links: Links,
    began: Instant,
    closed_pause: Duration,
    /// For each stripe: until when it is not to be asked, in µs since `began`.
    paused_until: Box<[AtomicU64]>,
    /// For each operation: whether its last call failed although Redis answers.
    is_refused: [AtomicBool; 4],
}

/// What Redis is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Look,
    Tag,
    Lease,
    Fill,
}

/// Why Redis is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barred {
    /// A stripe was found closed a moment ago.
    Paused,
    /// There is no link, or it is silent.
    NoLink,
}

impl Door {
    pub fn new(links: Links, stripes: &Stripes, closed_pause: Duration) -> Self {
        let paused_until = stripes.all().map(|_| AtomicU64::new(0)).collect();
        Self { links, began: Instant::now(), closed_pause, paused_until, is_refused: Default::default() }
    }

    /// The link to ask about these stripes.
    pub fn open(&self, stripes: &[Stripe]) -> Result<Link, Barred> {
        if stripes.iter().any(|stripe| self.is_paused(*stripe)) {
            return Err(Barred::Paused);
        }
        self.links.get().ok_or(Barred::NoLink)
    }

    /// The link that stands, for what sets something right even where a stripe is closed: a lease that is still held.
    pub fn link(&self) -> Option<Link> {
        self.links.get()
    }

    /// The outage that Redis is in, if it is away.
    pub fn outage(&self) -> Option<Outage> {
        self.links.outage()
    }

    /// Notes that a stripe is closed: it is not asked again for a while.
    pub fn found_closed(&self, stripe: Stripe) {
        self.paused_until[usize::from(stripe.number())].store(self.micros() + micros(self.closed_pause), Relaxed);
    }

    /// Notes how a call ended; answers with its reply if there is one.
    pub fn heard<T>(&self, meters: &Meters, operation: Operation, stripes: &[Stripe], reply: Result<T, LinkError>) -> Option<T> {
        let is_refused = &self.is_refused[operation as usize];
        match reply {
            Ok(reply) => {
                if is_refused.load(Relaxed) && is_refused.swap(false, Relaxed) {
                    info!(redis.operation = ?operation, "Redis does again what the cache asks of it");
                }
                Some(reply)
            }
            Err(error) => {
                meters.redis_failure(&error);
                // A link that is down or silent is reported, and asked again, by its keeper.
                if !matches!(error, LinkError::Down(_) | LinkError::Silent) {
                    if !is_refused.swap(true, Relaxed) {
                        warn!(redis.operation = ?operation, remedy = error.remedy(), "values are read from Postgres: {}", chain(&error));
                    }
                    // Where looks are refused, asking is of no use; where only writing is, hits go on.
                    if operation == Operation::Look {
                        stripes.iter().for_each(|stripe| self.found_closed(*stripe));
                    }
                }
                None
            }
        }
    }

    fn is_paused(&self, stripe: Stripe) -> bool {
        let until = self.paused_until[usize::from(stripe.number())].load(Relaxed);
        until != 0 && self.micros() < until
    }

    fn micros(&self) -> u64 {
        micros(self.began.elapsed())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
