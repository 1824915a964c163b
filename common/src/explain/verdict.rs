//! Whether a key would be served, and why, in words.

use super::{ExplainedFences, ExplainedLease};
use crate::{cache::Explanation, coherence::RedisTime};

/// Whether a reader would be served, and why; else what stands in the way of a fill.
pub(super) fn verdict(
    look: &Explanation,
    fences: Option<&ExplainedFences>,
    lease: Option<&ExplainedLease>,
    now: RedisTime,
) -> String {
    let age = micros(look.age_us);
    match look.rule {
        "stream" => return format!("served: nothing visible longer than {age} ago is missing from it"),
        "read-time" => return format!("served: it was read {age} ago"),
        _ => {}
    }
    let why = match look.rule {
        "closed" => "the stripe is closed: the invalidator has not opened it".to_owned(),
        "other-run" => "the stripe was opened in another Redis process".to_owned(),
        "missing" => "nothing is cached under the key".to_owned(),
        "garbled" => "what lies under the key is not an entry of this version".to_owned(),
        "other-generation" => "the entry is of an earlier generation".to_owned(),
        "tag-changed" => "a tag that it depends on has changed, or was not named (--tag)".to_owned(),
        "unproven" => unproven(look, now),
        other => other.to_owned(),
    };
    let fill = match (lease, fences) {
        (Some(lease), _) => format!("somebody holds the lease, for {} ms more at most", lease.left_ms),
        (None, Some(ExplainedFences { own, wildcard, .. })) if !own.is_empty() || !wildcard.is_empty() => {
            let xids: Vec<String> = own.iter().chain(wildcard).map(u64::to_string).collect();
            format!("a fill has to see transaction {}, which is not known to be visible", xids.join(", "))
        }
        (None, Some(_)) => "the next reader fills it".to_owned(),
        (None, None) => "nobody can fill it until then".to_owned(),
    };
    format!("not served: {why}; {fill}")
}

fn unproven(look: &Explanation, now: RedisTime) -> String {
    let bound = micros(look.max_staleness_us);
    let age =
        look.control.as_ref().filter(|control| control.at_us > 0).map(|control| now.as_micros().saturating_sub(control.at_us));
    match age {
        Some(age) => format!("the stream was last proven {} ago, and the bound is {bound}", micros(age)),
        None => format!("the stream proves nothing yet, and the entry is older than the bound of {bound}"),
    }
}

/// A length of time in µs, for people.
pub fn micros(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} µs"),
        10_000..10_000_000 => format!("{} ms", count / 1_000),
        10_000_000..7_200_000_000 => format!("{} s", count / 1_000_000),
        _ => format!("{} h", count / 3_600_000_000),
    }
}
