//! NATS: the server, the relay's stream and its limits against the lag, and the consumer.

use std::time::Duration;

use async_nats::jetstream::consumer::AckPolicy;
use freshline::broker::nats::NatsSettings;

use super::Finding;
use crate::{
    broker::nats::{self, Consumer, Server, Stream},
    paint,
    servers::Trouble,
};

/// An acknowledgement that takes longer than this makes the server send again what was only waiting.
const ACK_WAIT_MIN: Duration = Duration::from_secs(60);

/// What is sent again after an answer was lost comes within this.
const DUPLICATE_WINDOW_MIN: Duration = Duration::from_secs(30);

/// Looks at NATS.
///
/// # Errors
/// Where it cannot be asked.
pub async fn look(settings: &NatsSettings, consumer: &str) -> Result<Vec<Finding>, Trouble> {
    let server = nats::look(settings, consumer).await?;
    let mut findings = vec![version(&server)];
    if !server.has_jetstream {
        let remedy = "write jetstream { store_dir: … } into the server's configuration, and enable it for this user's account";
        findings.push(Finding::problem("jetstream", "JetStream is not enabled for this user", remedy));
        return Ok(findings);
    }
    let Some(stream) = &server.stream else {
        let says = format!("there is no stream {}", settings.stream);
        let remedy = "start freshline-relay, which makes it; or mend FRESHLINE_NATS_STREAM, which has to be the same for both";
        findings.push(Finding::problem("stream", says, remedy));
        return Ok(findings);
    };
    findings.extend(limits(settings, stream));
    match &stream.consumer {
        Some(consumer) => findings.extend(place(stream, consumer)),
        None => {
            let says = format!("there is no consumer {consumer} yet: the invalidator makes it when it first starts");
            findings.push(Finding::note("consumer", says, "start the invalidator; or mend FRESHLINE_NATS_CONSUMER"));
        }
    }
    Ok(findings)
}

fn version(server: &Server) -> Finding {
    let says = format!("nats-server {}", server.version);
    if server.is_new_enough {
        return Finding::ok("server", says);
    }
    Finding::problem("server", format!("{says} is older than 2.10"), "install nats-server 2.10 or newer")
}

fn limits(settings: &NatsSettings, stream: &Stream) -> Vec<Finding> {
    let (name, config) = (&stream.name, &stream.config);
    let mend = format!("nats stream edit {name}; or name another in FRESHLINE_NATS_STREAM, which the relay makes");
    let problem = |fault: String| Finding::problem("stream", format!("the stream {name} is not fit for changes: {fault}"), &mend);
    let mut findings: Vec<Finding> = settings.faults(config).into_iter().map(problem).collect();
    if findings.is_empty() {
        let size = paint::bytes(i64::try_from(stream.bytes).unwrap_or(i64::MAX));
        let says = format!("{name} has messages {} to {}, {size} in files, the oldest discarded first", stream.first, stream.last);
        findings.push(Finding::ok("stream", says));
    }
    if config.max_age.is_zero() && config.max_bytes <= 0 && config.max_messages <= 0 {
        let says = format!("nothing bounds the stream {name}: it fills its disk");
        findings.push(Finding::note("bounds", says, format!("nats stream edit {name} --max-age=24h")));
    }
    if config.duplicate_window < DUPLICATE_WINDOW_MIN {
        let says = format!("{name} recognizes a message that is sent again for {} s only", config.duplicate_window.as_secs());
        findings.push(Finding::note("duplicates", says, format!("nats stream edit {name} --dupe-window=2m")));
    }
    if stream.deleted > 0 {
        let says =
            format!("{} messages were deleted out of {name}: each is a hole, after which the cache is opened anew", stream.deleted);
        findings.push(Finding::note("holes", says, format!("let nobody delete there: nats stream edit {name} --deny-delete")));
    }
    findings
}

fn place(stream: &Stream, consumer: &Consumer) -> Vec<Finding> {
    let mut findings: Vec<Finding> = faults(consumer).into_iter().collect();
    findings.push(lag(stream, consumer));
    findings
}

/// What somebody has changed in the consumer, which the invalidator makes anew at each connection.
fn faults(consumer: &Consumer) -> Option<Finding> {
    let config = &consumer.config;
    let checks = [
        (config.ack_policy != AckPolicy::All, "its acknowledgements have to stand for all before them (ack policy all)"),
        (config.max_deliver > 0, "it must deliver without a limit: what is delivered too often is dropped"),
        (config.max_ack_pending > 0, "what waits for an acknowledgement must have no limit: the stream would stall"),
        (config.ack_wait < ACK_WAIT_MIN, "it has to wait a minute at least for an acknowledgement"),
    ];
    let told: Vec<&str> = checks.into_iter().filter_map(|(is_wrong, fault)| is_wrong.then_some(fault)).collect();
    let says = format!("the consumer {} is not as the invalidator makes it: {}", consumer.name, told.join("; "));
    let remedy = "restart the invalidator, which makes it anew; or name one that is its own in FRESHLINE_NATS_CONSUMER";
    (!told.is_empty()).then(|| Finding::problem("consumer", says, remedy))
}

/// What waits, against what the stream keeps.
fn lag(stream: &Stream, consumer: &Consumer) -> Finding {
    let (name, acknowledged) = (&consumer.name, consumer.acknowledged);
    let anew = "nothing: the cache is opened anew when the invalidator comes to it. Keep messages for longer than it may be away";
    if acknowledged > stream.last {
        let says = format!("{name} acknowledged message {acknowledged}, and the stream ends at {}: it is an old copy", stream.last);
        return Finding::problem("lag", says, anew);
    }
    if acknowledged + 1 < stream.first {
        let says = format!("what {name} has not acknowledged is gone: the stream begins at message {}", stream.first);
        return Finding::problem("lag", says, anew);
    }
    if !consumer.is_there && acknowledged <= stream.last {
        let says = format!("message {acknowledged}, the last that {name} acknowledged, is gone, and perhaps others after it");
        return Finding::note("lag", says, anew);
    }
    let waits = stream.last - acknowledged;
    let age = consumer.oldest_us.filter(|_| waits > 0).unwrap_or(0);
    let says = format!("{waits} messages are not acknowledged by {name}, the oldest for {}", paint::micros(age));
    match used(stream, waits, age) {
        percent if percent < 50 => Finding::ok("lag", says),
        percent => {
            let says =
                format!("{says}: {percent} % of what the stream keeps, beyond which changes are lost and the cache is opened anew");
            let remedy = format!("see why the invalidator does not keep up; or nats stream edit {} --max-age=…", stream.name);
            Finding::problem("lag", says, remedy)
        }
    }
}

/// How much of the stream's narrowest limit is taken by what waits, in percent.
fn used(stream: &Stream, waits: u64, age_us: u64) -> u64 {
    let percent = |part: u64, limit: u64| part.saturating_mul(100).checked_div(limit).unwrap_or(0);
    let positive = |limit: i64| u64::try_from(limit).unwrap_or(0);
    let (config, mean) = (&stream.config, stream.bytes.checked_div(stream.messages).unwrap_or(0));
    let by_age = percent(age_us, u64::try_from(config.max_age.as_micros()).unwrap_or(u64::MAX));
    let by_count = percent(waits, positive(config.max_messages));
    let by_size = percent(waits.saturating_mul(mean), positive(config.max_bytes));
    by_age.max(by_count).max(by_size)
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::{consumer, stream};

    use super::*;
    use crate::doctor::Level;

    fn stream(config: stream::Config) -> Stream {
        Stream { name: "S".into(), first: 101, last: 200, messages: 100, bytes: 10_000, consumer: None, config, deleted: 0 }
    }

    fn at(acknowledged: u64, oldest: Duration) -> Consumer {
        let oldest_us = u64::try_from(oldest.as_micros()).ok();
        Consumer { name: "c".into(), acknowledged, is_there: true, oldest_us, config: consumer::Config::default() }
    }

    #[rstest::rstest]
    #[case::all_read(at(200, Duration::ZERO), Level::Ok, "0 messages")]
    #[case::young(at(150, Duration::from_secs(1)), Level::Ok, "50 messages")]
    #[case::growing_old(at(150, Duration::from_secs(50_000)), Level::Problem, "57 % of what the stream keeps")]
    #[case::just_in_time(at(100, Duration::ZERO), Level::Ok, "100 messages")]
    #[case::gone(at(99, Duration::ZERO), Level::Problem, "is gone")]
    #[case::purged(Consumer { is_there: false, ..at(200, Duration::ZERO) }, Level::Note, "perhaps others after it")]
    #[case::an_old_copy(at(201, Duration::ZERO), Level::Problem, "old copy")]
    fn what_waits_is_held_against_what_is_kept(#[case] consumer: Consumer, #[case] level: Level, #[case] said: &str) {
        let day = stream::Config { max_age: Duration::from_secs(86_400), ..stream::Config::default() };
        let found = lag(&stream(day), &consumer);
        assert!(found.level == level && found.says.contains(said), "{found:?}");
    }

    #[test]
    fn the_narrowest_limit_counts() {
        let config = stream::Config { max_messages: 1_000, max_bytes: 6_000, ..stream::Config::default() };
        assert_eq!(used(&stream(config), 50, 0), 83);
        assert_eq!(used(&stream(stream::Config { max_messages: 100, ..stream::Config::default() }), 60, 0), 60);
        assert_eq!(used(&stream(stream::Config::default()), 60, 1_000_000), 0, "nothing is limited");
    }
}
