//! Messages → events, with what each of them calls for beside: tables to be read anew, dead letters, holes.

use std::time::{Duration, Instant};

use freshline::{
    change::{Beginning, Event, RowChange},
    coherence::{Lsn, NarrowXid},
    envelope::{Envelope, Notes, Now, Numerics, Operation, Origin, Partial, Poison, Reason, Record, Relations, Sequence, decode},
    rules::TableName,
};

use crate::{plan::DDL_PREFIX, source::turn::Look};

/// The tables are read anew for what does not fit them at most so often: a backlog may be older than they are.
const RELOADED_EVERY: Duration = Duration::from_secs(1);

/// Decodes the messages of one log, one after another.
pub struct Decoder {
    relations: Relations,
    numerics: Numerics,
    tables: Vec<TableName>,
    sequence: Sequence,
    loaded: Instant,
    is_stale: bool,
    /// The last event was of a writer that knew of no commit before.
    is_anew: bool,
}

/// What a message was, beside its events.
#[derive(Debug)]
pub enum Taken {
    /// Nothing more.
    Done,
    /// A logical message in a transaction, with the position of its record.
    Message { prefix: String, content: bytes::Bytes, position: Option<Lsn> },
}

impl Decoder {
    pub fn new(relations: Relations, numerics: Numerics, tables: Vec<TableName>) -> Self {
        Self { relations, numerics, tables, sequence: Sequence::default(), loaded: Instant::now(), is_stale: false, is_anew: false }
    }

    /// Whether all transactions that came have been ended.
    pub fn is_outside(&self) -> bool {
        self.sequence.is_outside()
    }

    /// Whether the tables are worth reading anew before the next message.
    pub fn wants_relations(&self) -> bool {
        self.is_stale && self.may_renew()
    }

    /// Whether the tables have not been read just now.
    pub fn may_renew(&self) -> bool {
        self.loaded.elapsed() >= RELOADED_EVERY
    }

    /// Takes the tables, read anew.
    pub fn renew(&mut self, relations: Relations) {
        self.relations.renew(relations);
        (self.loaded, self.is_stale) = (Instant::now(), false);
    }

    /// Takes one message, and adds its events.
    ///
    /// # Errors
    /// [`Poison`], of which no event was added: see [`Decoder::poisoned`].
    pub fn take(
        &mut self,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        look: &Look,
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<Taken, Poison> {
        decode(key, value).and_then(|record| self.record(record, look, now, events))
    }

    /// Nothing more has come for now.
    pub fn pause(&mut self, now: Now, events: &mut Vec<Event>) {
        self.sequence.pause(now, events);
    }

    /// Something may be missing before this.
    pub fn hole(&mut self, look: &Look, now: Now, events: &mut Vec<Event>) {
        self.fall_into(Beginning::Over(look.snapshot.xmax()), now, events);
    }

    fn fall_into(&mut self, beginning: Beginning, now: Now, events: &mut Vec<Event>) {
        self.sequence.cut(now, events);
        events.push(Event::Hole { beginning });
    }

    /// Takes one message that has been decoded, and adds its events.
    ///
    /// # Errors
    /// [`Poison`], of which no event was added: see [`Decoder::poisoned`].
    pub fn record(&mut self, record: Record<'_>, look: &Look, now: Now, events: &mut Vec<Event>) -> Result<Taken, Poison> {
        match record {
            Record::Begin(boundary) => self.sequence.begin(&boundary, now, events),
            Record::End(boundary) => self.sequence.end(&boundary, now, events),
            Record::Change(envelope) => self.change(&envelope, look, now, events)?,
            Record::Message(message) => {
                // One that is not transactional comes before the commit, and even from a transaction that rolls back.
                let Some(xid) = message.origin.xid else { return Ok(Taken::Done) };
                self.look_back(&message.origin, look, now, events);
                self.is_stale |= &*message.prefix == DDL_PREFIX;
                let (prefix, content) = (message.prefix.into_owned(), message.content);
                let event = Event::Message { prefix: prefix.as_str().into(), content: content.clone() };
                self.sequence.take(xid, &message.origin, event, now, events);
                return Ok(Taken::Message { prefix, content, position: message.origin.lsn });
            }
            Record::Hole(hole) => {
                let exported = hole.snapshot.map(|snapshot| Beginning::Snapshot(snapshot.into()));
                let over = hole.over.map(Beginning::Over);
                let beginning = exported.or(over).unwrap_or(Beginning::Over(look.snapshot.xmax()));
                self.fall_into(beginning, now, events);
            }
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

    fn change(&mut self, envelope: &Envelope<'_>, look: &Look, now: Now, events: &mut Vec<Event>) -> Result<(), Poison> {
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
        let Some(table) = self.relations.get(&origin.schema, &origin.table) else {
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
        let (change, Notes { has_unknown_column, .. }) = envelope.change(table, self.numerics)?;
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
        match self.row_of(partial).zip(partial.xid.and_then(narrow)) {
            Some((change, xid)) => self.sequence.take(xid, &nowhere(), Event::Row(change), now, events),
            None => self.hole(look, now, events),
        }
    }

    fn has_rules(&self, schema: &str, name: &str) -> bool {
        self.tables.iter().any(|table| *table.schema == *schema && *table.name == *name)
    }

    fn row_of(&self, partial: &Partial) -> Option<RowChange> {
        let (schema, name) = partial.table.as_ref()?;
        partial.change(self.relations.get(schema, name)?, self.numerics)
    }
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
