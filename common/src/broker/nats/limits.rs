//! Which stream changes can be kept in: one that loses none of them without a gap that shows at its beginning.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use super::NatsSettings;

/// The shortest age that messages may be kept to.
const MAX_AGE_MIN: Duration = Duration::from_secs(600);

impl NatsSettings {
    /// What is wrong with a stream of this configuration, each with what it has to be.
    pub fn faults(&self, config: &Config) -> Vec<String> {
        let subjects = self.subject(">");
        let checks = [
            (config.storage != StorageType::File, "its storage has to be file: memory is lost with the server".to_owned()),
            (
                config.retention != RetentionPolicy::Limits,
                "its retention has to be limits: under others a message goes when some consumer has seen it".to_owned(),
            ),
            (
                config.max_messages_per_subject > 0,
                "it must not limit the messages of a subject: older changes of a busy table would go unnoticed".to_owned(),
            ),
            (config.discard != DiscardPolicy::Old, "its discard has to be old: new refuses changes when it is full".to_owned()),
            (!config.subjects.contains(&subjects), format!("its subjects have to contain {subjects}")),
            (config.no_ack, "it has to acknowledge what it stores".to_owned()),
            (config.sealed, "it must not be sealed".to_owned()),
            (config.mirror.is_some() || config.sources.is_some(), "it must not be fed by another stream".to_owned()),
            (
                config.max_age > Duration::ZERO && config.max_age < MAX_AGE_MIN,
                "its max age has to be 10 minutes at least: what the invalidator has not read by then is lost".to_owned(),
            ),
        ];
        checks.into_iter().filter_map(|(is_wrong, fault)| is_wrong.then_some(fault)).collect()
    }
}
