//! The messages of a log put back together as transactions.

use super::record::{Boundary, Origin};
use crate::{
    change::{Event, Place},
    coherence::{Lsn, NarrowXid},
};

/// Puts the events of one log into their transactions.
///
/// Where the log has everything in the order of the commits, with the ends in it, each transaction comes out whole, with its own
/// end. Where it has not, or a writer began anew in the middle, a transaction comes out in parts: each is applied, and none proves an
/// entry or a position.
#[derive(Debug, Default)]
pub struct Sequence {
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    xid: NarrowXid,
    /// Its end is known to come: it began with a BEGIN, or our relay wrote it.
    is_ended: bool,
}

/// What is known when a message is taken.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The log's end, sampled after the message came: a bound of every commit in it.
    pub bound: Lsn,
    /// To be acknowledged when all before the message is applied and visible.
    pub place: Place,
}

impl Sequence {
    /// Whether all that came so far has been ended.
    pub fn is_outside(&self) -> bool {
        self.open.is_none()
    }

    /// A BEGIN.
    pub fn begin(&mut self, boundary: &Boundary, now: Now, events: &mut Vec<Event>) {
        self.enter(boundary.xid, boundary.committed_us, true, now, events);
    }

    /// An event of a transaction.
    pub fn take(&mut self, xid: NarrowXid, origin: &Origin<'_>, event: Event, now: Now, events: &mut Vec<Event>) {
        self.enter(xid, origin.committed_us, origin.history.is_some(), now, events);
        events.push(event);
        if let (true, Some(end)) = (origin.is_last, origin.end) {
            self.open = None;
            events.push(Event::Commit { end, is_exact: true, place: now.place });
        }
    }

    /// An END. A transaction of which nothing came is a position all the same.
    pub fn end(&mut self, boundary: &Boundary, now: Now, events: &mut Vec<Event>) {
        self.enter(boundary.xid, boundary.committed_us, true, now, events);
        self.open = None;
        events.push(Event::Commit { end: boundary.position, is_exact: true, place: now.place });
    }

    /// Nothing more has come for now: what is open is held only where its end will come.
    pub fn pause(&mut self, now: Now, events: &mut Vec<Event>) {
        if self.open.is_some_and(|open| !open.is_ended) {
            self.cut(now, events);
        }
    }

    /// What is open has no end that is known.
    pub fn cut(&mut self, now: Now, events: &mut Vec<Event>) {
        if self.open.take().is_some() {
            events.push(Event::Commit { end: now.bound, is_exact: false, place: now.place });
        }
    }

    fn enter(&mut self, xid: NarrowXid, committed_us: Option<i64>, is_ended: bool, now: Now, events: &mut Vec<Event>) {
        match &mut self.open {
            Some(open) if open.xid == xid => open.is_ended |= is_ended,
            _ => {
                self.cut(now, events);
                self.open = Some(Open { xid, is_ended });
                events.push(Event::Begin { xid, commit: Lsn::ZERO, committed_us });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Record, decode};

    fn lsn(position: u64) -> Lsn {
        Lsn::new(position).expect("small")
    }

    /// What a log of these messages becomes.
    fn told(messages: &[&str]) -> Vec<String> {
        let (mut sequence, mut events) = (Sequence::default(), Vec::new());
        let now = Now { bound: lsn(9_999), place: Place(1) };
        for message in messages {
            match decode(None, Some(message.as_bytes())).expect("a message") {
                Record::Begin(begin) => sequence.begin(&begin, now, &mut events),
                Record::End(end) => sequence.end(&end, now, &mut events),
                Record::Message(message) => {
                    let event = Event::Message { prefix: message.prefix.into(), content: message.content };
                    sequence.take(message.origin.xid.expect("a transaction"), &message.origin, event, now, &mut events);
                }
                other => panic!("{other:?}"),
            }
        }
        sequence.pause(now, &mut events);
        events.iter().map(told_one).collect()
    }

    fn told_one(event: &Event) -> String {
        match event {
            Event::Begin { xid, .. } => format!("begin {}", xid.0),
            Event::Message { prefix, .. } => prefix.to_string(),
            Event::Commit { end, is_exact, .. } => format!("{} {}", if *is_exact { "end" } else { "cut" }, end.get()),
            other => panic!("{other:?}"),
        }
    }

    fn begin(xid: u32) -> String {
        format!(r#"{{"status":"BEGIN","id":"{xid}:1"}}"#)
    }

    fn end(xid: u32, end: u64) -> String {
        format!(r#"{{"status":"END","id":"{xid}:{end}","event_count":1}}"#)
    }

    fn event(xid: u32, name: &str, ours: &str) -> String {
        format!(r#"{{"op":"m","source":{{"txId":{xid}{ours}}},"message":{{"prefix":"{name}","content":""}}}}"#)
    }

    fn log(messages: &[String]) -> Vec<String> {
        told(&messages.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn a_transaction_comes_whole_and_with_its_own_end() {
        let messages = [begin(7), event(7, "a", ""), event(7, "b", ""), end(7, 50), begin(8), event(8, "c", ""), end(8, 60)];
        assert_eq!(log(&messages), ["begin 7", "a", "b", "end 50", "begin 8", "c", "end 60"]);
    }

    #[test]
    fn one_whose_end_is_known_to_come_is_held_and_any_other_is_not() {
        assert_eq!(log(&[begin(7), event(7, "a", "")]), ["begin 7", "a"]);
        assert_eq!(log(&[event(7, "a", "")]), ["begin 7", "a", "cut 9999"]);
    }

    #[test]
    fn a_writer_that_begins_anew_loses_nothing() {
        // Killed within 8, it resumed within 8 without a BEGIN, or before it.
        let resumed = [begin(8), event(8, "a", ""), event(8, "a", ""), event(8, "b", ""), end(8, 60)];
        assert_eq!(log(&resumed), ["begin 8", "a", "a", "b", "end 60"]);
        let replayed =
            [begin(8), event(8, "a", ""), begin(7), event(7, "x", ""), end(7, 50), begin(8), event(8, "a", ""), end(8, 60)];
        assert_eq!(log(&replayed), ["begin 8", "a", "cut 9999", "begin 7", "x", "end 50", "begin 8", "a", "end 60"]);
    }

    #[test]
    fn a_log_without_ends_makes_a_transaction_of_each_run() {
        let messages = [event(7, "a", ""), event(7, "b", ""), event(8, "c", ""), event(7, "d", "")];
        assert_eq!(log(&messages), ["begin 7", "a", "b", "cut 9999", "begin 8", "c", "cut 9999", "begin 7", "d", "cut 9999"]);
    }

    #[test]
    fn an_end_alone_is_a_position() {
        assert_eq!(log(&[end(7, 50)]), ["begin 7", "end 50"]);
    }

    #[test]
    fn our_relay_ends_a_transaction_with_its_last_event() {
        let ours = |last| format!(r#","xid":7,"end":50,"last":{last},"history":"1/2/3""#);
        assert_eq!(log(&[event(7, "a", &ours(false)), event(7, "b", &ours(true))]), ["begin 7", "a", "b", "end 50"]);
        assert_eq!(log(&[event(7, "a", &ours(false))]), ["begin 7", "a"]);
    }
}
