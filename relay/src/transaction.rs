//! Events of the direct source → messages, each with its place in the log.
//!
//! A transaction is held until its commit, so that every message of it can tell where that ends; one that is too large is let through
//! as it comes, and an END follows its last message.

use std::{collections::HashMap, sync::Arc};

use freshline::{
    broker::MessageId,
    change::{DDL_PREFIX, Event, Operation, Relation, ReplicaIdentity, RowChange},
    coherence::{Lsn, NarrowXid, Snapshot, Source, Xid},
    envelope::{Encoder, Posting, Relations, Stamp},
};

/// Events that are held of one transaction, and their bytes.
const HELD_MAX: usize = 1_000;
const HELD_BYTES_MAX: usize = 4 << 20;

/// A value longer than this is the first to be left out of a message that is too long, in bytes.
const LONG: usize = 1 << 16;

/// Prefixes of logical messages that only move the log on: what is told of them is their position.
const SILENT_PREFIXES: [&str; 2] = ["freshline.nudge", "freshline.marker"];

/// A message to publish.
#[derive(Debug)]
pub struct Letter {
    /// The end of its subject.
    pub subject: String,
    /// Its place in the log.
    pub id: MessageId,
    /// What tells it from another at the same place that is not the same message.
    pub nonce: Option<uuid::Uuid>,
    /// Key and value.
    pub posting: Posting,
    /// Once it is stored, with all before it, the slot needs nothing up to here any more.
    pub confirms: Option<Lsn>,
}

impl Letter {
    /// Whether it is for every partition of a broker that has some: it tells of the log, and is part of no transaction.
    pub fn is_for_all(&self) -> bool {
        self.id.ordinal == 0
    }
}

/// Writes the messages of one session with the source.
pub struct Writer {
    encoder: Encoder,
    history: Source,
    tables: Relations,
    value_len_max: usize,
    keys: HashMap<u32, (Arc<Relation>, Arc<[usize]>)>,
    open: Option<Open>,
}

/// A transaction under way.
struct Open {
    xid: Xid,
    commit: Lsn,
    committed_us: Option<i64>,
    held: Vec<Held>,
    bytes: usize,
    /// How many events have been written already: those of a transaction that is too large to be held.
    written: u64,
}

enum Held {
    Row(RowChange, Arc<[usize]>),
    Truncate(Arc<Relation>),
    Message(Box<str>, bytes::Bytes),
}

impl Writer {
    /// A writer of messages about this history, for a broker that takes values up to this length.
    pub fn new(encoder: Encoder, history: Source, tables: Relations, value_len_max: usize) -> Self {
        Self { encoder, history, tables, value_len_max, keys: HashMap::new(), open: None }
    }

    /// Takes what was read of the catalogue.
    pub fn renew(&mut self, tables: Relations) {
        self.tables.renew(tables);
    }

    /// Whether the keys of this event's table are known as the stream describes it now.
    pub fn is_familiar(&self, event: &Event) -> bool {
        let Event::Row(change) = event else { return true };
        self.keys.get(&change.relation.id).is_some_and(|(relation, _)| Arc::ptr_eq(relation, &change.relation))
    }

    /// Learns the key of this event's table from what was last read of the catalogue.
    pub fn learn(&mut self, event: &Event) {
        if let Event::Row(RowChange { relation, .. }) = event {
            let key = self.tables.key_columns(relation).into();
            self.keys.insert(relation.id, (relation.clone(), key));
        }
    }

    /// Takes one event, and adds the messages that it completes. The snapshot widens transaction ids.
    pub fn take(&mut self, event: Event, snapshot: &Snapshot, letters: &mut Vec<Letter>) {
        match event {
            Event::Begin { xid, commit, committed_us } => self.open = Some(Open::new(xid, commit, committed_us, snapshot)),
            Event::Row(change) => {
                let key = self.keys.get(&change.relation.id).map_or_else(|| [].into(), |(_, key)| key.clone());
                self.hold(Held::Row(change, key), letters);
            }
            Event::Truncate { relations } => {
                for relation in relations {
                    self.hold(Held::Truncate(relation), letters);
                }
            }
            Event::Message { prefix, .. } if SILENT_PREFIXES.contains(&&*prefix) => {}
            Event::Message { prefix, content } => self.hold(Held::Message(prefix, content), letters),
            Event::Commit { end, .. } => self.commit(end, letters),
            // The session tells positions and holes itself.
            Event::Reached { .. } | Event::CaughtUp | Event::Hole { .. } => {}
        }
    }

    /// Says that all up to here has been written.
    pub fn heartbeat(&self, position: Lsn, now_ms: u64) -> Letter {
        let id = MessageId { history: self.history, position, ordinal: 0 };
        let posting = self.encoder.heartbeat(position, now_ms);
        Letter { subject: "_heartbeat".to_owned(), id, nonce: None, posting, confirms: Some(position) }
    }

    /// Says that something before this may never have been written.
    pub fn hole(&self, position: Lsn, snapshot: Option<&Snapshot>, over: Option<Xid>) -> Letter {
        let id = MessageId { history: self.history, position, ordinal: 0 };
        let posting = self.encoder.hole(position, snapshot, over);
        Letter { subject: "_hole".to_owned(), id, nonce: Some(uuid::Uuid::new_v4()), posting, confirms: None }
    }

    fn hold(&mut self, event: Held, letters: &mut Vec<Letter>) {
        let Some(open) = &mut self.open else { return };
        open.bytes += event.size();
        open.held.push(event);
        if open.written > 0 || open.held.len() > HELD_MAX || open.bytes > HELD_BYTES_MAX {
            self.release(None, letters);
        }
    }

    /// Writes what is held.
    fn release(&mut self, end: Option<Lsn>, letters: &mut Vec<Letter>) {
        let Some(open) = &mut self.open else { return };
        let count = open.held.len();
        for (n, event) in open.held.drain(..).enumerate() {
            open.written += 1;
            let is_last = end.is_some() && n + 1 == count;
            let stamp = Stamp { xid: open.xid, committed_us: open.committed_us, end, ordinal: open.written, is_last };
            let id = MessageId { history: self.history, position: open.commit, ordinal: open.written };
            let (subject, posting) = event.written(&self.encoder, stamp, self.value_len_max);
            letters.push(Letter { subject, id, nonce: None, posting, confirms: end.filter(|_| is_last) });
        }
        open.bytes = 0;
    }

    fn commit(&mut self, end: Lsn, letters: &mut Vec<Letter>) {
        let Some(open) = &self.open else { return };
        if open.written > 0 {
            let (xid, events, position) = (open.xid, open.written, open.commit);
            self.release(None, letters);
            let id = MessageId { history: self.history, position, ordinal: events + 1 };
            let posting = self.encoder.end(xid, end, events);
            letters.push(Letter { subject: "_end".to_owned(), id, nonce: None, posting, confirms: Some(end) });
        } else {
            self.release(Some(end), letters);
        }
        self.open = None;
    }
}

impl Open {
    fn new(xid: NarrowXid, commit: Lsn, committed_us: Option<i64>, snapshot: &Snapshot) -> Self {
        Self { xid: xid.widen(snapshot), commit, committed_us, held: Vec::new(), bytes: 0, written: 0 }
    }
}

impl Held {
    fn size(&self) -> usize {
        match self {
            Self::Row(change, _) => [&change.before, &change.after].into_iter().flatten().map(|row| row.size()).sum(),
            Self::Truncate(_) => 0,
            Self::Message(_, content) => content.len(),
        }
    }

    /// Its subject and message. A row that is longer than the broker takes loses its longest values, and keeps its key; a logical message
    /// loses its content, and then its name: those that mean something to us are short.
    fn written(self, encoder: &Encoder, stamp: Stamp, value_len_max: usize) -> (String, Posting) {
        match self {
            Self::Row(change, key) => {
                let subject = subject(&change.relation);
                let posting = encoder.row(&change, &key, stamp);
                if posting.value.len() <= value_len_max {
                    return (subject, posting);
                }
                (subject, shortened(change, &key, value_len_max, (encoder, stamp)))
            }
            Self::Truncate(relation) => (subject(&relation), encoder.truncate(&relation, stamp)),
            Self::Message(prefix, content) => {
                let mut posting = encoder.message(&prefix, &content, stamp);
                for name in [&*prefix, ""] {
                    if posting.value.len() > value_len_max {
                        posting = encoder.message(name, &[], stamp);
                    }
                }
                ("_message".to_owned(), posting)
            }
        }
    }
}

/// A row that is longer than the broker takes, without its longest values. Outside full identity nobody could tell a value that is left
/// out from one that did not change: then nothing is told of the row, and that everything may have changed.
fn shortened(mut change: RowChange, key: &[usize], value_len_max: usize, (encoder, stamp): (&Encoder, Stamp)) -> Posting {
    if change.operation == Operation::Update && change.relation.identity != ReplicaIdentity::Full {
        return encoder.message(DDL_PREFIX, b"{}", stamp);
    }
    let mut kept = LONG;
    loop {
        change = change.without_longer(kept, key);
        let posting = encoder.row(&change, key, stamp);
        if posting.value.len() <= value_len_max || kept == 0 {
            return posting;
        }
        kept /= 8;
    }
}

/// A token of a subject has no blanks, dots or wildcards; what a name has of them becomes `_`.
fn subject(relation: &Relation) -> String {
    let token = |name: &str| -> String {
        name.chars().map(|c| if c.is_whitespace() || ".*>".contains(c) || c.is_control() { '_' } else { c }).collect()
    };
    format!("{}.{}", token(&relation.schema), token(&relation.name))
}

#[cfg(test)]
mod tests {
    use freshline::{
        change::{Column, Datum, Row, Value},
        envelope::{Record, decode},
    };

    use super::*;

    /// A value of this length is longer than any that is kept while others can be left out.
    const LONG_TEXT: usize = 2 * LONG;

    fn row(long: usize) -> Row {
        let text = format!("7{}", "x".repeat(long));
        let len = u32::try_from(long).expect("short");
        let values = [Value::Text { start: 0, len: 1 }, Value::Text { start: 1, len }, Value::Null];
        Row::new(text.into(), values.into()).expect("text")
    }

    /// id, text and note of a row whose text was changed.
    fn update(identity: ReplicaIdentity, before: usize, after: usize) -> RowChange {
        let column = |name: &str| Column { name: name.into(), type_id: 25, type_modifier: -1, in_identity: name == "id" };
        let columns = ["id", "text", "note"].map(column).into();
        let relation = Relation { id: 1, schema: "public".into(), name: "things".into(), identity, columns };
        let before = (identity == ReplicaIdentity::Full).then(|| row(before));
        RowChange { relation: relation.into(), operation: Operation::Update, before, after: Some(row(after)) }
    }

    fn written(change: RowChange, value_len_max: usize) -> (String, Posting) {
        let history = "7/1/1".parse().expect("a history");
        let stamp = Stamp { xid: Xid::new(7).expect("small"), committed_us: None, end: None, ordinal: 1, is_last: false };
        Held::Row(change, [0].into()).written(&Encoder::new("relay", "shop", history), stamp, value_len_max)
    }

    #[rstest::rstest]
    #[case::long_after(5, LONG_TEXT)]
    #[case::long_before(LONG_TEXT, 5)]
    fn of_a_long_row_nothing_is_told_of_its_long_values_neither_before_nor_after(#[case] before: usize, #[case] after: usize) {
        let (subject, posting) = written(update(ReplicaIdentity::Full, before, after), LONG);
        assert!(posting.value.len() < LONG && subject == "public.things", "{} bytes", posting.value.len());
        let text = String::from_utf8(posting.value).expect("UTF-8");
        assert!(!text.contains("xxxxx") && text.contains("\"id\":\"7\""), "{text}");
        assert!(posting.key.is_some(), "its row is named");
        // Nothing is left out of a broker's that takes it.
        let (_, whole) = written(update(ReplicaIdentity::Full, before, after), usize::MAX);
        assert!(whole.value.len() > LONG_TEXT);
    }

    #[test]
    fn the_key_is_told_however_little_the_broker_takes() {
        let change = update(ReplicaIdentity::Full, 5, LONG_TEXT).without_longer(0, &[0]);
        let after = change.after.expect("a row");
        assert_eq!((after.get(0), after.get(1)), (Some(Datum::Text("7")), Some(Datum::Unchanged)));
    }

    #[test]
    fn where_the_row_before_is_not_told_a_long_one_is_everything() {
        let (_, posting) = written(update(ReplicaIdentity::Default, 5, LONG_TEXT), LONG);
        let Ok(Record::Message(message)) = decode(None, Some(&posting.value)) else { panic!("no message") };
        assert_eq!(message.prefix, DDL_PREFIX);
    }
}
