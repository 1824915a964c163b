//! The change stream of a real Postgres.

mod bounds;
mod changes;
mod faults;
mod golden;
mod position;
mod preflight;
mod slots;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use freshline::{
    change::{Datum, Event, Row, RowChange},
    coherence::Lsn,
    replication::{BatchLimits, ChangeStream, ReplicationError, Session, SlotName, StreamSettings},
};
use stage::{Login, Stage};
use tokio::time::timeout;

const PUBLICATION: &str = "Told, \"all\"";
const LIMITS: BatchLimits = BatchLimits { events_max: 1000, bytes_max: 1 << 20 };

/// Numbers the marks that tests set in their streams.
static MARKS: AtomicU64 = AtomicU64::new(0);

/// Far longer than anything takes that works.
const WAIT_MAX: Duration = Duration::from_secs(30);

fn settings(t: &Stage) -> StreamSettings {
    settings_at(t, &t.database_url(Login::Superuser))
}

fn settings_at(t: &Stage, url: &str) -> StreamSettings {
    StreamSettings::new(url.parse().expect("a url"), SlotName::new(t.name()).expect("a slot's name"), PUBLICATION)
}

async fn session(t: &Stage) -> Session {
    Session::open(settings(t)).await.expect("a session")
}

async fn publish(t: &Stage) {
    t.sql("create publication \"Told, \"\"all\"\"\" for all tables").await;
}

/// A stream of everything that happens in this database from now on.
async fn follow(t: &Stage) -> Follower {
    publish(t).await;
    let mut session = session(t).await;
    session.create_slot().await.expect("a slot");
    Follower { stream: session.start().await.expect("a stream") }
}

/// A stream of everything that has not been acknowledged.
async fn resume(t: &Stage) -> Follower {
    // The walsender of the stream before may need a moment to see that it is gone.
    let stream = stage::until("the slot is free", async || session(t).await.start().await.map(Some)).await;
    Follower { stream }
}

struct Follower {
    stream: ChangeStream,
}

impl Follower {
    async fn batch(&mut self) -> Result<Vec<Event>, ReplicationError> {
        let mut events = Vec::new();
        timeout(WAIT_MAX, self.stream.next_batch(&mut events, LIMITS)).await.expect("an event in time")?;
        Ok(events)
    }

    /// Events from here on, until a batch that brings one that is wanted.
    async fn until(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let batch = self.batch().await.unwrap_or_else(|error| panic!("waiting for {what}: {error:?}"));
            let found = batch.iter().any(&mut wanted);
            events.extend(batch);
            if found {
                return events;
            }
        }
    }

    /// What has been committed in this database by now, without positions reached.
    ///
    /// A transaction of its own marks the end and is left out, as are earlier marks that come again. (A log position would not do:
    /// the insert position at the end of a page lies above the end of the last record, and nothing is streamed between the two.)
    async fn seen(&mut self, t: &Stage) -> Vec<Event> {
        let mark = MARKS.fetch_add(1, Ordering::Relaxed).to_string();
        t.sql(&format!("select pg_logical_emit_message(true, 'test.mark', '{mark}')")).await;
        let mut marked = false;
        let end = |event: &Event| {
            marked |= matches!(event, Event::Message { content, .. } if content == mark.as_bytes());
            marked && matches!(event, Event::Commit { .. })
        };
        let mut events = self.until("the mark", end).await;
        events.retain(|event| !matches!(event, Event::Reached { .. }));
        let is_mark = |event: &Event| matches!(event, Event::Message { prefix, .. } if **prefix == *"test.mark");
        while let Some(mark) = events.iter().position(is_mark) {
            events.drain(mark - 1..=mark + 1);
        }
        events
    }

    /// The rows among them.
    async fn rows(&mut self, t: &Stage) -> Vec<RowChange> {
        rows(self.seen(t).await)
    }

    /// The error that ends the stream.
    async fn end(&mut self) -> ReplicationError {
        loop {
            if let Err(error) = self.batch().await {
                return error;
            }
        }
    }
}

fn rows(events: Vec<Event>) -> Vec<RowChange> {
    let row = |event| if let Event::Row(change) = event { Some(change) } else { None };
    events.into_iter().filter_map(row).collect()
}

fn ends(events: &[Event]) -> Vec<Lsn> {
    let end = |event: &Event| if let Event::Commit { end, .. } = event { Some(*end) } else { None };
    events.iter().filter_map(end).collect()
}

/// A row as text: values by commas, `∅` null, `…` left out.
fn shown(row: &Row) -> String {
    let value = |column| match row.get(column).expect("a column of the row") {
        Datum::Null => "∅",
        Datum::Unchanged => "…",
        Datum::Text(value) => value,
    };
    (0..row.len()).map(value).collect::<Vec<_>>().join(",")
}

/// A change as text: operation, table, row before, row after.
fn told(change: &RowChange) -> String {
    let row = |row: &Option<Row>| row.as_ref().map_or("-".to_owned(), shown);
    format!("{:?} {} {} {}", change.operation, change.relation.name, row(&change.before), row(&change.after))
}
