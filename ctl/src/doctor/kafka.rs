//! Kafka: the topics, their layout, and what they keep against what was applied.

use freshline::broker::{
    KafkaConfig,
    kafka::{TopicFault, topic_faults},
};

use super::Finding;
use crate::{
    broker::kafka::{self, Partition, Topic, Topics},
    paint,
    servers::Trouble,
};

/// The largest row that is to be expected: longer ones stop the connector.
const MESSAGE_MAX_BYTES: i64 = 10 << 20;

/// Looks at Kafka.
///
/// # Errors
/// Where it cannot be asked.
pub async fn look(config: &KafkaConfig) -> Result<Vec<Finding>, Trouble> {
    let topics = kafka::look(config).await?;
    let mut findings = vec![Finding::ok("server", format!("{} broker(s) in the cluster", topics.brokers)), topology(&topics)];
    for topic in &topics.topics {
        if topic.partitions.is_empty() {
            let remedy = "start the connector, which makes it; or mend FRESHLINE_KAFKA_TOPICS";
            findings.push(Finding::problem("topic", format!("there is no topic {}", topic.name), remedy));
            continue;
        }
        findings.extend(settings(topic));
        findings.extend(lag(topic));
    }
    Ok(findings)
}

fn topology(topics: &Topics) -> Finding {
    match topics.topology.told() {
        (says, None) => Finding::ok("topology", says),
        (says, Some(remedy)) => Finding::note("topology", says, remedy),
    }
}

fn settings(topic: &Topic) -> Vec<Finding> {
    let name = &topic.name;
    let Some(settings) = &topic.settings else {
        let remedy = "grant this user describe-configs on it, and look again";
        return vec![Finding::note("topic", format!("the settings of {name} may not be seen"), remedy)];
    };
    let change = |to: &str| format!("kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {to}");
    let faults = topic_faults(settings, topic.copies).into_iter();
    let problem = |fault: TopicFault| {
        Finding::problem("topic", format!("{name}: {fault}"), change(&format!("{}={}", fault.setting, fault.right)))
    };
    let mut findings: Vec<Finding> = faults.map(problem).collect();
    if let Some(longest) = topic.number("max.message.bytes").filter(|longest| *longest < MESSAGE_MAX_BYTES) {
        let says = format!("{name} takes messages up to {}: a longer row stops the connector", paint::bytes(longest));
        findings.push(Finding::note(
            "topic",
            says,
            change("max.message.bytes=16777216") + ", and producer.max.request.size of Connect",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("topic", format!("{name}: {} partition(s), not compacted", topic.partitions.len())));
    }
    findings
}

/// What waits in a topic, against what it keeps.
fn lag(topic: &Topic) -> Vec<Finding> {
    let name = &topic.name;
    if topic.partitions.iter().all(|partition| partition.committed.is_none()) {
        let says = format!("nothing of {name} is acknowledged yet: the cache is opened anew when the invalidator starts");
        return vec![Finding::note("lag", says, "start the invalidator; or mend FRESHLINE_KAFKA_GROUP")];
    }
    let mut findings: Vec<Finding> = topic.partitions.iter().filter_map(|partition| wrong(topic, partition)).collect();
    if findings.is_empty() {
        let waits: i64 = topic.partitions.iter().filter_map(Partition::unacknowledged).sum();
        findings.push(Finding::ok("lag", format!("{waits} messages of {name} are not acknowledged")));
    }
    findings
}

fn wrong(topic: &Topic, partition: &Partition) -> Option<Finding> {
    let Partition { number, first, end, committed, .. } = *partition;
    let place = format!("partition {number} of {}", topic.name);
    let anew = "nothing: the cache is opened anew when the invalidator comes to it";
    let Some(committed) = committed else {
        let says = format!("{place} is new: changes may have come to it that nobody read");
        return Some(Finding::problem("lag", says, format!("{anew}. Add no partitions while it runs")));
    };
    if !(first..=end).contains(&committed) {
        let says = format!("{place} has offsets {first} to {end}, and {committed} was acknowledged: changes are lost");
        return Some(Finding::problem("lag", says, format!("{anew}. Keep messages for longer than it may be away")));
    }
    let waits = end - committed;
    let by_size = topic.number("retention.bytes").is_some_and(|bytes| bytes > 0) && waits > 0 && waits >= (end - first) / 2;
    if !partition.is_growing_old && !by_size {
        return None;
    }
    let says = format!("{waits} messages wait in {place}, more than half of what it keeps: beyond, changes are lost");
    let remedy = "see why the invalidator does not keep up; or raise retention.ms and retention.bytes of the topic";
    Some(Finding::problem("lag", says, remedy))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::doctor::Level;

    fn partition(number: i32, committed: Option<i64>) -> Partition {
        Partition { number, first: 10, end: 100, committed, is_growing_old: false }
    }

    fn topic(partitions: Vec<Partition>, settings: &[(&str, &str)]) -> Topic {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Topic { name: "t".into(), partitions, copies: 1, settings: Some(settings.collect::<HashMap<_, _>>()) }
    }

    #[rstest::rstest]
    #[case::read(partition(1, Some(90)), Level::Ok, "10 messages")]
    #[case::nothing_left(partition(1, Some(100)), Level::Ok, "0 messages")]
    #[case::out_of_retention(partition(1, Some(9)), Level::Problem, "9 was acknowledged")]
    #[case::made_anew(partition(1, Some(101)), Level::Problem, "101 was acknowledged")]
    #[case::a_new_one(partition(1, None), Level::Problem, "partition 1 of t is new")]
    #[case::growing_old(Partition { is_growing_old: true, ..partition(1, Some(90)) }, Level::Problem, "more than half")]
    fn what_waits_is_held_against_what_is_kept(#[case] second: Partition, #[case] level: Level, #[case] said: &str) {
        let found = lag(&topic(vec![partition(0, Some(100)), second], &[]));
        assert!(found.iter().any(|found| found.level == level && found.says.contains(said)), "{found:?}");
    }

    #[test]
    fn half_of_what_a_size_keeps_is_told() {
        let found = lag(&topic(vec![partition(0, Some(50))], &[("retention.bytes", "1000000")]));
        assert!(found[0].level == Level::Problem, "{found:?}");
        let found = lag(&topic(vec![partition(0, Some(100))], &[("retention.bytes", "1000000")]));
        assert!(found[0].level == Level::Ok, "{found:?}");
    }

    #[rstest::rstest]
    #[case(("cleanup.policy", "compact,delete"), Level::Problem, "cleanup.policy has to be delete")]
    #[case(("retention.ms", "1000"), Level::Problem, "600000 at least")]
    #[case(("max.message.bytes", "1048588"), Level::Note, "up to 1.0 MB")]
    #[case(("retention.ms", "-1"), Level::Ok, "not compacted")]
    fn a_topic_that_would_lose_changes_is_told(#[case] setting: (&str, &str), #[case] level: Level, #[case] said: &str) {
        let found = settings(&topic(vec![partition(0, None)], &[setting]));
        assert!(found.iter().any(|found| found.level == level && found.says.contains(said)), "{found:?}");
    }
}
