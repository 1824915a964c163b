//! Transaction ids and log positions: the two numbers that a change carries.

use std::{fmt, str::FromStr};

use super::snapshot::Snapshot;

/// The largest number that Lua, whose numbers are doubles, holds exactly. Xids and LSNs are asserted below it where they enter.
pub const EXACT_MAX: u64 = 1 << 53;

/// A top-level transaction id, widened to 64 bits (Postgres's `xid8`). All comparing is done in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xid(u64);

impl Xid {
    /// The id as a number, or `None` where a script could not hold it exactly (above 2^53).
    pub const fn new(id: u64) -> Option<Self> {
        if id <= EXACT_MAX { Some(Self(id)) } else { None }
    }

    /// The id as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A transaction id as the stream gives it: the low 32 bits. Taken from Begin, never from a row message, which carries the
/// id of a subtransaction that no snapshot lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NarrowXid(pub u32);

impl NarrowXid {
    /// Widens to 64 bits against a snapshot polled at about the same time.
    ///
    /// The nearest value to `xmax` is taken; but one that lies more than 2^30 above it cannot have been handed out yet, so it
    /// belongs to the epoch before.
    pub fn widen(self, polled: &Snapshot) -> Xid {
        const EPOCH: u64 = 1 << 32;
        let reference = polled.xmax().get();
        let mut id = (reference & !(EPOCH - 1)) | u64::from(self.0);
        if id + EPOCH / 2 < reference {
            id += EPOCH;
        }
        if id > reference + (1 << 30) {
            id = id.saturating_sub(EPOCH);
        }
        Xid(id)
    }
}

/// A position in Postgres's log: the byte offset that `pg_lsn` shows as two hexadecimal halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// Before every record.
    pub const ZERO: Self = Self(0);

    /// The position as a number, or `None` where a script could not hold it exactly (above 2^53, eight petabytes of log).
    pub const fn new(position: u64) -> Option<Self> {
        if position <= EXACT_MAX { Some(Self(position)) } else { None }
    }

    /// The position as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A text that is not a log position such as `16/B374D848`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log position: write two hexadecimal numbers with a slash, such as 16/B374D848")]
pub struct LsnSyntax(String);

impl FromStr for Lsn {
    type Err = LsnSyntax;

    fn from_str(text: &str) -> Result<Self, LsnSyntax> {
        let wrong = || LsnSyntax(text.to_owned());
        let (high, low) = text.split_once('/').ok_or_else(wrong)?;
        let half = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| wrong());
        Self::new(u64::from(half(high)?) << 32 | u64::from(half(low)?)).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polled_at(xmax: u64) -> Snapshot {
        format!("{xmax}:{xmax}:").parse().expect("a snapshot")
    }

    #[rstest::rstest]
    #[case::same_epoch(100, 90, 90)]
    #[case::a_little_ahead_of_the_poll(100, 120, 120)]
    #[case::next_epoch_just_begun((1 << 32) - 5, 3, (1 << 32) + 3)]
    #[case::the_epoch_before((1 << 32) + 5, u32::MAX, (1 << 32) - 1)]
    #[case::far_below_in_this_epoch((7 << 32) + 3_000_000_000, 5, (7 << 32) + 5)]
    #[case::an_xid_two_billion_old((1 << 32) + 1_000_000_000, 3_500_000_000, 3_500_000_000)]
    fn an_xid_is_widened_to_the_value_that_can_have_been_handed_out(#[case] xmax: u64, #[case] narrow: u32, #[case] wide: u64) {
        assert_eq!(NarrowXid(narrow).widen(&polled_at(xmax)).get(), wide);
    }

    #[test]
    fn a_log_position_is_read_as_it_is_written() {
        let position: Lsn = "16/B374D848".parse().expect("a position");
        assert_eq!(position.get(), 0x16_B374_D848);
        assert_eq!(position.to_string(), "16/B374D848");
        for wrong in ["", "16", "16/", "/1", "x/1", "16/B374D8480", "-1/1", "FFFFFFFF/FFFFFFFF"] {
            assert!(wrong.parse::<Lsn>().is_err(), "{wrong:?} was taken for a position");
        }
    }
}
