//! The task that reads: batches, markers meanwhile, looks at whether the topics are still the same, and acknowledgements back.

use std::time::Duration;

use freshline::coherence;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    error::KafkaFailed,
    kept::Next,
    log::{Log, Start},
    markers::Markers,
    state::State,
};
use crate::source::{
    ahead::{Left, Reader},
    decoder::Decoder,
    letters::Letters,
    turn::Turn,
};

/// How often a marker is written: protocol.md asks for four publications a second at least.
const MARKED_EVERY: Duration = Duration::from_millis(250);

/// How often it is looked whether the topics are still the same.
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// Everything that one session holds.
pub struct Pump {
    turn: Turn,
    log: Log,
    state: State,
}

/// How many partitions there are, and whether one of these records has become another.
async fn looked(log: &Log, read: &[Option<Next>]) -> Result<(usize, bool), KafkaFailed> {
    Ok((log.counted().await?, log.is_another(read).await?))
}

impl Pump {
    /// A pump of what is assigned to this log.
    pub fn new(turn: Turn, log: Log, tools: (Markers, Decoder, Letters), history: coherence::Source, start: Start) -> Self {
        let state = State::new(&log, tools, history, start);
        Self { turn, log, state }
    }

    /// Runs until it fails, or nobody takes what it reads.
    pub async fn run(self, mut reader: Reader<KafkaFailed>) -> Result<Left, KafkaFailed> {
        let Self { mut turn, log, mut state } = self;
        let mut mark = interval(MARKED_EVERY);
        mark.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looked_later = |read: Vec<Option<Next>>| {
            let log = &log;
            async move {
                tokio::time::sleep(LOOKED_EVERY).await;
                (looked(log, &read).await, read)
            }
        };
        let mut looking = Box::pin(looked_later(Vec::new()));
        loop {
            let events = tokio::select! {
                batch = log.batch() => state.decode(&mut turn, &log, &batch?).await?,
                _ = mark.tick() => state.mark(&mut turn, &log).await?,
                () = state.letters.is_time() => {
                    let asked = state.letters.asked().await?;
                    state.again(&mut turn, &asked).await?
                }
                (looked, read) = &mut looking => {
                    // What could not be looked at is looked at again, and not what was read after it.
                    let is_known = looked.is_ok();
                    let events = state.compare(&mut turn, looked).await?;
                    looking = Box::pin(looked_later(if is_known { state.next_look() } else { read }));
                    events
                }
                place = reader.acknowledged() => {
                    if let Some(next) = state.offsets.acknowledged(place) {
                        log.commit(&next)?;
                    }
                    continue;
                }
            };
            if let Err(left) = reader.hand_on(events).await {
                return Ok(left);
            }
        }
    }
}
