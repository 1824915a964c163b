//! Which offsets an acknowledged place stands for. Pure.

use std::collections::VecDeque;

use freshline::change::Place;

use super::kept::Next;

/// How many batches are told apart; beyond, two neighbours are acknowledged together.
const BATCHES_MAX: usize = 4_096;

/// The offsets to go on from, by batch, oldest first. Its places are the batches' numbers.
#[derive(Debug, Default)]
pub struct Offsets {
    batches: VecDeque<(Place, Vec<Option<Next>>)>,
}

impl Offsets {
    /// Up to this place all partitions have been read to these offsets.
    pub fn note(&mut self, place: Place, next: Vec<Option<Next>>) {
        self.batches.push_back((place, next));
        if self.batches.len() > BATCHES_MAX {
            let mut index = 0;
            self.batches.retain(|_| {
                index += 1;
                index % 2 == 0 // the later of each two: its offsets are not below the other's
            });
        }
    }

    /// The offsets of what is acknowledged; `None` where nothing new is.
    pub fn acknowledged(&mut self, place: Place) -> Option<Vec<Option<Next>>> {
        let mut newest = None;
        while self.batches.front().is_some_and(|(noted, _)| *noted <= place) {
            newest = self.batches.pop_front();
        }
        newest.map(|(_, next)| next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Option<Next> {
        Some(Next { offset, print: 0 })
    }

    #[test]
    fn an_acknowledged_place_stands_for_all_before_it() {
        let mut offsets = Offsets::default();
        offsets.note(Place(1), vec![at(10), None]);
        offsets.note(Place(3), vec![at(20), at(5)]);
        assert_eq!(offsets.acknowledged(Place(0)), None);
        assert_eq!(offsets.acknowledged(Place(2)), Some(vec![at(10), None]));
        assert_eq!(offsets.acknowledged(Place(2)), None);
        assert_eq!(offsets.acknowledged(Place(9)), Some(vec![at(20), at(5)]));
    }

    #[test]
    fn many_that_wait_are_bounded_and_none_is_acknowledged_too_early() {
        let mut offsets = Offsets::default();
        let count = 3 * i64::try_from(BATCHES_MAX).expect("small");
        for n in 1..=count {
            offsets.note(Place(n.unsigned_abs()), vec![at(n)]);
        }
        assert!(offsets.batches.len() <= BATCHES_MAX);
        let next = offsets.acknowledged(Place(1_000)).expect("some")[0].expect("an offset").offset;
        assert!(next <= 1_000, "{next}");
        assert_eq!(offsets.acknowledged(Place(count.unsigned_abs())), Some(vec![at(count)]));
    }
}
