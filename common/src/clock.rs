//! The clock of this process's machine, for people to read: it is told, and nothing is decided by it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in µs since 1970.
pub fn now_us() -> i64 {
    micros(SystemTime::now())
}

/// A time in µs since 1970; 0 for one before.
pub fn micros(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros().try_into().unwrap_or(i64::MAX))
}
