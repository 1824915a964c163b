//! NATS JetStream: the one stream that our relay writes. One consumer reads it while it has the turn.
//!
//! The stream is in the order of the log and tells its own history, ends and positions; so a message is an event, its sequence number
//! a place, and a number that is missing a hole. What was acknowledged stands in the durable consumer. It is made anew at each
//! connection, right after what it says, so that nothing waits for its predecessor's pending messages to time out.

mod error;
mod log;
mod pump;

use freshline::{broker::nats::NatsSettings, change::Beginning, coherence, envelope::Numerics, rules::TableName};
use sqlx::postgres::PgConnectOptions;

pub use self::error::NatsFailed;
use self::{log::Log, pump::Pump};
use super::{Connected, Source, ahead::Ahead, decoder::Decoder, letters::Letters, turn::Turn};

/// The stream of a relay.
#[derive(Debug)]
pub struct Nats {
    settings: NatsSettings,
    /// The durable consumer, one per cache.
    consumer: String,
    /// What this source is called where its dead letters are kept.
    name: String,
    /// The tables that have rules.
    tables: Vec<TableName>,
    database: PgConnectOptions,
}

impl Nats {
    /// This stream read by a consumer of this name, and the primary that its changes come from. Dead letters are kept under `name`.
    pub fn new(settings: NatsSettings, consumer: String, name: String, tables: Vec<TableName>, database: PgConnectOptions) -> Self {
        Self { settings, consumer, name, tables, database }
    }
}

impl Source for Nats {
    type Stream = Ahead<NatsFailed>;
    type Error = NatsFailed;

    async fn connect(&mut self, history: coherence::Source) -> Result<Connected<Self::Stream>, NatsFailed> {
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
        let decoder = Decoder::new(history, relations, Numerics::default(), self.tables.clone());
        let letters = Letters::new(self.name.clone(), self.database.clone());
        let pump = Pump::new(turn, log, decoder, history, start.sequence, letters);
        let place = format!("message {} of the stream {}", start.sequence, self.settings.stream);
        Ok(Connected { stream: Ahead::start(|reader| pump.run(reader)), place, start: None, begins_after })
    }
}
