//! The place of a message in the log, as the relay writes it beside each: `Nats-Msg-Id` in NATS, a header in Kafka.

use std::{fmt, str::FromStr};

use crate::coherence::{Lsn, Source};

/// The place of a message in the log, which its id is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId {
    /// The history that it is of.
    pub history: Source,
    /// Of a transaction's message where its commit record begins; of a heartbeat its position.
    pub position: Lsn,
    /// Its number in the transaction, from 1; 0 for what is in none.
    pub ordinal: u64,
}

impl MessageId {
    /// Where it stands among those of one history.
    pub fn place(&self) -> (Lsn, u64) {
        (self.position, self.ordinal)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.history, self.position, self.ordinal)
    }
}

/// A text that is not the id of a message of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a message of the relay's")]
pub struct NotOurs(String);

impl FromStr for MessageId {
    type Err = NotOurs;

    /// What follows a third colon is not looked at.
    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let parse = || {
            let mut parts = text.split(':');
            Some(Self {
                history: parts.next()?.parse().ok()?,
                position: parts.next()?.parse().ok()?,
                ordinal: parts.next()?.parse().ok()?,
            })
        };
        parse().ok_or_else(|| NotOurs(text.chars().take(120).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let text = "7412345678901234567/1/1763719200000000:0/16B3748:12";
        assert_eq!(text.parse::<MessageId>().map(|id| id.to_string()).as_deref(), Ok(text));
        assert_eq!(format!("{text}:hole").parse::<MessageId>(), text.parse());
        for wrong in ["", "x", "7/1/1:0/1", "7/1/1:0/1:x", "7/1:0/1:2"] {
            assert!(wrong.parse::<MessageId>().is_err(), "{wrong:?} was taken for an id");
        }
    }
}
