//! What our relay writes beside the changes: numbers, by which is known that none is missing; ids, by which is known what came again;
//! and heartbeats into every partition. Pure.
//!
//! In each partition a record comes after all that the relay had sent there before it, at least once. So what is not later than one
//! that came, came as well; and everything up to the least of the last heartbeats has come.

use freshline::{broker::MessageId, coherence::Lsn};

/// What is known of each partition.
#[derive(Debug)]
pub struct Relayed(Vec<Seen>);

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The number of the last record, where it had one.
    number: Option<u64>,
    /// The place of the last change that came.
    last: (Lsn, u64),
    /// The position of the last heartbeat.
    reached: Lsn,
}

impl Relayed {
    /// Of so many partitions nothing is known yet.
    pub fn new(partitions: usize) -> Self {
        Self(vec![Seen::default(); partitions])
    }

    /// Whether the record of this number does not follow the one before it: records are missing, or the topic was made anew under us.
    pub fn has_gap(&mut self, partition: usize, number: u64) -> bool {
        let Some(seen) = self.0.get_mut(partition) else { return false };
        seen.number.replace(number).is_some_and(|before| number != before.wrapping_add(1))
    }

    /// Whether a record of the history that is read came before, as it does when a relay is killed. Heartbeats and holes do no harm.
    pub fn came_again(&mut self, partition: usize, id: &MessageId) -> bool {
        let Some(seen) = self.0.get_mut(partition).filter(|_| id.ordinal > 0) else { return false };
        let came_again = id.place() <= seen.last;
        seen.last = seen.last.max(id.place());
        came_again
    }

    /// A heartbeat came to a partition.
    pub fn reached(&mut self, partition: usize, position: Lsn) {
        if let Some(seen) = self.0.get_mut(partition) {
            seen.reached = seen.reached.max(position);
        }
    }

    /// The position up to which everything has come to every partition; `None` until a heartbeat has come to each.
    pub fn position(&self) -> Option<Lsn> {
        self.0.iter().map(|seen| seen.reached).min().filter(|position| *position > Lsn::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(position: u64) -> Lsn {
        Lsn::new(position).expect("small")
    }

    fn id(position: u64, ordinal: u64) -> MessageId {
        MessageId { history: "7/1/1".parse().expect("a history"), position: lsn(position), ordinal }
    }

    #[test]
    fn what_came_before_in_its_partition_is_known() {
        let mut relayed = Relayed::new(2);
        let came = [id(10, 1), id(10, 2), id(10, 1), id(10, 2), id(10, 3), id(20, 1), id(10, 3)];
        assert_eq!(came.map(|id| relayed.came_again(0, &id)), [false, false, true, true, false, false, true]);
        assert!(!relayed.came_again(1, &id(10, 1)), "it came to another");
        assert!(!relayed.came_again(0, &id(5, 0)), "a hole is told as often as it is said");
    }

    #[test]
    fn a_number_that_does_not_follow_is_a_gap_wherever_it_lies() {
        let mut relayed = Relayed::new(2);
        let gaps = [7, 8, 9, 12, 13, 3, 4, 4].map(|number| relayed.has_gap(0, number));
        assert_eq!(gaps, [false, false, false, true, false, true, false, true]);
        assert!(!relayed.has_gap(1, 99), "the first of another partition");
    }

    #[test]
    fn of_many_partitions_the_one_that_is_behind_counts() {
        let mut relayed = Relayed::new(2);
        relayed.reached(0, lsn(30));
        assert_eq!(relayed.position(), None);
        relayed.reached(1, lsn(20));
        relayed.reached(1, lsn(10));
        assert_eq!(relayed.position(), Some(lsn(20)));
    }
}
