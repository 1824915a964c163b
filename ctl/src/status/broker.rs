//! The broker in `status`: how far the stream was applied, and what freshness rests on.

use crate::{
    broker::{
        Broker,
        kafka::{ROUTED, Topics},
        nats::Stream,
    },
    paint::{self, Paint},
};

/// What can be said of freshness where no position of the source proves it, and what to change; `None` where one does.
pub fn unproven(broker: &Broker, is_proven: bool) -> Option<(&'static str, &'static str)> {
    let Broker::Kafka(topics) = broker else { return None };
    match topics.topology.told() {
        (says, Some(remedy)) => Some((says, remedy)),
        (_, None) if !is_proven => Some((
            "no marker has come back yet: until one has come to every partition, freshness comes from each entry's own age only",
            ROUTED,
        )),
        (_, None) => None,
    }
}

/// The section of a broker, its head included.
pub fn shown(broker: &Broker, paint: Paint) -> String {
    match broker {
        Broker::Nats(stream) => format!("{}\n{}", paint.head("stream"), paint::columns(&of_stream(stream), "  ")),
        Broker::Kafka(topics) => {
            let (layout, _) = topics.topology.told();
            format!("{}\n  {layout}\n{}", paint.head("topics"), paint::columns(&of_topics(topics), "  "))
        }
    }
}

fn of_stream(stream: &Stream) -> Vec<Vec<String>> {
    let head = ["stream", "messages", "size", "consumer", "acknowledged", "waiting", "oldest"].map(str::to_owned).to_vec();
    let size = paint::bytes(i64::try_from(stream.bytes).unwrap_or(i64::MAX));
    let mut row = vec![stream.name.clone(), format!("{} to {}", stream.first, stream.last), size];
    row.extend(match &stream.consumer {
        Some(consumer) => [
            consumer.name.clone(),
            consumer.acknowledged.to_string(),
            stream.unacknowledged().unwrap_or(0).to_string(),
            consumer.oldest_us.map_or_else(|| "-".to_owned(), paint::micros),
        ],
        None => ["-", "-", "-", "-"].map(str::to_owned),
    });
    vec![head, row]
}

fn of_topics(topics: &Topics) -> Vec<Vec<String>> {
    let mut rows = vec![["topic", "partition", "offsets", "acknowledged", "waiting"].map(str::to_owned).to_vec()];
    for topic in &topics.topics {
        if topic.partitions.is_empty() {
            rows.push(vec![topic.name.clone(), "is not there".to_owned()]);
        }
        rows.extend(topic.partitions.iter().map(|partition| {
            let or_dash = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let offsets = format!("{} to {}", partition.first, partition.end);
            let (acknowledged, waiting) = (or_dash(partition.committed), or_dash(partition.unacknowledged()));
            vec![topic.name.clone(), partition.number.to_string(), offsets, acknowledged, waiting]
        }));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::kafka::Topology;

    fn topics(topology: Topology) -> Broker {
        Broker::Kafka(Topics { topology, brokers: 1, topics: Vec::new() })
    }

    #[test]
    fn freshness_by_age_alone_is_told_with_what_to_change() {
        for is_proven in [true, false] {
            let (says, remedy) = unproven(&topics(Topology::TopicPerTable), is_proven).expect("told");
            assert!(says.contains("own age only") && remedy.contains("RegexRouter"), "{says} {remedy}");
        }
        assert!(unproven(&topics(Topology::Partitions), false).is_some_and(|(says, _)| says.contains("no marker has come back")));
        assert_eq!(unproven(&topics(Topology::Partitions), true), None);
        assert_eq!(unproven(&topics(Topology::OnePartition), true), None);
    }
}
