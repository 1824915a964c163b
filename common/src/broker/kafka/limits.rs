//! What a topic has to be like so that no change is lost unseen: asked by the relay before it writes, and by `freshline doctor`.

use std::{collections::HashMap, fmt};

/// A topic that keeps messages for less loses what the invalidator has not read by then, in ms.
pub const RETENTION_MIN_MS: u64 = 600_000;

/// So does one that keeps fewer bytes, where they are limited.
const RETENTION_MIN_BYTES: u64 = 64 << 20;

/// The least that a record may be long, in bytes: a row keeps its key and its short values.
const MESSAGE_MIN_LEN: u64 = 64 << 10;

/// A setting of a topic that would lose changes, or refuse them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFault {
    /// Its name.
    pub setting: &'static str,
    /// A value that is right.
    pub right: String,
    wanted: String,
    why: &'static str,
}

impl fmt::Display for TopicFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its {} has to be {}: {}", self.setting, self.wanted, self.why)
    }
}

/// What is wrong with the settings of a topic, by name, of whose partitions there are so many copies.
pub fn topic_faults(settings: &HashMap<String, String>, copies: usize) -> Vec<TopicFault> {
    let has = |name: &str, part: &str| settings.get(name).is_some_and(|value| value.contains(part));
    let number = |name: &str| settings.get(name).and_then(|value| value.parse::<u64>().ok());
    let is_below = |name: &str, least: u64| number(name).is_some_and(|value| value < least);
    let in_sync = number("min.insync.replicas").is_some_and(|wanted| wanted > copies as u64);
    let at_least = |least: u64| format!("{least} at least");
    let fault = |setting, right: &str, wanted: String, why| TopicFault { setting, right: right.to_owned(), wanted, why };
    let checks = [
        has("cleanup.policy", "compact").then(|| {
            let why = "compaction drops older changes of a row, and no gap shows it";
            fault("cleanup.policy", "delete", "delete".to_owned(), why)
        }),
        is_below("retention.ms", RETENTION_MIN_MS).then(|| {
            let why = "what the invalidator has not read by then is lost";
            fault("retention.ms", "86400000", at_least(RETENTION_MIN_MS), why)
        }),
        is_below("retention.bytes", RETENTION_MIN_BYTES).then(|| {
            let wanted = format!("{RETENTION_MIN_BYTES} at least, or -1");
            fault("retention.bytes", "-1", wanted, "one large transaction would push out the rest")
        }),
        is_below("max.message.bytes", MESSAGE_MIN_LEN)
            .then(|| fault("max.message.bytes", "1048588", at_least(MESSAGE_MIN_LEN), "rows have to fit")),
        has("unclean.leader.election.enable", "true").then(|| {
            let why = "a broker that lacks stored changes would take over";
            fault("unclean.leader.election.enable", "false", "false".to_owned(), why)
        }),
        in_sync.then(|| {
            let (right, why) = (copies.to_string(), "of a partition there are no more copies, and nothing could be written");
            fault("min.insync.replicas", &right, format!("{copies} at most"), why)
        }),
    ];
    checks.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: [(&str, &str); 6] = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "86400000"),
        ("retention.bytes", "-1"),
        ("max.message.bytes", "1048588"),
        ("unclean.leader.election.enable", "false"),
        ("min.insync.replicas", "2"),
    ];

    fn told(changed: &[(&str, &str)], copies: usize) -> Vec<String> {
        let settings = FIT.iter().chain(changed).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        topic_faults(&settings.collect(), copies).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_topic_that_keeps_what_was_not_read_is_taken() {
        assert_eq!(told(&[], 3), [""; 0]);
        assert_eq!(told(&[("retention.ms", "-1"), ("retention.bytes", "1073741824")], 2), [""; 0]);
    }

    #[test]
    fn one_that_would_lose_changes_is_told_what_it_has_to_be() {
        let wrong = [
            ("cleanup.policy", "compact"),
            ("cleanup.policy", "delete,compact"),
            ("retention.ms", "60000"),
            ("retention.bytes", "1000000"),
            ("max.message.bytes", "1000"),
            ("unclean.leader.election.enable", "true"),
        ];
        for setting in wrong {
            let told = told(&[setting], 2);
            assert!(matches!(&told[..], [one] if one.contains(setting.0)), "{setting:?}: {told:?}");
        }
        assert!(told(&[], 1)[0].contains("min.insync.replicas has to be 1 at most"));
    }

    #[test]
    fn what_is_said_to_be_right_is() {
        let wrong = FIT.map(|(name, _)| (name.to_owned(), if name.starts_with("clean") { "compact" } else { "1" }.to_owned()));
        let mut settings = HashMap::from(wrong);
        for fault in topic_faults(&settings, 1) {
            settings.insert(fault.setting.to_owned(), fault.right);
        }
        assert_eq!(topic_faults(&settings, 1), []);
    }
}
