//! What Kafka keeps with an acknowledged offset: the history that it is of, and a print of the record before it.
//!
//! An offset alone proves little: in a topic that was made anew it is another record's. So it is gone on from only where the record
//! before it is still the same.

use std::{fmt, str::FromStr};

use freshline::coherence::Source;
use rdkafka::{Message, message::BorrowedMessage};
use xxhash_rust::xxh3::Xxh3;

/// Where to go on in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The offset of the next record.
    pub offset: i64,
    /// The print of the one before it.
    pub print: u64,
}

/// What is kept beside the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub history: Source,
    pub print: u64,
}

/// A text that we have not kept.
#[derive(Debug)]
pub struct NotOurs;

impl Next {
    /// After this record.
    pub fn after(message: &BorrowedMessage<'_>) -> Self {
        Self { offset: message.offset() + 1, print: print(message) }
    }

    /// Whether this is the record before.
    pub fn is_after(&self, message: &BorrowedMessage<'_>) -> bool {
        *self == Self::after(message)
    }
}

/// Of time, key and value: no two records of one log have all in common, but for what is sent twice at one moment.
fn print(message: &BorrowedMessage<'_>) -> u64 {
    let mut print = Xxh3::new();
    print.update(&message.timestamp().to_millis().unwrap_or_default().to_le_bytes());
    print.update(message.key().unwrap_or_default());
    print.update(message.payload().unwrap_or_default());
    print.digest()
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:016x}", self.history, self.print)
    }
}

impl FromStr for Kept {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let (history, print) = text.split_once(' ').ok_or(NotOurs)?;
        Ok(Self { history: history.parse().map_err(|_| NotOurs)?, print: u64::from_str_radix(print, 16).map_err(|_| NotOurs)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_is_written() {
        let text = "7412345678901234567/1/1763719200000000 00f3a1b2c3d4e5f6";
        assert_eq!(text.parse::<Kept>().map(|kept| kept.to_string()).ok().as_deref(), Some(text));
        for foreign in ["", "7412345678901234567/1/1763719200000000", "x 1", "7/1/1 x"] {
            assert!(foreign.parse::<Kept>().is_err(), "{foreign:?} was taken for ours");
        }
    }
}
