//! Markers: numbered messages that we write into Postgres's log and wait for at the other end.
//!
//! Where one comes back, all that was committed before it has come there. Each says which one before it was certainly committed, so
//! that one which never comes is noticed: then changes may be missing as well. Pure.
//!
//! Which partition a message lands in follows from its prefix, by rules that are the writer's own. So prefixes are tried, and of
//! those that arrive one is kept for each partition.

use std::collections::HashMap;

use freshline::coherence::{Lsn, Source};
use serde::{Deserialize, Serialize};

/// What the prefix of a marker begins with.
pub const PREFIX: &str = "freshline.marker";

/// Prefixes tried at a time, for each partition that has none yet: with four, all but 2 % of the partitions of a large topic get one
/// at the first try.
const TRIED_AT_ONCE: u32 = 4;

/// Prefixes tried in all, for each partition: more would not help where they can't come.
const TRIED_MAX: u32 = 16;

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    /// Who wrote it, so that nobody takes another's for its own.
    by: String,
    number: u64,
    /// The last one before that is known to be committed.
    previous: u64,
    history: String,
}

/// The markers of one session.
#[derive(Debug)]
pub struct Markers {
    by: String,
    history: String,
    number: u64,
    committed: u64,
    /// The number of the last marker that arrived under a prefix, and where.
    prefixes: HashMap<u32, Seen>,
    /// How many prefixes have been tried.
    tried: u32,
    /// Of each partition: its prefix, and the last marker that arrived there with its position.
    partitions: Vec<Option<(u32, u64, Lsn)>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    number: u64,
    /// The last that was written under it, and is known to be committed.
    written: u64,
}

/// What a marker that came says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// Nothing: it is another's, or came again.
    Nothing,
    /// It came to its partition.
    InOrder,
    /// One before it did not.
    Hole,
}

impl Markers {
    /// Markers of a session in this history, for so many partitions.
    pub fn new(history: Source, partitions: usize) -> Self {
        Self {
            by: uuid::Uuid::new_v4().simple().to_string(),
            history: history.to_string(),
            number: 0,
            committed: 0,
            prefixes: HashMap::new(),
            tried: 0,
            partitions: vec![None; partitions],
        }
    }

    /// The messages of the next marker, prefix and content. Only one at a time is written.
    pub fn next(&mut self) -> Vec<(String, String)> {
        self.number += 1;
        let missing = self.partitions.iter().filter(|partition| partition.is_none()).count();
        if missing > 0 {
            let wanted = u32::try_from(missing).unwrap_or(u32::MAX).saturating_mul(TRIED_AT_ONCE);
            let until = self.tried.saturating_add(if self.partitions.len() == 1 { u32::from(self.tried == 0) } else { wanted });
            let until =
                until.min(u32::try_from(self.partitions.len()).unwrap_or(u32::MAX).saturating_mul(TRIED_MAX)).max(self.tried);
            for prefix in self.tried..until {
                self.prefixes.insert(prefix, Seen::default());
            }
            self.tried = until;
        }
        let (kept, all) = (self.partitions.iter().flatten().map(|(prefix, ..)| *prefix), 0..self.tried);
        let prefixes: Vec<u32> = if missing == 0 { kept.collect() } else { all.collect() };
        prefixes.into_iter().map(|prefix| (prefix_of(prefix), self.content(prefix))).collect()
    }

    fn content(&mut self, prefix: u32) -> String {
        let previous = self.prefixes.get(&prefix).map_or(0, |seen| seen.written);
        let marker = Marker { by: self.by.clone(), number: self.number, previous, history: self.history.clone() };
        // Strings and numbers always have a JSON.
        serde_json::to_string(&marker).unwrap_or_default()
    }

    /// The messages of the last marker are committed.
    pub fn written(&mut self, messages: &[(String, String)]) {
        self.committed = self.number;
        for seen in messages.iter().filter_map(|(prefix, _)| number_of(prefix)).collect::<Vec<_>>() {
            if let Some(seen) = self.prefixes.get_mut(&seen) {
                seen.written = self.committed;
            }
        }
    }

    /// A marker came to a partition, at a position of Postgres's log.
    pub fn arrived(&mut self, partition: usize, prefix: &str, content: &[u8], position: Lsn) -> Arrived {
        let Some(number) = number_of(prefix) else { return Arrived::Nothing };
        let Ok(marker) = serde_json::from_slice::<Marker>(content) else { return Arrived::Nothing };
        let Some(seen) = self.prefixes.get_mut(&number).filter(|_| marker.by == self.by) else { return Arrived::Nothing };
        if marker.number <= seen.number {
            return Arrived::Nothing;
        }
        let is_hole = marker.previous > seen.number;
        seen.number = marker.number;
        if let Some(slot) = self.partitions.get_mut(partition) {
            let kept = slot.map_or(number, |(kept, ..)| kept);
            let last = slot.map_or(0, |(_, last, _)| last);
            if marker.number >= last {
                *slot = Some((kept, marker.number, position));
            }
        }
        if is_hole { Arrived::Hole } else { Arrived::InOrder }
    }

    /// The partitions to which no marker has come yet.
    pub fn lacking(&self) -> impl Iterator<Item = usize> {
        self.partitions.iter().enumerate().filter(|(_, seen)| seen.is_none()).map(|(slot, _)| slot)
    }

    /// The position up to which everything has come to every partition; `None` until a marker has come to each.
    pub fn position(&self) -> Option<Lsn> {
        self.partitions.iter().map(|partition| partition.map(|(.., position)| position)).min().flatten()
    }
}

fn prefix_of(number: u32) -> String {
    if number == 0 { PREFIX.to_owned() } else { format!("{PREFIX}.{number}") }
}

fn number_of(prefix: &str) -> Option<u32> {
    match prefix.strip_prefix(PREFIX)? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: Source = Source { system: 1, timeline: 1, started_us: 1 };

    fn lsn(position: u64) -> Lsn {
        Lsn::new(position).expect("small")
    }

    fn write(markers: &mut Markers) -> Vec<(String, String)> {
        let messages = markers.next();
        markers.written(&messages);
        messages
    }

    fn arrive(markers: &mut Markers, partition: usize, message: &(String, String), position: u64) -> Arrived {
        markers.arrived(partition, &message.0, message.1.as_bytes(), lsn(position))
    }

    #[test]
    fn one_partition_takes_one_message() {
        let mut markers = Markers::new(HISTORY, 1);
        let first = write(&mut markers);
        assert_eq!(first.len(), 1);
        assert_eq!(markers.position(), None);
        assert_eq!(arrive(&mut markers, 0, &first[0], 10), Arrived::InOrder);
        assert_eq!(markers.position(), Some(lsn(10)));
        let second = write(&mut markers);
        assert_eq!(arrive(&mut markers, 0, &first[0], 10), Arrived::Nothing, "it came again");
        assert_eq!(arrive(&mut markers, 0, &second[0], 20), Arrived::InOrder);
        assert_eq!(markers.position(), Some(lsn(20)));
    }

    #[test]
    fn one_that_never_comes_is_a_hole_and_one_that_was_never_committed_is_none() {
        let mut markers = Markers::new(HISTORY, 1);
        let first = write(&mut markers);
        let lost = write(&mut markers);
        let third = write(&mut markers);
        assert_eq!(arrive(&mut markers, 0, &first[0], 10), Arrived::InOrder);
        assert_eq!(arrive(&mut markers, 0, &third[0], 30), Arrived::Hole, "{lost:?} did not come");
        let _failed = markers.next();
        let fifth = write(&mut markers);
        assert_eq!(arrive(&mut markers, 0, &fifth[0], 50), Arrived::InOrder);
    }

    #[test]
    fn a_session_whose_first_marker_never_came_has_a_hole() {
        let mut markers = Markers::new(HISTORY, 1);
        write(&mut markers);
        let second = write(&mut markers);
        assert_eq!(arrive(&mut markers, 0, &second[0], 20), Arrived::Hole);
    }

    #[test]
    fn the_markers_of_another_session_say_nothing() {
        let (mut ours, mut theirs) = (Markers::new(HISTORY, 1), Markers::new(HISTORY, 1));
        let (_, foreign) = (write(&mut ours), write(&mut theirs));
        assert_eq!(arrive(&mut ours, 0, &foreign[0], 10), Arrived::Nothing);
        assert_eq!(ours.arrived(0, "freshline.marker", b"{}", lsn(1)), Arrived::Nothing);
        assert_eq!(ours.arrived(0, "freshline.markers", b"{}", lsn(1)), Arrived::Nothing);
    }

    #[test]
    fn of_many_partitions_the_one_that_is_behind_counts() {
        let mut markers = Markers::new(HISTORY, 3);
        let partition = |message: &(String, String)| number_of(&message.0).expect("a number") as usize % 3;
        for round in 1..=3 {
            for message in &write(&mut markers) {
                if partition(message) != 2 || round == 1 {
                    assert_eq!(arrive(&mut markers, partition(message), message, round * 10), Arrived::InOrder);
                }
            }
            assert_eq!(markers.position(), Some(lsn(10)));
            assert_eq!(markers.next().len(), 3, "once each has one, no more are tried");
        }
    }

    #[test]
    fn prefixes_are_tried_until_every_partition_has_one() {
        let mut markers = Markers::new(HISTORY, 2);
        // All of the first try land in one partition.
        for message in &write(&mut markers) {
            arrive(&mut markers, 0, message, 10);
        }
        assert_eq!(markers.position(), None);
        assert_eq!(markers.lacking().collect::<Vec<_>>(), [1]);
        let more = write(&mut markers);
        assert!(more.len() > 8, "{more:?}");
        for message in &more {
            let partition = usize::from(number_of(&message.0).is_some_and(|number| number >= 8));
            assert_eq!(arrive(&mut markers, partition, message, 20), Arrived::InOrder);
        }
        assert_eq!(markers.position(), Some(lsn(20)));
    }
}
