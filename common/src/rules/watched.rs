//! Sets of the columns that rules name, as bits: a change is compared column by column once, whatever number of tags it touches.

/// The columns whose change decides what is touched, each with a bit of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    /// Places in a row.
    columns: Vec<usize>,
}

/// A set of watched columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Columns(u64);

impl Watched {
    /// The set of these columns, which are watched from now on.
    ///
    /// All from the 64th on share a bit: each of them then counts as changed where another is, which touches more and never less.
    pub(super) fn watch(&mut self, columns: impl IntoIterator<Item = usize>) -> Columns {
        let mut set = Columns::default();
        for column in columns {
            let known = self.columns.iter().position(|watched| *watched == column);
            let place = known.unwrap_or_else(|| {
                self.columns.push(column);
                self.columns.len() - 1
            });
            set.0 |= bit(place);
        }
        set
    }

    /// The watched columns of which something holds.
    pub(super) fn among(&self, mut holds: impl FnMut(usize) -> bool) -> Columns {
        let bits = self.columns.iter().enumerate().filter(|(_, column)| holds(**column)).map(|(place, _)| bit(place));
        Columns(bits.fold(0, |set, bit| set | bit))
    }
}

impl Columns {
    /// Whether the two sets have a column in common.
    pub(super) fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

fn bit(place: usize) -> u64 {
    1 << place.min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_meet_where_they_share_a_column() {
        let mut watched = Watched::default();
        let (a, b, both) = (watched.watch([7]), watched.watch([9]), watched.watch([9, 7]));
        assert!(!a.meet(b) && a.meet(both) && b.meet(both) && !Columns::default().meet(both));
        assert_eq!(watched.among(|column| column == 9), b);
    }

    #[test]
    fn columns_beyond_the_bits_touch_more_and_never_less() {
        let mut watched = Watched::default();
        let first = watched.watch([0]);
        let (late, later) = (watched.watch(1..70), watched.watch([200]));
        assert!(watched.among(|column| column == 200).meet(later) && watched.among(|column| column == 69).meet(late));
        assert!(!watched.among(|column| column >= 63).meet(first));
    }
}
