//! What the log held when a session began: protocol.md's "log's end", before which a stripe is not opened. Pure.
//!
//! Whoever had the turn before has read no further, for these ends were asked for after the turn was taken.

use super::kept::Next;

/// What there is still to come.
#[derive(Debug)]
pub struct CatchUp {
    /// The end of each partition as the session began; none where it is begun there.
    ends: Vec<Option<i64>>,
    is_told: bool,
}

impl CatchUp {
    /// Of partitions that are read from these offsets, and had these ends.
    pub fn new(from: &[i64], ends: &[i64]) -> Self {
        let ends = from.iter().zip(ends).map(|(from, end)| Some(*end).filter(|end| end > from)).collect();
        Self { ends, is_told: false }
    }

    /// Whether all of it has come, the first time that this is so.
    pub fn is_just_over(&mut self, read: &[Option<Next>]) -> bool {
        let has_come =
            |(end, read): (&Option<i64>, &Option<Next>)| end.is_none_or(|end| read.as_ref().is_some_and(|next| next.offset >= end));
        let is_over = !self.is_told && self.ends.iter().zip(read).all(has_come);
        self.is_told |= is_over;
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(offset: i64) -> Option<Next> {
        Some(Next { offset, print: 0 })
    }

    #[test]
    fn every_partition_has_to_come_to_its_end_and_it_is_told_once() {
        let mut catch_up = CatchUp::new(&[3, 7, 0], &[5, 7, 1]);
        assert!(!catch_up.is_just_over(&[None, None, None]));
        assert!(!catch_up.is_just_over(&[read(5), None, None]), "the last has not come");
        assert!(catch_up.is_just_over(&[read(5), None, read(4)]), "the second was read from its end");
        assert!(!catch_up.is_just_over(&[read(6), read(8), read(4)]), "told before");
        assert!(CatchUp::new(&[7], &[7]).is_just_over(&[None]));
    }
}
