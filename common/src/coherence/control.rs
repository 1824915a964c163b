//! The control record of a stripe: whether it is open, under which identities, and how far the applier has come.

use super::{
    bytes::Fields,
    entry::RedisTime,
    identity::{Generation, Run, Source},
    xid::Lsn,
};

/// What `{s}ctl` holds. Where it is missing the stripe is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Identity of the stripe's contents.
    pub generation: Generation,
    /// The Redis process that it was opened in.
    pub run: Run,
    /// Every change whose commit ends at or before this is applied to the stripe.
    pub position: Lsn,
    /// Nothing visible before this is missing.
    pub at: RedisTime,
    /// The Postgres history that the changes come from.
    pub source: Source,
}

impl Control {
    /// The record of these bytes; `None` for what another version or another program wrote, which counts as closed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.u8()? != 1 {
            return None;
        }
        Some(Self {
            generation: Generation::from_bytes(fields.array()?),
            run: Run::from_bytes(fields.array()?),
            position: fields.lsn()?,
            at: RedisTime::from_micros(fields.exact()?),
            source: std::str::from_utf8(fields.0).ok()?.parse().ok()?,
        })
    }
}
