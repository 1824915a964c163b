//! NATS JetStream: the one stream that our relay writes. One consumer reads it while it has the turn.
//!
//! The stream is in the order of the log and tells its own history, ends and positions; so a message is an event, its sequence number
//! a place, and a number that is missing a hole. What was acknowledged stands in the durable consumer. It is made anew at each
//! connection, right after what it says, so that nothing waits for its predecessor's pending messages to time out.

mod error;
mod log;
mod pump;

use freshline::{
    broker::nats::NatsSettings,
    change::{Beginning, Event, Place},
    coherence,
    dead_letters::DeadLetters,
    envelope::Numerics,
    rules::TableName,
};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

pub use self::error::NatsFailed;
use self::{log::Log, pump::Pump};
use super::{Connected, Source, Stream, decoder::Decoder, turn::Turn};

/// Batches decoded and not yet taken. Full: nothing is read, and the stream keeps what comes.
const BATCHES_IN_FLIGHT_MAX: usize = 4;

/// The stream of a relay.
#[derive(Debug)]
pub struct Nats {
    settings: NatsSettings,
    /// The durable consumer, one per cache.
    consumer: String,
    /// The tables that have rules.
    tables: Vec<TableName>,
    database: PgConnectOptions,
}

/// What a task reads, in order.
#[derive(Debug)]
pub struct NatsStream {
    batches: mpsc::Receiver<Vec<Event>>,
    acknowledged: watch::Sender<Place>,
    task: Option<AbortOnDropHandle<NatsFailed>>,
}

impl Nats {
    /// This stream read by a consumer of this name, and the primary that its changes come from.
    pub fn new(settings: NatsSettings, consumer: String, tables: Vec<TableName>, database: PgConnectOptions) -> Self {
        Self { settings, consumer, tables, database }
    }
}

impl Source for Nats {
    type Stream = NatsStream;
    type Error = NatsFailed;

    async fn connect(&mut self, history: coherence::Source) -> Result<Connected<NatsStream>, NatsFailed> {
        let mut turn = Turn::take(self.database.clone(), &format!("{} {}", self.settings.stream, self.consumer)).await?;
        let relations = turn.relations().await?;
        let (log, start) = Log::open(&self.settings, &self.consumer).await?;
        // After the place was fixed where the stream is read from: what had begun by now and is skipped has to be over.
        let look = turn.look().await?;
        if look.source != history {
            return Err(NatsFailed::SourceChanged { from: history, to: look.source });
        }
        if let Some(hole) = &start.hole {
            tracing::warn!("{hole}: what is cached cannot be trusted");
        }
        let begins_after = start.hole.iter().map(|_| Beginning::Over(look.snapshot.xmax())).collect();
        let decoder = Decoder::new(relations, Numerics::default(), self.tables.clone());
        let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT_MAX);
        let (acknowledged, told) = watch::channel(Place::default());
        let pump = Pump::new(turn, log, decoder, history, start.sequence, DeadLetters::new(self.database.clone()));
        let task = Some(AbortOnDropHandle::new(tokio::spawn(pump.run(sender, told))));
        let place = format!("message {} of the stream {}", start.sequence, self.settings.stream);
        Ok(Connected { stream: NatsStream { batches, acknowledged, task }, place, start: None, begins_after })
    }
}

impl Stream for NatsStream {
    type Error = NatsFailed;

    async fn next_batch(&mut self, events: &mut Vec<Event>) -> Result<(), NatsFailed> {
        if let Some(mut batch) = self.batches.recv().await {
            events.append(&mut batch);
            return Ok(());
        }
        match self.task.take() {
            Some(task) => Err(task.await.unwrap_or(NatsFailed::Ended)),
            None => Err(NatsFailed::Ended),
        }
    }

    fn acknowledge(&mut self, place: Place) {
        self.acknowledged.send_replace(place);
    }
}
