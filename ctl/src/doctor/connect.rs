//! Debezium: whether its connector tells all that is needed, as it is set up in Connect.

use freshline::{broker::KafkaConfig, envelope::Numerics};
use secrecy::SecretString;

use super::Finding;
use crate::{
    broker::connect::{self, Connector},
    servers::Trouble,
};

/// How much it matters that a setting is another.
#[derive(Debug, Clone, Copy)]
enum Weight {
    Needed,
    Better,
}

/// A setting, what it has to be, what stands for it where it is not set, and what is lost under another.
struct Wanted {
    name: &'static str,
    value: &'static str,
    default: &'static str,
    weight: Weight,
    why: &'static str,
}

const fn wanted(name: &'static str, value: &'static str, default: &'static str, weight: Weight, why: &'static str) -> Wanted {
    Wanted { name, value, default, weight, why }
}

const WANTED: [Wanted; 8] = [
    wanted("skipped.operations", "none", "t", Weight::Needed, "what TRUNCATE removes stays cached"),
    wanted("errors.tolerance", "none", "none", Weight::Needed, "a change that cannot be converted is left out"),
    wanted("plugin.name", "pgoutput", "decoderbufs", Weight::Needed, "markers and DDL are not told"),
    wanted(
        "unavailable.value.placeholder",
        "__debezium_unavailable_value",
        "__debezium_unavailable_value",
        Weight::Needed,
        "a long value that was not changed is taken for another",
    ),
    wanted(
        "provide.transaction.metadata",
        "true",
        "false",
        Weight::Better,
        "the ends of transactions are unknown: entries are removed where they could be replaced",
    ),
    wanted("snapshot.mode", "no_data", "initial", Weight::Better, "each table is read whole, and what is read so is a hole"),
    wanted("tombstones.on.delete", "false", "true", Weight::Better, "each deletion has a second message, which nobody needs"),
    wanted(
        "lsn.flush.mode",
        "connector_and_driver",
        "connector",
        Weight::Better,
        "the slot keeps the log while only tables outside the publication change",
    ),
];

/// Looks at the connectors that write these topics.
///
/// # Errors
/// Where Connect cannot be asked.
pub async fn look(url: &SecretString, config: &KafkaConfig) -> Result<Vec<Finding>, Trouble> {
    let mut connectors = connect::look(url).await?;
    connectors.retain(|_, connector| writes(connector, &config.topics));
    if connectors.is_empty() {
        let says = format!("no Debezium connector of Postgres writes to {}", config.topics.join(", "));
        let remedy = "register one, as compose/connector.json shows; or mend FRESHLINE_KAFKA_TOPICS";
        return Ok(vec![Finding::problem("connector", says, remedy)]);
    }
    Ok(connectors.iter().flat_map(|(name, connector)| one(name, connector, config)).collect())
}

/// Whether some of the topics are its: by its prefix, or by what it routes them to.
fn writes(connector: &Connector, topics: &[String]) -> bool {
    let prefix = connector.setting("topic.prefix").map(|prefix| format!("{prefix}."));
    topics.iter().any(|topic| connector.names(topic) || prefix.as_deref().is_some_and(|prefix| topic.starts_with(prefix)))
}

fn one(name: &str, connector: &Connector, config: &KafkaConfig) -> Vec<Finding> {
    let mut findings: Vec<Finding> = state(name, connector).into_iter().collect();
    findings.extend(WANTED.iter().filter_map(|wanted| judged(name, connector, wanted)));
    findings
        .extend([heartbeat(name, connector), decimals(name, connector, config), unwrapped(name, connector)].into_iter().flatten());
    if findings.is_empty() {
        findings.push(Finding::ok("connector", format!("{name} runs, and tells all that is needed")));
    }
    findings
}

fn state(name: &str, connector: &Connector) -> Option<Finding> {
    let state = connector.states().find(|state| state.state != "RUNNING")?;
    let says = format!("{name} is {}: {}", state.state, state.reason());
    Some(Finding::problem(
        "connector",
        says,
        format!("POST /connectors/{name}/restart?includeTasks=true, once its reason is mended"),
    ))
}

fn judged(name: &str, connector: &Connector, wanted: &Wanted) -> Option<Finding> {
    let set = connector.setting(wanted.name).unwrap_or(wanted.default);
    if set == wanted.value {
        return None;
    }
    let (says, remedy) = (format!("{name} has {}={set}: {}", wanted.name, wanted.why), format!("{}={}", wanted.name, wanted.value));
    Some(match wanted.weight {
        Weight::Needed => Finding::problem("connector", says, remedy),
        Weight::Better => Finding::note("connector", says, remedy),
    })
}

/// Off, an idle table pins the log.
fn heartbeat(name: &str, connector: &Connector) -> Option<Finding> {
    let is_on = connector.setting("heartbeat.interval.ms").is_some_and(|interval| interval != "0");
    let says = format!("{name} has no heartbeat: while its tables are idle its slot keeps the log");
    (!is_on).then(|| Finding::problem("connector", says, "heartbeat.interval.ms=1000"))
}

fn decimals(name: &str, connector: &Connector, config: &KafkaConfig) -> Option<Finding> {
    let ours = if config.numerics == Numerics::Text { "string" } else { "precise" };
    let set = connector.setting("decimal.handling.mode").unwrap_or("precise");
    let says =
        format!("{name} has decimal.handling.mode={set}, and FRESHLINE_KAFKA_DECIMALS is {ours}: numbers are misread or unknown");
    (set != ours).then(|| Finding::problem("connector", says, "decimal.handling.mode=string, and FRESHLINE_KAFKA_DECIMALS=string"))
}

/// A transform that leaves nothing but the row.
fn unwrapped(name: &str, connector: &Connector) -> Option<Finding> {
    let transform = connector.transforms(".type").find(|transform| transform.ends_with("ExtractNewRecordState"))?;
    let says = format!("{name} unwraps its events ({transform}): the row before, the transaction and the operation are gone");
    Some(Finding::problem("connector", says, "take ExtractNewRecordState out of its transforms"))
}

#[cfg(test)]
mod tests {
    use freshline::{broker::SourceConfig, config::Reader};
    use serde_json::json;

    use super::*;
    use crate::doctor::Level;

    fn kafka() -> KafkaConfig {
        let vars = [("SOURCE", "kafka"), ("KAFKA_BROKERS", "k:9092")];
        let vars = vars.map(|(name, value)| (format!("FRESHLINE_{name}"), value.to_owned()));
        let vars = std::collections::BTreeMap::from(vars);
        let mut reader = Reader::new(&vars);
        match SourceConfig::read(&mut reader) {
            Some(SourceConfig::Kafka(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    /// The connector of compose, with these settings changed; a null takes one out.
    fn connector(changed: serde_json::Value, state: &str) -> Connector {
        let file = include_str!("../../../compose/connector.json");
        let mut config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(file).expect("settings");
        for (name, value) in changed.as_object().expect("settings") {
            config.insert(name.clone(), value.clone());
        }
        config.retain(|_, value| !value.is_null());
        let status = json!({ "connector": { "state": "RUNNING" }, "tasks": [{ "state": state, "trace": "Why\n\tat" }] });
        serde_json::from_value(json!({ "info": { "config": config }, "status": status })).expect("a connector")
    }

    #[test]
    fn the_connector_of_compose_has_nothing_to_mend() {
        let connector = connector(json!({}), "RUNNING");
        assert!(writes(&connector, &kafka().topics));
        let found = one("c", &connector, &kafka());
        assert!(found.iter().all(|found| found.level == Level::Ok), "{found:?}");
    }

    #[rstest::rstest]
    #[case::truncate(json!({ "skipped.operations": null }), Level::Problem, "TRUNCATE")]
    #[case::tolerant(json!({ "errors.tolerance": "all" }), Level::Problem, "left out")]
    #[case::placeholder(json!({ "unavailable.value.placeholder": "?" }), Level::Problem, "not changed")]
    #[case::no_heartbeat(json!({ "heartbeat.interval.ms": "0" }), Level::Problem, "keeps the log")]
    #[case::decimals(json!({ "decimal.handling.mode": null }), Level::Problem, "FRESHLINE_KAFKA_DECIMALS is string")]
    #[case::unwrapped(json!({ "transforms.u.type": "io.debezium.transforms.ExtractNewRecordState" }), Level::Problem, "unwraps")]
    #[case::no_metadata(json!({ "provide.transaction.metadata": null }), Level::Note, "ends of transactions")]
    #[case::tombstones(json!({ "tombstones.on.delete": null }), Level::Note, "second message")]
    fn what_a_setting_loses_is_told(#[case] changed: serde_json::Value, #[case] level: Level, #[case] said: &str) {
        let found = one("c", &connector(changed, "RUNNING"), &kafka());
        assert!(matches!(found.as_slice(), [one] if one.level == level && one.says.contains(said)), "{found:?}");
    }

    #[test]
    fn one_that_failed_is_told_with_its_reason() {
        let found = one("c", &connector(json!({}), "FAILED"), &kafka());
        assert!(found[0].says.ends_with("c is FAILED: Why"), "{found:?}");
    }
}
