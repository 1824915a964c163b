//! Tells the trail what was done, beside the work and at next to no cost to it: what does not fit is left out, and counted.

use std::{
    mem::take,
    sync::Arc,
    time::{Duration, Instant},
};

use freshline::{
    clock::now_us,
    coherence::{Link, Lsn, Stripes, Xid},
    telemetry::names,
    trail::{self, Effect as Done, Moments, Record},
};
use metrics::counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::transaction::{Effect, Written};

/// How many records are told in each window: 1,000 a second. A backlog of fifty times as many changes is sampled.
const WINDOW_LEN_MAX: u32 = 100;

/// How many fences are told of in each, besides: what was told of as done is told of as visible.
const VISIBLE_LEN_MAX: u32 = 100;

/// The window.
const WINDOW: Duration = Duration::from_millis(100);

/// Records that wait to be written.
const WAITING_MAX: usize = 1_024;

/// Records that are sent together.
const PIPELINE_LEN_MAX: usize = 128;

/// How long Redis may take for one of those; and how long to wait after it failed.
const DEADLINE: Duration = Duration::from_secs(1);

/// What the applier tells.
#[derive(Debug, Clone)]
pub struct Trail {
    /// None where nobody wants to know.
    records: Option<mpsc::Sender<Record>>,
    /// Who tells: this process, by its id in the registry.
    by: Arc<str>,
    /// How many more records this window takes.
    left: u32,
    /// How many more fences.
    visible_left: u32,
    /// When this window began.
    window: Instant,
    /// How many have been left out since the last record.
    skipped: u64,
    /// How many of them because the window was full, since it began.
    sampled: u64,
}

/// The task that writes the trail, on a connection of its own.
#[derive(Debug)]
pub struct Writer {
    records: mpsc::Receiver<Record>,
    client: redis::Client,
    stripes: Stripes,
    len_max: u32,
}

impl Trail {
    /// A trail of about `len_max` records, told by the process of this id; and the task that writes it. With 0 there is neither.
    pub fn new(client: redis::Client, stripes: Stripes, len_max: u32, by: &str) -> (Self, Option<Writer>) {
        let (sender, records) = mpsc::channel(WAITING_MAX);
        let is_wanted = len_max > 0;
        let trail = Self {
            records: is_wanted.then_some(sender),
            by: by.into(),
            left: WINDOW_LEN_MAX,
            visible_left: VISIBLE_LEN_MAX,
            window: Instant::now(),
            skipped: 0,
            sampled: 0,
        };
        (trail, is_wanted.then_some(Writer { records, client, stripes, len_max }))
    }

    /// Begins a window if it is time. Once a batch or a poll, and not for each change.
    pub fn begin(&mut self) {
        if self.records.is_some() && self.window.elapsed() >= WINDOW {
            (self.window, self.left, self.visible_left) = (Instant::now(), WINDOW_LEN_MAX, VISIBLE_LEN_MAX);
            counter!(names::TRAIL_SKIPPED, "reason" => "sampled").increment(take(&mut self.sampled));
        }
    }

    /// Adds to `told` what a transaction does to these dependencies, as far as the window takes it. Said later, once it is done.
    pub fn note(&mut self, told: &mut Vec<Record>, (xid, end, written): (Xid, Lsn, Written), effects: &[Effect]) {
        if self.records.is_none() {
            return;
        }
        let taken = effects.len().min(self.left as usize);
        let left_out = (effects.len() - taken) as u64;
        (self.skipped, self.sampled) = (self.skipped + left_out, self.sampled + left_out);
        self.left -= taken as u32;
        let times = Moments { committed_us: written.at_us, received_us: written.received_us, applied_us: None };
        let by = Some(self.by.clone());
        told.extend(effects[..taken].iter().map(|effect| {
            let (effect, name) = match effect {
                Effect::Key(key, Some(_)) => (Done::Replaced, key.as_str()),
                Effect::Key(key, None) => (Done::Removed, key.as_str()),
                Effect::Tag(tag) => (Done::Tag, tag.as_str()),
            };
            Record { effect, name: name.to_owned(), xid: Some(xid), end: Some(end), skipped: 0, by: by.clone(), times }
        }));
    }

    /// Says that what was noted is done: now, for Redis has just confirmed it.
    pub fn say(&mut self, told: Vec<Record>) {
        if told.is_empty() {
            return;
        }
        let applied_us = Some(now_us());
        for mut record in told {
            record.times.applied_us = applied_us;
            self.send(record);
        }
    }

    /// Adds to `told` that a snapshot sees a transaction that was fenced for this key or tag. Said later, once the fence is dropped.
    pub fn note_visible(&mut self, told: &mut Vec<Record>, xid: Xid, name: &str) {
        if self.records.is_none() {
            return;
        }
        if self.visible_left == 0 {
            (self.skipped, self.sampled) = (self.skipped + 1, self.sampled + 1);
            return;
        }
        self.visible_left -= 1;
        let (by, times) = (Some(self.by.clone()), Moments::default());
        told.push(Record { effect: Done::Visible, name: name.to_owned(), xid: Some(xid), end: None, skipped: 0, by, times });
    }

    /// Says what was done to every value, or to all of one stripe. It is rare, and told in any window.
    pub fn say_all(&mut self, effect: Done, stripe: Option<u16>, by: Option<(Xid, Lsn)>) {
        let name = stripe.map(|stripe| format!("stripe {stripe}")).unwrap_or_default();
        let (xid, end) = by.unzip();
        let times = Moments { applied_us: Some(now_us()), ..Moments::default() };
        self.send(Record { effect, name, xid, end, skipped: 0, by: Some(self.by.clone()), times });
    }

    fn send(&mut self, mut record: Record) {
        let Some(records) = &self.records else { return };
        record.skipped = take(&mut self.skipped);
        if let Err(error) = records.try_send(record) {
            self.skipped = error.into_inner().skipped + 1;
            counter!(names::TRAIL_SKIPPED, "reason" => "behind").increment(1);
        }
    }
}

impl Writer {
    /// Writes until `stop`. What Redis does not take is left out.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.write()).await;
    }

    async fn write(mut self) {
        let (mut link, mut records) = (None, Vec::with_capacity(PIPELINE_LEN_MAX));
        while self.records.recv_many(&mut records, PIPELINE_LEN_MAX).await > 0 {
            if !self.send(&mut link, &records).await {
                counter!(names::TRAIL_SKIPPED, "reason" => "redis").increment(records.len() as u64);
                tokio::time::sleep(DEADLINE).await;
            }
            records.clear();
        }
    }

    async fn send(&self, link: &mut Option<Link>, records: &[Record]) -> bool {
        let standing = link.take().filter(|link| !link.is_broken());
        let connected = match standing {
            Some(link) => Ok(link),
            None => Link::connect(&self.client, DEADLINE).await,
        };
        let sent = async {
            let connected = connected?;
            let mut pipeline = redis::Pipeline::with_capacity(records.len());
            for record in records {
                pipeline.add_command(trail::add(&self.stripes, self.len_max, record));
            }
            connected.call_all(&pipeline, records.len()).await.map(|_| connected)
        };
        match sent.await {
            Ok(connected) => *link = Some(connected),
            Err(error) => debug!(error = &error as &dyn std::error::Error, "the trail could not be written"),
        }
        link.is_some()
    }
}
