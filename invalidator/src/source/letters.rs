//! Messages that a broker's source cannot use: kept before anything after them is handed on, and tried again when somebody asks.

use std::time::Duration;

use freshline::{
    change::Event,
    dead_letters::{Asked, DeadLetterError, DeadLetters, Letter},
    envelope::{Now, Poison},
    primary::{Look, PrimaryError},
};
use sqlx::postgres::PgConnectOptions;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{decoder::Decoder, turn::Turn};

/// How often it is looked whether somebody asks for another attempt.
const LOOKED_EVERY: Duration = Duration::from_secs(2);

/// The dead letters of one source.
pub struct Letters {
    /// Its name, and which shard it is where there are more: each has its own letters, for each applies its own share.
    source: String,
    kept: DeadLetters,
    look: Interval,
}

impl Letters {
    pub fn new(source: String, database: PgConnectOptions) -> Self {
        let mut look = interval(LOOKED_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { source, kept: DeadLetters::new(database), look }
    }

    /// Keeps a message. What it touches is told by [`super::decoder::Decoder::poisoned`].
    pub async fn keep(&self, place: &str, subject: &str, poison: &Poison, raw: &[u8]) -> Result<(), DeadLetterError> {
        let table = poison.partial.table.as_ref().map(|(schema, name)| format!("{schema}.{name}"));
        let (source, reason) = (&*self.source, &*poison.reason.to_string());
        self.kept.write(&Letter { source, place, subject: Some(subject), table: table.as_deref(), reason, raw }).await
    }

    /// Waits until it is time to look at [`Letters::asked`]. May be dropped at any time.
    pub async fn is_time(&mut self) {
        self.look.tick().await;
    }

    /// Those that are to be tried again.
    pub async fn asked(&self) -> Result<Vec<Asked>, DeadLetterError> {
        self.kept.asked(&self.source).await
    }

    /// Tries them again, and adds the events of those that can be used now. The decoder is outside of any transaction.
    pub async fn try_again<E: From<PrimaryError> + From<DeadLetterError>>(
        &self,
        asked: &[Asked],
        (decoder, turn): (&mut Decoder, &mut Turn),
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> Result<(), E> {
        for letter in asked {
            let outcome = match letter.truncated {
                true => Err("only its first megabyte was kept".to_owned()),
                false => decoder.again(turn, &letter.raw, (look, now), events).await?,
            };
            match &outcome {
                Ok(()) => info!(id = letter.id, "a dead letter was tried again, and worked"),
                Err(reason) => warn!(id = letter.id, reason, "a dead letter was tried again, and cannot be used: {reason}"),
            }
            self.kept.tried(letter.id, outcome).await?;
        }
        Ok(())
    }
}
