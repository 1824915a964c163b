//! One Debezium connector: which database it follows, and into which topics.

use crate::database::Login;
use crate::servers::Postgres;

/// The largest delay between a change and its event that Debezium adds by itself, in milliseconds; its default is 500. At 10, an idle
/// connector takes a tenth of a core; at 1 a third.
const POLL_MS: u32 = 10;

/// What all our connectors have in common. The same as in `compose/connector.json`.
const SETTINGS: [(&str, &str); 12] = [
    ("connector.class", "io.debezium.connector.postgresql.PostgresConnector"),
    ("tasks.max", "1"),
    ("plugin.name", "pgoutput"),
    // The migrations have made it.
    ("publication.autocreate.mode", "disabled"),
    // What is in the tables already is of no use to a cache.
    ("snapshot.mode", "no_data"),
    // Else TRUNCATE is left out.
    ("skipped.operations", "none"),
    ("provide.transaction.metadata", "true"),
    ("decimal.handling.mode", "string"),
    ("interval.handling.mode", "string"),
    ("heartbeat.interval.ms", "1000"),
    // Else the slot stays where it is while only tables outside the publication change.
    ("lsn.flush.mode", "connector_and_driver"),
    // After a restart of Postgres; its default is 10 s.
    ("retriable.restart.connector.wait.ms", "1000"),
];

/// What goes into which topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// All of it in one topic, `<name>.all`: rows, transaction metadata, messages and heartbeats. With one partition in order.
    OneTopic {
        /// How many partitions the topic gets when it is made.
        partitions: u16,
    },
    /// Debezium's own: `<name>.<schema>.<table>`, `<name>.transaction`, `<name>.message`, `__debezium-heartbeat.<name>`.
    TopicPerTable,
}

/// A connector.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Its name, and the prefix of its topics.
    pub name: String,
    /// The slot that it makes, unless it is there, and reads.
    pub slot: String,
    /// The publication that it follows. It has to be there.
    pub publication: String,
    /// The host of Postgres.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whom the connector logs in as; it may replicate.
    pub user: String,
    /// The password of that user.
    pub password: String,
    /// The database.
    pub database: String,
    /// What goes into which topic.
    pub topology: Topology,
    /// More settings, as (name, value): they win.
    pub more: Vec<(String, String)>,
}

impl Connector {
    /// Follows the publication `freshline` of a database of our own server, as the invalidator's role, into one topic with one
    /// partition. `name` is that of the slot as well.
    pub fn of(postgres: &Postgres, database: &str, name: &str) -> Self {
        let login = Login::Invalidator;
        Self {
            name: name.to_owned(),
            slot: name.to_owned(),
            publication: "freshline".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: postgres.port(),
            user: login.postgres_name().to_owned(),
            password: postgres.password(login).to_owned(),
            database: database.to_owned(),
            topology: Topology::OneTopic { partitions: 1 },
            more: Vec::new(),
        }
    }

    /// The topic that holds all of it; none where each table has one.
    pub fn topic(&self) -> Option<String> {
        match self.topology {
            Topology::OneTopic { .. } => Some(format!("{}.all", self.name)),
            Topology::TopicPerTable => None,
        }
    }

    /// The lines of its file. A later line wins.
    pub(super) fn settings(&self) -> Vec<(&str, String)> {
        let own = [
            ("name", self.name.clone()),
            ("topic.prefix", self.name.clone()),
            ("slot.name", self.slot.clone()),
            ("publication.name", self.publication.clone()),
            ("database.hostname", self.host.clone()),
            ("database.port", self.port.to_string()),
            ("database.user", self.user.clone()),
            ("database.password", self.password.clone()),
            ("database.dbname", self.database.clone()),
            ("poll.interval.ms", POLL_MS.to_string()),
        ];
        let settings = SETTINGS.map(|(name, value)| (name, value.to_owned()));
        let more = self.more.iter().map(|(name, value)| (name.as_str(), value.clone()));
        settings.into_iter().chain(own).chain(self.routing()).chain(more).collect()
    }

    fn routing(&self) -> Vec<(&str, String)> {
        let (partitions, topic) = match self.topology {
            Topology::OneTopic { partitions } => (partitions, self.topic()),
            Topology::TopicPerTable => (1, None),
        };
        let mut settings = vec![
            ("topic.creation.default.replication.factor", "1".to_owned()),
            ("topic.creation.default.partitions", partitions.to_string()),
        ];
        if let Some(topic) = topic {
            settings.extend([
                ("tombstones.on.delete", "false".to_owned()), // the topic is not compacted
                ("transforms", "one".to_owned()),
                ("transforms.one.type", "org.apache.kafka.connect.transforms.RegexRouter".to_owned()),
                ("transforms.one.regex", ".*".to_owned()),
                ("transforms.one.replacement", topic),
            ]);
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_connector_of_compose_is_the_one_that_is_tested() {
        let file = include_str!("../../../../compose/connector.json");
        let composed: BTreeMap<String, String> = serde_json::from_str(file).expect("settings of text");
        let ours = Connector {
            name: "freshline".into(),
            slot: "freshline_debezium".into(),
            publication: "freshline".into(),
            host: "postgres".into(),
            port: 5432,
            user: "freshline_invalidator".into(),
            password: "${dir:/run/secrets:postgres_invalidator}".into(),
            database: "freshline".into(),
            topology: Topology::OneTopic { partitions: 1 },
            more: Vec::new(),
        };
        let mut ours: BTreeMap<String, String> =
            ours.settings().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        ours.remove("name"); // it is in the path that the file is sent to
        assert_eq!(composed, ours);
    }
}
