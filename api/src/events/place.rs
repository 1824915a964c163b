//! Places in the trail: the ids of a stream of Redis, which are numbers and not text.

use std::{fmt, str::FromStr};

/// A place: ms of Redis's clock, and a number among those of that ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place(u64, u64);

/// A text is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (ms, n) = text.split_once('-').ok_or(NoPlace)?;
        let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).ok_or(NoPlace);
        Ok(Self(number(ms)?, number(n)?))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_is_decided_by_number_and_not_by_text() {
        let place = |text: &str| text.parse::<Place>();
        assert!(place("10-0").ok() > place("9-5").ok() && place("9-10").ok() > place("9-9").ok());
        assert_eq!(place("9-5").map(|place| place.to_string()), Ok("9-5".to_owned()));
        for wrong in ["", "0", "1-", "-1", "1-2-3", "a-b", "+1-2", "1-18446744073709551616"] {
            assert_eq!(place(wrong), Err(NoPlace), "{wrong}");
        }
    }
}
