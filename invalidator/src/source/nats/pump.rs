//! The task that reads: batch, look at the primary, decode, hand on; and acknowledgements back.

use freshline::{
    change::{Event, Place},
    coherence::{self, Lsn},
    dead_letters::Asked,
    envelope::Now,
    primary::Look,
};
use tracing::{debug, warn};

use super::{
    error::NatsFailed,
    log::{Delivered, Log},
};
use crate::source::{
    ahead::{Left, Reader},
    decoder::{Decoder, Taken},
    letters::Letters,
    prepared::Prepared,
    turn::Turn,
};

/// Everything that one session holds.
pub struct Pump {
    log: Log,
    state: State,
}

/// What is known of the stream, as far as it was read.
struct State {
    turn: Turn,
    decoder: Decoder,
    history: coherence::Source,
    /// The message that comes next.
    next: u64,
    letters: Letters,
}

impl Pump {
    pub fn new(turn: Turn, log: Log, decoder: Decoder, history: coherence::Source, next: u64, letters: Letters) -> Self {
        Self { log, state: State { turn, decoder, history, next, letters } }
    }

    /// Runs until it fails, or nobody takes what it reads.
    pub async fn run(self, mut reader: Reader<NatsFailed>) -> Result<Left, NatsFailed> {
        let Self { mut log, mut state } = self;
        loop {
            let events = tokio::select! {
                batch = log.batch() => state.decode(&batch?).await?,
                () = state.letters.is_time() => {
                    let asked = state.letters.asked().await?;
                    state.again(&asked).await?
                }
                place = reader.acknowledged() => {
                    log.acknowledge(place).await?;
                    continue;
                }
            };
            if let Err(left) = reader.hand_on(events).await {
                return Ok(left);
            }
        }
    }
}

impl State {
    /// A batch's events. That the primary answers proves that the turn is still ours.
    async fn decode(&mut self, batch: &[Delivered]) -> Result<Vec<Event>, NatsFailed> {
        let look = self.look().await?;
        let mut events = Vec::with_capacity(batch.len() * 3);
        let raw: Vec<_> = batch.iter().map(Delivered::raw).collect();
        for (delivered, prepared) in batch.iter().zip(self.decoder.prepare(&raw)) {
            // Sent again, because no acknowledgement has come in time.
            if delivered.sequence < self.next {
                continue;
            }
            let now = Now { bound: look.insert, place: Place(delivered.sequence) };
            if delivered.sequence > self.next {
                warn!(expected = self.next, came = delivered.sequence, "messages are missing from the stream");
                self.decoder.hole(&look, now, &mut events);
            }
            self.next = delivered.sequence + 1;
            self.take(delivered, prepared, (&look, now), &mut events).await?;
        }
        Ok(events)
    }

    async fn look(&mut self) -> Result<Look, NatsFailed> {
        let look = self.turn.look().await?;
        if look.source == self.history { Ok(look) } else { Err(NatsFailed::SourceChanged { from: self.history, to: look.source }) }
    }

    /// The events of dead letters that are to be tried again, between two transactions.
    async fn again(&mut self, asked: &[Asked]) -> Result<Vec<Event>, NatsFailed> {
        let mut events = Vec::new();
        if !asked.is_empty() && self.decoder.is_outside() {
            let look = self.look().await?;
            let now = Now { bound: look.insert, place: Place(self.next - 1) };
            let hands = (&mut self.decoder, &mut self.turn);
            self.letters.try_again::<NatsFailed>(asked, hands, (&look, now), &mut events).await?;
        }
        Ok(events)
    }

    async fn take(
        &mut self,
        delivered: &Delivered,
        prepared: Prepared<'_>,
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> Result<(), NatsFailed> {
        match self.decoder.take(&mut self.turn, prepared, (look, now), events).await? {
            Ok(Taken::Done | Taken::Message { .. }) => {}
            // The place moves on, and nothing else.
            Ok(Taken::Passed(position)) if self.decoder.is_outside() => events.push(Event::Reached { position, place: now.place }),
            Ok(Taken::Passed(_)) => debug!("a message of no transaction came in the middle of one"),
            Ok(Taken::Later(to)) => return Err(NatsFailed::SourceChanged { from: self.history, to }),
            Err(poison) => {
                // Before anything after it is handed on.
                let (place, subject) = (format!("message {} of the stream", delivered.sequence), &delivered.message.subject);
                self.letters.keep(&place, subject, &poison, &delivered.message.payload).await?;
                self.decoder.poisoned(&poison.partial, look, now, events);
                self.decoder.pause(now, events);
                if self.decoder.is_outside() {
                    events.push(Event::Reached { position: Lsn::ZERO, place: now.place });
                }
            }
        }
        Ok(())
    }
}
