//! The share of the stripes that an invalidator applies: all, or every n-th where one process is not enough.
//!
//! A stripe has its own control record and position, so shards need not know of each other. Each reads all changes, from a slot or
//! consumer of its own, and applies those that touch its stripes.

use std::{fmt, str::FromStr};

use crate::{
    coherence::{Stripe, Stripes},
    config::{Reader, Setting},
};

/// The most shards that a cache may have: as many as stripes.
const COUNT_MAX: u16 = 1024;

/// One share of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    number: u16,
    count: u16,
}

/// A text that is no shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not one number of so many, such as 1/2")]
pub struct NoShard;

impl Shard {
    /// Which one a process is.
    pub const SETTING: Setting<Self> = Setting::parsed(
        "SHARD",
        "1/2",
        "Which share of the stripes this process applies, where one is not enough for all: each of n processes has one, 1/n to n/n, \
         and a slot or consumer of its own, named after the one that is set.",
    )
    .or("1/1");

    /// Reads it; `None` where it has a fault, which the reader keeps. One that has no stripe would do nothing, and look as if it did.
    pub fn read(read: &mut Reader<'_>, stripes: Option<&Stripes>) -> Option<Self> {
        let shard = read.get(&Self::SETTING)?;
        if stripes.is_some_and(|stripes| shard.count() > stripes.count()) {
            return read.fault(&Self::SETTING.describe(), "has more shards than FRESHLINE_STRIPES has stripes");
        }
        Some(shard)
    }

    /// How many shards there are.
    pub fn count(self) -> u16 {
        self.count
    }

    /// Every shard of the same cache, itself among them.
    pub fn siblings(self) -> impl Iterator<Item = Self> {
        (0..self.count).map(move |number| Self { number, ..self })
    }

    /// Its stripes, in order.
    pub fn stripes(self, all: &Stripes) -> impl Iterator<Item = Stripe> + use<> {
        all.all().filter(move |stripe| self.has(*stripe))
    }

    /// Whether a stripe is its own.
    pub fn has(self, stripe: Stripe) -> bool {
        stripe.number() % self.count == self.number
    }

    /// Where a stripe of its own comes in their order.
    pub fn index(self, stripe: Stripe) -> usize {
        usize::from(stripe.number() / self.count)
    }

    /// What this shard's own slot or consumer is called, where all of them are called after one name.
    pub fn name(self, of_all: &str) -> String {
        if self.count == 1 { of_all.to_owned() } else { format!("{of_all}_{}of{}", self.number + 1, self.count) }
    }

    /// What is told to people of a process with this share, beside `what`.
    pub fn told(self, what: &str) -> String {
        if self.count == 1 { what.to_owned() } else { format!("{what}, shard {self}") }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number + 1, self.count)
    }
}

impl FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Self, NoShard> {
        let (number, count) = text.split_once('/').ok_or(NoShard)?;
        let plain = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+')).ok_or(NoShard);
        let (number, count) = (plain(number)?, plain(count)?);
        let is_one = (1..=COUNT_MAX).contains(&count) && (1..=count).contains(&number);
        if is_one { Ok(Self { number: number - 1, count }) } else { Err(NoShard) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stripe_is_in_one_shard_and_knows_its_place_there() {
        let all = Stripes::new("t", 7).expect("a layout");
        let mut seen: Vec<u16> = Vec::new();
        for shard in "2/3".parse::<Shard>().expect("a shard").siblings() {
            let own: Vec<Stripe> = shard.stripes(&all).collect();
            assert!(own.iter().enumerate().all(|(index, stripe)| shard.has(*stripe) && shard.index(*stripe) == index), "{shard}");
            seen.extend(own.iter().map(|stripe| stripe.number()));
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_shard_is_read_as_it_is_written_and_nothing_else_is_one() {
        assert_eq!("2/3".parse::<Shard>().expect("a shard").to_string(), "2/3");
        assert_eq!("2/3".parse::<Shard>().expect("a shard").name("freshline"), "freshline_2of3");
        assert_eq!("1/1".parse::<Shard>().expect("a shard").name("freshline"), "freshline");
        for text in ["", "1", "0/2", "3/2", "1/0", "1/2/3", "+1/2", "1/ 2", "1/1025", "a/b"] {
            assert_eq!(text.parse::<Shard>(), Err(NoShard), "{text}");
        }
    }
}
