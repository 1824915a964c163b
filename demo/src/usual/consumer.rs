//! The usual consumer of changes: DEL the key of each row that changed, on a slot of its own that goes with its connection.

use std::convert::Infallible;

use freshline::{
    change::{Datum, Event as Change, Row, RowChange},
    replication::{BatchLimits, ChangeStream, ReplicationError, Session, SlotName, StreamSettings},
};
use sqlx::postgres::PgConnectOptions;

use super::{cached, event::Phase, failure::Failure, scene::Scene};

/// What is taken from the stream at once.
const BATCH: BatchLimits = BatchLimits { events_max: 256, bytes_max: 1 << 20 };

/// The consumer.
pub struct Consumer {
    stream: ChangeStream,
}

impl Consumer {
    /// Makes the slot, and streams from now on.
    pub async fn start(server: PgConnectOptions, publication: &str) -> Result<Self, Failure> {
        let slot = format!("usual_{}", uuid::Uuid::new_v4().simple());
        // Of 38 letters and digits, beginning with a letter.
        let slot = SlotName::new(&slot)
            .map_err(|wrong| ReplicationError::Unexpected { doing: "naming a slot", message: wrong.to_string() })?;
        let mut session = Session::open(StreamSettings::new(server, slot, publication)).await?;
        session.create_temporary_slot().await?;
        Ok(Self { stream: session.start().await? })
    }

    /// Deletes keys until the stream fails.
    pub async fn run(&mut self, scene: &Scene) -> Result<Infallible, Failure> {
        let mut changes = Vec::new();
        loop {
            self.stream.next_batch(&mut changes, BATCH).await?;
            for change in changes.drain(..) {
                match change {
                    Change::Row(row) => self::apply(row, scene).await?,
                    Change::Commit { end, .. } => self.stream.acknowledge(end),
                    _ => {} // of no row
                }
            }
        }
    }

    /// Ends the stream, and its slot with it.
    pub async fn close(self) -> Result<(), Failure> {
        Ok(self.stream.close().await?)
    }
}

async fn apply(change: RowChange, scene: &Scene) -> Result<(), Failure> {
    let row = change.after.as_ref().or(change.before.as_ref());
    let text = |column: &str| row.and_then(|row| text(&change, row, column)).unwrap_or_default();
    if &*change.relation.schema != "public" || &*change.relation.name != "products" || text("id") != scene.id.to_string() {
        return Ok(()); // the usual way has cached no other
    }
    let price = text("price");
    scene.phase(Phase::Streamed, &price).await;
    cached::delete(&scene.links, &scene.key).await?;
    scene.phase(Phase::Deleted, &price).await;
    scene.deleted.notify_one();
    Ok(())
}

fn text(change: &RowChange, row: &Row, column: &str) -> Option<String> {
    let column = change.relation.columns.iter().position(|found| &*found.name == column)?;
    match row.get(column)? {
        Datum::Text(text) => Some(text.to_owned()),
        Datum::Null | Datum::Unchanged => None,
    }
}
