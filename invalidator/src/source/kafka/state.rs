//! What is known of the log, as far as it was read: batches → events, markers, holes, and which offsets a place stands for.

use freshline::{
    broker::{
        MessageId,
        kafka::{ID_HEADER, NUMBER_HEADER},
    },
    change::{Event, Place},
    coherence::{self, Lsn},
    dead_letters::Asked,
    envelope::{Now, Record},
    primary::Look,
};
use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};
use tracing::{info, warn};

use super::{
    catch_up::CatchUp,
    error::KafkaFailed,
    kept::Next,
    log::{Log, Start},
    markers::{Arrived, Markers},
    offsets::Offsets,
    relayed::Relayed,
};
use crate::source::{
    decoder::{Decoder, Taken, history_of, loosen},
    letters::Letters,
    prepared::Prepared,
    turn::Turn,
};

/// After so many markers of which none has come to some partition they are not waited for any more: none of them ever may come.
const GIVEN_UP_AFTER: u64 = 40;

/// Of so many only one is written then.
const SELDOM: u64 = 20;

/// What is known of the log, as far as it was read.
pub struct State {
    history: coherence::Source,
    markers: Markers,
    relayed: Relayed,
    decoder: Decoder,
    pub letters: Letters,
    pub offsets: Offsets,
    /// By partition, what the first record has to be so that nothing is missing before it.
    expected: Vec<Option<Next>>,
    /// Read so far, by partition; and where all that was read had been ended.
    read: Vec<Option<Next>>,
    ended: Vec<Option<Next>>,
    /// What had been read when it was last looked whether the topics are still the same.
    looked_at: Vec<Option<Next>>,
    batch: u64,
    catch_up: CatchUp,
    /// How many markers were due.
    marked: u64,
    /// What comes before the first marker everywhere may be of another history: it is not applied.
    is_skipping: bool,
}

impl State {
    /// Nothing has been read yet of what is assigned to this log. What comes before the first marker is skipped where it may be of another
    /// history.
    pub fn new(
        log: &Log,
        (markers, decoder, letters): (Markers, Decoder, Letters),
        history: coherence::Source,
        start: Start,
    ) -> Self {
        let partitions = log.partitions().len();
        Self {
            history,
            relayed: Relayed::new(partitions),
            markers,
            decoder,
            letters,
            offsets: Offsets::default(),
            catch_up: CatchUp::new(&start.offsets, &start.ends),
            expected: start.expected,
            read: vec![None; partitions],
            ended: vec![None; partitions],
            looked_at: Vec::new(),
            batch: 0,
            marked: 0,
            is_skipping: !start.holes.is_empty(),
        }
    }

    /// A batch's events. What the primary is in is asked after it came: a session that lives proves that nothing in it is later.
    pub async fn decode(&mut self, turn: &mut Turn, log: &Log, batch: &[BorrowedMessage<'_>]) -> Result<Vec<Event>, KafkaFailed> {
        let look = self.look(turn).await?;
        let now = Now { bound: look.insert, place: Place(self.batch) };
        self.batch += 1;
        let mut events = Vec::with_capacity(batch.len() * 3);
        let raw: Vec<_> = batch.iter().map(|message| (message.key(), message.payload())).collect();
        for (message, prepared) in batch.iter().zip(self.decoder.prepare(&raw)) {
            self.take((turn, log), (message, prepared), (&look, now), &mut events).await?;
        }
        if self.is_loose() {
            self.decoder.cut(now, &mut events);
            loosen(&mut events, now.bound);
        } else {
            self.decoder.pause(now, &mut events);
        }
        self.finish(now, &mut events);
        Ok(events)
    }

    async fn look(&self, turn: &mut Turn) -> Result<Look, KafkaFailed> {
        let look = turn.look().await?;
        if look.source == self.history { Ok(look) } else { Err(KafkaFailed::SourceChanged { from: self.history, to: look.source }) }
    }

    /// Whether an END proves nothing: with several partitions it may come before rows of its transaction that lie in others; and where
    /// no marker comes back, it may be of another history.
    fn is_loose(&self) -> bool {
        self.read.len() > 1 || self.has_given_up()
    }

    /// Whether markers are not waited for any more. One may come all the same, when who was away is back.
    fn has_given_up(&self) -> bool {
        self.marked >= GIVEN_UP_AFTER && self.position() == Lsn::ZERO
    }

    /// Writes a marker, where they are any use; and sees whether the log's end as of the beginning has been read.
    pub async fn mark(&mut self, turn: &mut Turn, log: &Log) -> Result<Vec<Event>, KafkaFailed> {
        let mut events = Vec::new();
        if !self.decoder.is_relayed() && (!self.has_given_up() || self.marked.is_multiple_of(SELDOM)) {
            let messages = self.markers.next();
            turn.emit(&messages).await?;
            self.markers.written(&messages);
        }
        self.marked += 1;
        if self.marked == GIVEN_UP_AFTER && self.has_given_up() {
            self.tell_lacking(log);
            if std::mem::take(&mut self.is_skipping) {
                let look = self.look(turn).await?;
                let now = Now { bound: look.insert, place: Place(self.batch) };
                self.decoder.hole(&look, now, &mut events);
            }
        }
        self.see_end(&mut events);
        Ok(events)
    }

    /// Tells when all has come that the log held when this began.
    fn see_end(&mut self, events: &mut Vec<Event>) {
        if !self.is_skipping && self.decoder.is_outside() && self.catch_up.is_just_over(&self.read) {
            events.push(Event::CaughtUp);
        }
    }

    /// The events of dead letters that are to be tried again, between two transactions.
    pub async fn again(&mut self, turn: &mut Turn, asked: &[Asked]) -> Result<Vec<Event>, KafkaFailed> {
        let mut events = Vec::new();
        if !asked.is_empty() && self.decoder.is_outside() {
            let look = self.look(turn).await?;
            let now = Now { bound: look.insert, place: Place(self.batch) };
            self.letters.try_again::<KafkaFailed>(asked, (&mut self.decoder, turn), (&look, now), &mut events).await?;
        }
        Ok(events)
    }

    async fn take(
        &mut self,
        (turn, log): (&mut Turn, &Log),
        (message, prepared): (&BorrowedMessage<'_>, Prepared<'_>),
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> Result<(), KafkaFailed> {
        let Some(slot) = log.slot(message) else { return Ok(()) };
        let number = header(message, NUMBER_HEADER).and_then(|number| number.parse().ok());
        if number.is_some_and(|number| self.relayed.has_gap(slot, number)) {
            warn!(topic = message.topic(), offset = message.offset(), "a record does not follow the one before it: a hole");
            self.decoder.hole(look, now, events);
        }
        let is_known = self.expected[slot].take().is_some_and(|expected| self.is_expected(&expected, message, (look, now), events));
        if is_known || self.came_again(slot, message) {
            self.note(slot, message);
            return Ok(());
        }
        if self.is_skipping && self.skip(slot, (message, &prepared), (look, now), events) {
            return Ok(());
        }
        match self.decoder.take(turn, prepared, (look, now), events).await? {
            Ok(Taken::Done) => {}
            Ok(Taken::Passed(position)) => self.relayed.reached(slot, position),
            Ok(Taken::Later(to)) => return Err(KafkaFailed::SourceChanged { from: self.history, to }),
            Ok(Taken::Message { prefix, content, position }) => {
                let arrived = self.markers.arrived(slot, &prefix, &content, position.unwrap_or(Lsn::ZERO));
                if arrived == Arrived::Hole {
                    warn!("a marker did not come back: changes may be missing with it");
                    self.decoder.hole(look, now, events);
                }
            }
            Err(poison) => {
                self.decoder.poisoned(&poison.partial, look, now, events);
                let place = format!("{} p{}@{}", message.topic(), message.partition(), message.offset());
                self.letters.keep(&place, message.topic(), &poison, message.payload().unwrap_or_default()).await?;
            }
        }
        self.note(slot, message);
        Ok(())
    }

    /// Whether a first record is the last that was acknowledged, of which there is nothing more to do. If not, the topic is another.
    fn is_expected(
        &mut self,
        expected: &Next,
        message: &BorrowedMessage<'_>,
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> bool {
        let is_expected = expected.is_after(message);
        if !is_expected {
            warn!(topic = message.topic(), offset = message.offset(), "the last record that was acknowledged is another: a hole");
            self.is_skipping = true;
            self.decoder.hole(look, now, events);
        }
        is_expected
    }

    /// Whether our relay had written this before, and was killed.
    fn came_again(&mut self, slot: usize, message: &BorrowedMessage<'_>) -> bool {
        let id = id_of(message).filter(|id| id.history == self.history);
        id.is_some_and(|id| self.relayed.came_again(slot, &id))
    }

    fn note(&mut self, slot: usize, message: &BorrowedMessage<'_>) {
        self.read[slot] = Some(Next::after(message));
        if self.decoder.is_outside() {
            self.ended.clone_from(&self.read);
        }
    }

    /// Looks for markers alone, and for what needs none. Whether the record is done with.
    fn skip(
        &mut self,
        slot: usize,
        (message, prepared): (&BorrowedMessage<'_>, &Prepared<'_>),
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> bool {
        let record = &prepared.record;
        if record.as_ref().is_ok_and(|record| history_of(record).is_some()) {
            info!("the topic is a relay's, which tells the history of each record: no marker is waited for");
            self.is_skipping = false;
            return false;
        }
        if let Ok(Record::Message(marker)) = record {
            let position = marker.origin.lsn.unwrap_or(Lsn::ZERO);
            self.markers.arrived(slot, &marker.prefix, &marker.content, position);
        }
        self.read[slot] = Some(Next::after(message));
        if self.markers.position().is_some() {
            info!("the first marker is back: changes count from here");
            self.is_skipping = false;
            self.decoder.hole(look, now, events);
        }
        true
    }

    /// Up to where everything has come, if that is known.
    fn position(&self) -> Lsn {
        self.markers.position().max(self.relayed.position()).unwrap_or(Lsn::ZERO)
    }

    /// The batch's own place: what is before it is what has been ended.
    fn finish(&mut self, now: Now, events: &mut Vec<Event>) {
        if self.is_skipping {
            return;
        }
        let own = Place(self.batch);
        if self.decoder.is_outside() {
            self.ended.clone_from(&self.read);
            self.see_end(events);
            events.push(Event::Reached { position: self.position(), place: own });
            self.offsets.note(own, self.ended.clone());
            return;
        }
        let last = events.iter_mut().rev().find_map(|event| match event {
            Event::Commit { place, .. } => Some(place),
            _ => None,
        });
        if let Some(place) = last {
            debug_assert_eq!(*place, now.place);
            *place = own;
            self.offsets.note(own, self.ended.clone());
        }
    }

    /// A topic that no marker enters, such as one of a table: nothing proves how far it was read.
    fn tell_lacking(&self, log: &Log) {
        let lacking: Vec<_> = self.markers.lacking().map(|slot| &log.partitions()[slot]).collect();
        let Some(first) = lacking.first() else { return };
        warn!(
            remedy = "route all of the connector's topics into one, with a RegexRouter as in its transforms",
            "no marker has come to partition {} of {} and {} more: until one has, only the age of each entry proves it fresh",
            first.number,
            first.topic,
            lacking.len() - 1,
        );
    }

    /// What is to be looked at next: what had been read before the last look began. Where that found the topics to be the same, this is
    /// of the same, whatever has become of them since.
    pub fn next_look(&mut self) -> Vec<Option<Next>> {
        std::mem::replace(&mut self.looked_at, self.read.clone())
    }

    /// Takes how many partitions there are, and whether what was read before has become another record.
    pub async fn compare(
        &mut self,
        turn: &mut Turn,
        looked: Result<(usize, bool), KafkaFailed>,
    ) -> Result<Vec<Event>, KafkaFailed> {
        let before = self.read.len();
        match looked {
            Ok((now, _)) if now != before => Err(KafkaFailed::Partitions { before, now }),
            Ok((_, true)) => self.remade(turn).await,
            Ok((_, false)) => Ok(Vec::new()),
            Err(error @ KafkaFailed::NoTopic { .. }) => Err(error),
            // The client is looking for a broker that is away; reading tells what does not pass.
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the topics could not be looked at");
                Ok(Vec::new())
            }
        }
    }

    /// A topic was made anew, and has been read on in.
    async fn remade(&mut self, turn: &mut Turn) -> Result<Vec<Event>, KafkaFailed> {
        warn!("a record that was read has become another: the topic was made anew, a hole");
        let (look, mut events) = (self.look(turn).await?, Vec::new());
        self.decoder.hole(&look, Now { bound: look.insert, place: Place(self.batch) }, &mut events);
        // Where nothing more comes, this is not to be found again.
        self.read.fill(None);
        self.ended.fill(None);
        self.looked_at.fill(None);
        Ok(events)
    }
}

/// The id that our relay has given it.
fn id_of(message: &BorrowedMessage<'_>) -> Option<MessageId> {
    header(message, ID_HEADER)?.parse().ok()
}

fn header<'a>(message: &'a BorrowedMessage<'_>, key: &str) -> Option<&'a str> {
    let value = message.headers()?.iter().find(|header| header.key == key)?.value?;
    std::str::from_utf8(value).ok()
}
