//! Kafka: the topics that Debezium, or our relay, writes. One consumer has all partitions while it has the turn.
//!
//! One topic with one partition and everything in it (changes, BEGIN, END, messages) has the order of the commits: exact ends, images,
//! and a position with each. With more partitions, or without BEGIN and END, changes come without their ends: they are removed and
//! not replaced, and the position is that of the last marker that has come to every partition.
//!
//! Whose topic it is the records tell: our relay writes its history into each, and nobody else does. It needs no markers, for its
//! heartbeats tell positions; to begin with they are written all the same, and what comes back is Debezium's message or the relay's
//! heartbeat.

mod catch_up;
mod error;
mod kept;
mod log;
mod markers;
mod offsets;
mod pump;
mod relayed;
mod state;
mod witness;

use freshline::{broker::kafka::KafkaAddress, change::Beginning, coherence, envelope::Numerics, rules::TableName};
use sqlx::postgres::PgConnectOptions;

pub use self::error::KafkaFailed;
use self::{log::Log, markers::Markers, pump::Pump};
use super::{Connected, Source, ahead::Ahead, decoder::Decoder, letters::Letters, turn::Turn};

/// What to consume, and who does.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// How to reach it.
    pub address: KafkaAddress,
    /// The topics: all of a connector's, or the one into which they are routed.
    pub topics: Vec<String>,
    /// Under which name the offsets are kept.
    pub group: String,
    /// How the connector writes `numeric`.
    pub numerics: Numerics,
    /// What this source is called where its dead letters are kept.
    pub name: String,
    /// The tables that have rules.
    pub tables: Vec<TableName>,
}

/// The topics of a connector or of our relay.
#[derive(Debug)]
pub struct Kafka {
    settings: KafkaSettings,
    database: PgConnectOptions,
}

impl Kafka {
    /// These topics, and the primary that their changes come from.
    pub fn new(settings: KafkaSettings, database: PgConnectOptions) -> Self {
        Self { settings, database }
    }
}

impl Source for Kafka {
    type Stream = Ahead<KafkaFailed>;
    type Error = KafkaFailed;

    async fn connect(&mut self, history: coherence::Source) -> Result<Connected<Self::Stream>, KafkaFailed> {
        let KafkaSettings { address, topics, group, numerics, name, tables } = self.settings.clone();
        let mut turn = Turn::take(self.database.clone(), &group).await?;
        let relations = turn.relations().await?;
        let log = Log::open(&address, &group, topics, history).await?;
        let start = log.start().await?;
        log.assign(&start.offsets)?;
        let mut markers = Markers::new(history, log.partitions().len());
        let messages = markers.next();
        turn.emit(&messages).await?;
        markers.written(&messages);
        // After the place was fixed where the log is read from, and after the marker was committed behind which it counts.
        let look = turn.look().await?;
        if look.source != history {
            return Err(KafkaFailed::SourceChanged { from: history, to: look.source });
        }
        let begins_after = if !start.holes.is_empty() { vec![Beginning::Over(look.snapshot.xmax())] } else { Vec::new() };
        let place = format!("offsets {:?} of {} partitions", start.offsets, start.offsets.len());
        let decoder = Decoder::new(history, relations, numerics, tables);
        let letters = Letters::new(name, self.database.clone());
        let pump = Pump::new(turn, log, (markers, decoder, letters), history, start);
        Ok(Connected { stream: Ahead::start(|reader| pump.run(reader)), place, start: None, begins_after })
    }
}
