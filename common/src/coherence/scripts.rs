//! The protocol's operations on Redis: a script each, with a typed caller.

mod applying;
mod filling;
mod text;

use std::time::Duration;

use redis::Value;

pub(super) use self::text::{SCRIPTS, Script};
pub use self::{
    applying::{Applied, Open, Opening, Progress, Touched},
    filling::{Fill, Filling, Lease, LeaseGrant, TagGrant, Wanted},
};
use super::{
    key::{Stripe, Stripes},
    link::{Link, LinkError},
};

/// The stripe serves nothing and takes nothing; the caller reads Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// The field of `fences` for a transaction that touches more than can be listed.
pub const WILDCARD_FIELD: &str = "*";

/// Runs the protocol's operations on a link. Every key of one call lies in one stripe.
#[derive(Clone, Copy)]
pub struct Scripts<'a> {
    link: &'a Link,
    stripes: &'a Stripes,
}

impl<'a> Scripts<'a> {
    /// The operations on this link, with names laid out like this.
    pub fn new(link: &'a Link, stripes: &'a Stripes) -> Self {
        Self { link, stripes }
    }

    fn run(&self) -> &'a [u8] {
        self.link.run_ref().as_bytes()
    }

    fn ctl_and_fences(&self, stripe: Stripe) -> Vec<String> {
        vec![self.stripes.ctl(stripe), self.stripes.fences(stripe)]
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

fn is_word(reply: &Value, word: &str) -> bool {
    matches!(reply, Value::BulkString(bytes) if bytes == word.as_bytes())
}

fn unless_closed<T>(reply: Value, read: impl FnOnce(Vec<Value>) -> Option<T>) -> Result<Result<T, Closed>, LinkError> {
    match reply {
        reply if is_word(&reply, "closed") => Ok(Err(Closed)),
        Value::Array(parts) => read(parts).map(Ok).ok_or_else(nonsense),
        _ => Err(nonsense()),
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

fn fixed<const N: usize>(value: Value) -> Option<[u8; N]> {
    bytes(value)?.try_into().ok()
}

fn number(value: Value) -> Option<u64> {
    if let Value::Int(number) = value { number.try_into().ok() } else { None }
}

fn nonsense() -> LinkError {
    LinkError::Reply((redis::ErrorKind::UnexpectedReturnType, "a script answered in a shape of another version").into())
}
