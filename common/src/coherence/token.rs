//! Tokens: proof of a write that a later read must include.

use std::{fmt, str::FromStr};

use super::{
    identity::Source,
    xid::{Lsn, Xid},
};

/// Proof of a write: a read that carries it is never older than that write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The history that the write is part of.
    pub source: Source,
    /// The transaction, `pg_current_xact_id()` inside it.
    pub xid: Xid,
    /// `pg_current_wal_insert_lsn()` after COMMIT had returned: the commit ends at or before it.
    pub lsn: Lsn,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.xid, self.lsn)
    }
}

/// A text that is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a token: send back what a write answered in Freshline-Token, unchanged")]
pub struct TokenSyntax(String);

impl FromStr for Token {
    type Err = TokenSyntax;

    fn from_str(text: &str) -> Result<Self, TokenSyntax> {
        let parse = || {
            let mut parts = text.split(':');
            let token = Self {
                source: parts.next()?.parse().ok()?,
                xid: parts.next()?.parse().ok().and_then(Xid::new)?,
                lsn: parts.next()?.parse().ok()?,
            };
            // One token has one text: a cache in front may compare them.
            (parts.next().is_none() && token.to_string() == text).then_some(token)
        };
        parse().ok_or_else(|| TokenSyntax(text.chars().take(120).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let text = "7412345678901234567/1/1763719200000000:841:0/16B3748";
        assert_eq!(text.parse::<Token>().map(|token| token.to_string()).as_deref(), Ok(text));
        for wrong in ["", "1/1/1:2", "1/1/1:2:0/1:3", "1/1/1:02:0/1", "1/1/1:2:0/01", "1/1/1:-2:0/1", "1/1/1:99999999999999999:0/1"]
        {
            assert!(wrong.parse::<Token>().is_err(), "{wrong:?} was taken for a token");
        }
    }
}
