//! Identities: of the cache's contents, of the Redis process, of the Postgres history. Whatever can be lost is lost with one of them.

use std::{fmt, str::FromStr};

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A new one that nobody has used before.
            pub fn random() -> Self {
                Self(uuid::Uuid::new_v4().into_bytes())
            }

            /// The one of these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its bytes, as they lie in Redis.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

random_id! {
    /// Identity of the cache's contents: 128 random bits, of which only equality is asked, for an old file may come back.
    Generation
}
random_id! {
    /// Identity of one entry, so that a reader can say which entry it could not serve.
    EntryId
}
random_id! {
    /// Proof of holding a lease.
    LeaseToken
}
random_id! {
    /// The version of a tag: changed by any change that touches the tag, and never used twice.
    TagVersion
}

/// Identity of one Redis process: the 40 hexadecimal digits of `run_id` in `INFO server`. A restart changes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run([u8; 40]);

impl Run {
    /// Its bytes, as they lie in Redis.
    pub const fn as_bytes(&self) -> &[u8; 40] {
        &self.0
    }

    /// The one of these bytes, as they lie in Redis.
    pub(crate) const fn from_bytes(bytes: [u8; 40]) -> Self {
        Self(bytes)
    }

    /// The run id that an answer to `INFO server` names.
    pub fn from_info(info: &str) -> Option<Self> {
        let id = info.lines().find_map(|line| line.strip_prefix("run_id:"))?.trim();
        Some(Self(id.as_bytes().try_into().ok()?))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or("(not text)"))
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Identity of a Postgres history: inside one, an xid means one transaction.
///
/// The start of the checkpointer is in it because a crash uses xids again, and nothing else changes when one backend is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// `system_identifier` of `pg_control_system()`.
    pub system: u64,
    /// The timeline, which a promotion raises.
    pub timeline: u32,
    /// When the checkpointer started, in µs since 1970.
    pub started_us: u64,
}

impl Source {
    /// Whether this is a later history of the same system than `other`: a promotion lies between.
    pub fn deposes(&self, other: &Source) -> bool {
        self.system == other.system && self.timeline > other.timeline
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.system, self.timeline, self.started_us)
    }
}

/// A text that is not a source such as `7412345678901234567/1/1763719200000000`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a source: it has a system identifier, a timeline and a start in µs, with slashes between")]
pub struct SourceSyntax(String);

impl FromStr for Source {
    type Err = SourceSyntax;

    fn from_str(text: &str) -> Result<Self, SourceSyntax> {
        let parse = || {
            let mut parts = text.split('/');
            let source =
                Self { system: decimal(parts.next()?)?, timeline: decimal(parts.next()?)?, started_us: decimal(parts.next()?)? };
            parts.next().is_none().then_some(source)
        };
        parse().ok_or_else(|| SourceSyntax(text.chars().take(80).collect()))
    }
}

/// A number of digits alone: `parse` would take a sign as well, and one source would have two texts.
fn decimal<N: FromStr>(digits: &str) -> Option<N> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written() {
        let source = Source { system: 7_412_345_678_901_234_567, timeline: 2, started_us: 1_763_719_200_000_000 };
        assert_eq!(source.to_string().parse(), Ok(source));
        for wrong in ["", "1/2", "1/2/3/4", "+1/2/3", "1/2/x", "-1/2/3"] {
            assert!(wrong.parse::<Source>().is_err(), "{wrong:?} was taken for a source");
        }
    }

    #[test]
    fn the_run_id_is_found_in_info() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let run = Run::from_info(&format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{id}\r\n"));
        assert_eq!(run.map(|run| run.to_string()).as_deref(), Some(id));
        assert_eq!(Run::from_info("run_id:short\r\n"), None);
    }
}
