//! How long, how many: the numbers of the read path.

use std::time::Duration;

/// How long, how many. The defaults are the ones that `protocol.md` and the README speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The oldest that a value served from the cache may be. At least twice the 250 ms at which the bound is proven anew.
    pub max_staleness: Duration,
    /// How long a value stays in Redis, give or take a tenth, so that values filled together do not run out together.
    pub value_ttl: Duration,
    /// The same for a row that does not exist. Shorter: anybody can ask for names that nothing has.
    pub absent_ttl: Duration,
    /// How long the right to fill lasts: longer than a load, or fills are lost; and a load that dies keeps the others from filling
    /// for that long.
    pub lease_ttl: Duration,
    /// How long a read waits for somebody else's fill before it asks Postgres itself.
    pub busy_wait: Duration,
    /// How long a stripe that was found closed is not asked again.
    pub closed_pause: Duration,
    /// How many loads this process may have running at once. No more than its Postgres connections are any use.
    pub loads_max: usize,
    /// How long a load waits for its place; then the read is refused as overloaded.
    pub load_wait: Duration,
    /// How many bytes of values this process may keep in memory while Redis is away, each served until it is as old as
    /// `max_staleness`; 0 for none.
    pub fallback_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_staleness: Duration::from_secs(5),
            value_ttl: Duration::from_secs(600),
            absent_ttl: Duration::from_secs(60),
            lease_ttl: Duration::from_secs(2),
            busy_wait: Duration::from_millis(200),
            closed_pause: Duration::from_millis(50),
            loads_max: 16,
            load_wait: Duration::from_secs(1),
            fallback_bytes_max: 0,
        }
    }
}

impl Settings {
    /// How long an entry stays: a tenth more or less than its setting, as `dice` (0 to 255) falls.
    pub(super) fn ttl(&self, is_absent: bool, dice: u8) -> Duration {
        let whole = if is_absent { self.absent_ttl } else { self.value_ttl };
        whole.mul_f64(0.9 + 0.2 * f64::from(dice) / 255.0)
    }

    /// How long a tag stays after it was last asked for: longer than any value that can depend on it.
    pub(super) fn tag_ttl(&self) -> Duration {
        self.value_ttl.max(self.absent_ttl) * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_within_a_tenth_and_below_that_of_a_tag() {
        let settings = Settings::default();
        assert_eq!(settings.ttl(false, 0), Duration::from_secs(540));
        assert_eq!(settings.ttl(false, 255), Duration::from_secs(660));
        assert_eq!(settings.ttl(true, 255), Duration::from_secs(66));
        assert!(settings.tag_ttl() > settings.ttl(false, 255));
    }
}
