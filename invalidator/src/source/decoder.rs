//! Messages → events, with what each of them calls for beside: tables to be read anew, dead letters, holes.

use std::time::{Duration, Instant};

use freshline::{
    change::{Beginning, DDL_PREFIX, Event, RowChange},
    coherence::{self, Lsn, NarrowXid},
    envelope::{
        Envelope, Heartbeat, Notes, Now, Numerics, Operation, Origin, Partial, Poison, Reason, Record, Relations, Sequence,
    },
    primary::{Look, PrimaryError},
    rules::TableName,
};

use super::prepared::{Prepared, Raw, Tables};
use crate::source::turn::Turn;

/// The tables are read anew for what does not fit them at most so often: a backlog may be older than they are.
const RELOADED_EVERY: Duration = Duration::from_secs(1);

/// Decodes the messages of one log, one after another.
pub struct Decoder {
    /// The history that the log is read in.
    history: coherence::Source,
    tables: Tables,
    /// Those that have rules.
    ruled: Vec<TableName>,
    sequence: Sequence,
    loaded: Instant,
    is_stale: bool,
    is_relayed: bool,
    /// The last event was of a writer that knew of no commit before.
    is_anew: bool,
}

/// The row of a change, as it was read before its turn.
type RowRead = Result<(RowChange, Notes), Poison>;

/// What a message was, beside its events.
#[derive(Debug)]
pub enum Taken {
    /// Nothing more.
    Done,
    /// Our relay's, and no event of a transaction: everything up to this position has been delivered before it.
    Passed(Lsn),
    /// Of a history that the primary has come to after it was asked last.
    Later(coherence::Source),
    /// A logical message in a transaction, with the position of its record.
    Message { prefix: String, content: bytes::Bytes, position: Option<Lsn> },
}

impl Decoder {
    /// A decoder of a log that is read in this history, by the tables of the catalogue, of which some have rules.
    pub fn new(history: coherence::Source, relations: Relations, numerics: Numerics, ruled: Vec<TableName>) -> Self {
        let (tables, sequence, loaded) = (Tables::new(relations, numerics), Sequence::default(), Instant::now());
        Self { history, tables, ruled, sequence, loaded, is_stale: false, is_relayed: false, is_anew: false }
    }

    /// Whether all transactions that came have been ended.
    pub fn is_outside(&self) -> bool {
        self.sequence.is_outside()
    }

    /// Whether a message of our relay has come.
    pub fn is_relayed(&self) -> bool {
        self.is_relayed
    }

    /// Whether the tables have not been read just now.
    fn may_renew(&self) -> bool {
        self.loaded.elapsed() >= RELOADED_EVERY
    }

    async fn renew(&mut self, turn: &mut Turn) -> Result<(), PrimaryError> {
        self.tables.renew(turn.relations().await?);
        (self.loaded, self.is_stale) = (Instant::now(), false);
        Ok(())
    }

    /// Reads the messages of a batch, each to be taken in its turn.
    pub fn prepare<'a>(&self, batch: &[Raw<'a>]) -> Vec<Prepared<'a>> {
        self.tables.prepare(batch)
    }

    /// Takes one message and adds its events. Where it does not fit the tables, they are read anew.
    ///
    /// # Errors
    /// [`PrimaryError`]: the turn is lost. Within, [`Poison`], of which no event was added: see [`Decoder::poisoned`].
    pub async fn take(
        &mut self,
        turn: &mut Turn,
        prepared: Prepared<'_>,
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> Result<Result<Taken, Poison>, PrimaryError> {
        if self.is_stale && self.may_renew() {
            self.renew(turn).await?;
        }
        // A row that was read by other tables is read once more.
        let row = if self.tables.are_of(&prepared) { prepared.row } else { None };
        let record = match prepared.record {
            Ok(record) => record,
            Err(poison) => return Ok(Err(poison)),
        };
        let taken = self.read(&record, row, (look, now), events);
        let is_unknown = taken.as_ref().is_err_and(|poison| matches!(poison.reason, Reason::UnknownTable { .. }));
        if !is_unknown || !self.may_renew() {
            return Ok(taken);
        }
        self.renew(turn).await?;
        Ok(self.read(&record, None, (look, now), events))
    }

    fn read(
        &mut self,
        record: &Record<'_>,
        row: Option<RowRead>,
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> Result<Taken, Poison> {
        let history = history_of(record);
        self.is_relayed |= history.is_some();
        match history {
            // What an earlier history had is in every snapshot of this one.
            Some(history) if history != self.history && !is_later(&history, &self.history) => Ok(Taken::Passed(Lsn::ZERO)),
            Some(history) if history != self.history => Ok(Taken::Later(history)),
            Some(_) | None => self.record(record, row, (look, now), events),
        }
    }

    /// Nothing more has come for now.
    pub fn pause(&mut self, now: Now, events: &mut Vec<Event>) {
        self.sequence.pause(now, events);
    }

    /// Nothing more has come for now, and the ends are not waited for.
    pub fn cut(&mut self, now: Now, events: &mut Vec<Event>) {
        self.sequence.cut(now, events);
    }

    /// Takes a message that was kept as a dead letter once more, as a transaction of its own and outside of any other. What it touches was
    /// removed, or everything was given up, when it came first.
    ///
    /// # Errors
    /// [`PrimaryError`]: the turn is lost. Within, why it cannot be used now either; no event was added.
    pub async fn again(
        &mut self,
        turn: &mut Turn,
        raw: &[u8],
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> Result<Result<(), String>, PrimaryError> {
        let mut own = Vec::new();
        let prepared = self.tables.prepare_one((None, Some(raw)));
        if let Err(poison) = self.take(turn, prepared, (look, now), &mut own).await? {
            return Ok(Err(poison.to_string()));
        }
        self.cut(now, &mut own);
        loosen(&mut own, now.bound);
        let is_of_the_future =
            |event: &Event| matches!(event, Event::Begin { xid, .. } if xid.widen(&look.snapshot) >= look.snapshot.xmax());
        if own.iter().any(is_of_the_future) {
            return Ok(Err("it is so old that its transaction id means another one by now".to_owned()));
        }
        events.append(&mut own);
        Ok(Ok(()))
    }

    /// Something may be missing before this.
    pub fn hole(&mut self, look: &Look, now: Now, events: &mut Vec<Event>) {
        self.fall_into(Beginning::Over(look.snapshot.xmax()), now, events);
    }

    fn fall_into(&mut self, beginning: Beginning, now: Now, events: &mut Vec<Event>) {
        self.sequence.cut(now, events);
        events.push(Event::Hole { beginning });
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        row: Option<RowRead>,
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> Result<Taken, Poison> {
        match record {
            Record::Begin(boundary) => self.sequence.begin(boundary, now, events),
            Record::End(boundary) => self.sequence.end(boundary, now, events),
            Record::Change(envelope) => self.change(envelope, row, (look, now), events)?,
            Record::Message(message) => {
                // One that is not transactional comes before the commit, and even from a transaction that rolls back.
                let Some(xid) = message.origin.xid else { return Ok(Taken::Done) };
                self.look_back(&message.origin, look, now, events);
                self.is_stale |= &*message.prefix == DDL_PREFIX;
                let (prefix, content) = (message.prefix.to_string(), message.content.clone());
                let event = Event::Message { prefix: prefix.as_str().into(), content: content.clone() };
                self.sequence.take(xid, &message.origin, event, now, events);
                return Ok(Taken::Message { prefix, content, position: message.origin.lsn });
            }
            Record::Hole(hole) => {
                let exported = hole.snapshot.clone().map(|snapshot| Beginning::Snapshot(snapshot.into()));
                let over = hole.over.map(Beginning::Over);
                let beginning = exported.or(over).unwrap_or(Beginning::Over(look.snapshot.xmax()));
                self.fall_into(beginning, now, events);
                return Ok(Taken::Passed(Lsn::ZERO));
            }
            Record::Heartbeat(Heartbeat { position, history: Some(_) }) => return Ok(Taken::Passed(position.unwrap_or(Lsn::ZERO))),
            Record::Heartbeat(_) | Record::Tombstone => {}
        }
        Ok(Taken::Done)
    }

    /// A writer that knows of no commit before has not gone on from where it, or another, was: its slot or its offsets are new, and what was
    /// committed in between is nowhere.
    fn look_back(&mut self, origin: &Origin<'_>, look: &Look, now: Now, events: &mut Vec<Event>) {
        let was_anew = std::mem::replace(&mut self.is_anew, origin.begins_anew);
        if origin.begins_anew && !was_anew {
            tracing::warn!("the writer of the log began anew: changes before this may be missing");
            self.hole(look, now, events);
        }
    }

    fn change(
        &mut self,
        envelope: &Envelope<'_>,
        row: Option<RowRead>,
        (look, now): (&Look, Now),
        events: &mut Vec<Event>,
    ) -> Result<(), Poison> {
        let origin = &envelope.origin;
        let Some(xid) = origin.xid else { return Ok(()) };
        if envelope.operation == Operation::Read {
            // What happened between the log's last change and this snapshot is nowhere.
            if !matches!(events.last(), Some(Event::Hole { .. })) {
                self.hole(look, now, events);
            }
            return Ok(());
        }
        self.look_back(origin, look, now, events);
        let Some(table) = self.tables.relations.get(&origin.schema, &origin.table) else {
            let (schema, table) = (origin.schema.to_string(), origin.table.to_string());
            let partial =
                Partial { xid: Some(xid.0.into()), table: Some((schema.as_str().into(), table.as_str().into())), key: None };
            return Err(Poison { reason: Reason::UnknownTable { schema, table }, partial });
        };
        if envelope.operation == Operation::Truncate {
            let event = Event::Truncate { relations: vec![table.relation().clone()] };
            self.sequence.take(xid, origin, event, now, events);
            return Ok(());
        }
        let Some(row) = row.or_else(|| self.tables.row(envelope)) else { return Ok(()) };
        let (change, Notes { has_unknown_column, .. }) = row?;
        self.is_stale |= has_unknown_column;
        self.sequence.take(xid, origin, Event::Row(change), now, events);
        Ok(())
    }

    /// Adds what a message that cannot be used touches: the row that it names, nothing where its table has no rules, or anything.
    pub fn poisoned(&mut self, partial: &Partial, look: &Look, now: Now, events: &mut Vec<Event>) {
        let named = partial.table.as_ref().map(|(schema, name)| (&**schema, &**name));
        if named.is_some_and(|(schema, name)| !self.has_rules(schema, name)) {
            return;
        }
        match self.tables.row_of(partial).zip(partial.xid.and_then(narrow)) {
            Some((change, xid)) => self.sequence.take(xid, &nowhere(), Event::Row(change), now, events),
            None => self.hole(look, now, events),
        }
    }

    fn has_rules(&self, schema: &str, name: &str) -> bool {
        self.ruled.iter().any(|table| *table.schema == *schema && *table.name == *name)
    }
}

/// Takes the ends for bounds, where they prove nothing of what came before them.
pub fn loosen(events: &mut [Event], bound: Lsn) {
    for event in events {
        if let Event::Commit { end, is_exact, .. } = event {
            (*end, *is_exact) = (bound.max(*end), false);
        }
    }
}

/// The history that a message is of: our relay writes it into every one, and nobody else does.
pub fn history_of(record: &Record<'_>) -> Option<coherence::Source> {
    match record {
        Record::Change(envelope) => envelope.origin.history,
        Record::Message(logical) => logical.origin.history,
        Record::Begin(boundary) | Record::End(boundary) => boundary.history,
        Record::Heartbeat(heartbeat) => heartbeat.history,
        Record::Hole(hole) => hole.history,
        Record::Tombstone => None,
    }
}

/// Whether a history is one that another has become.
fn is_later(history: &coherence::Source, than: &coherence::Source) -> bool {
    history.system == than.system && (history.timeline, history.started_us) > (than.timeline, than.started_us)
}

fn narrow(xid: u64) -> Option<NarrowXid> {
    u32::try_from(xid & u64::from(u32::MAX)).ok().map(NarrowXid)
}

/// The origin of what could not be read: it ends nothing.
fn nowhere() -> Origin<'static> {
    Origin {
        schema: "".into(),
        table: "".into(),
        xid: None,
        lsn: None,
        committed_us: None,
        ordinal: None,
        is_last: false,
        end: None,
        history: None,
        is_snapshot: false,
        begins_anew: false,
    }
}

#[cfg(test)]
mod tests {
    use freshline::change::Place;

    use super::*;

    #[test]
    fn an_end_of_one_partition_proves_nothing_for_the_others() {
        let lsn = |position| Lsn::new(position).expect("small");
        let mut events = [Event::Commit { end: lsn(7), is_exact: true, place: Place(1) }];
        loosen(&mut events, lsn(9));
        assert!(matches!(events, [Event::Commit { end, is_exact: false, .. }] if end == lsn(9)), "{events:?}");
    }
}
