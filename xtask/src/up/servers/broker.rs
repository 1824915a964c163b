//! The servers of the source that an `up` was asked for: none, NATS, or Kafka with Debezium on Connect.

use anyhow::{Context, Result};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use stage::servers::{
    Connect, ConnectOptions, Connector, Daemon, Kafka, KafkaOptions, NATS_USER, Nats, NatsLogin, NatsOptions, Topology,
};

use crate::checkout::Place;
use crate::state::{Source, Urls};
use crate::up::console::say;

/// Whose servers have homes, and the names of those.
pub const HOMES: [(Source, &str); 3] = [(Source::Nats, "nats"), (Source::Kafka, "kafka"), (Source::Kafka, "connect")];

/// The name of our stream in NATS.
const STREAM: &str = "FRESHLINE";

/// The name of our connector, and the prefix of its topics.
const CONNECTOR: &str = "freshline";

/// What stands between Postgres and the invalidator.
pub enum Broker {
    /// Nothing: it reads from Postgres itself.
    None,
    /// NATS, fed by our relay.
    Nats(Box<Nats>),
    /// Kafka, fed by Debezium into one topic.
    Kafka {
        /// First: it is stopped before Kafka when they are dropped.
        connect: Box<Connect>,
        /// The broker.
        kafka: Box<Kafka>,
        /// The topic.
        topic: String,
    },
}

impl Broker {
    /// Starts the servers of `source`; the database is migrated by now.
    pub async fn start(place: &Place, source: Source, postgres: &Urls) -> Result<Self> {
        match source {
            Source::Postgres => Ok(Self::None),
            Source::Nats => {
                let options = NatsOptions { login: NatsLogin::Password, ..NatsOptions::default() };
                let nats = Nats::start(place.server_home("nats")?, options).await?;
                say("nats", &format!("NATS with JetStream on port {}", nats.port()));
                Ok(Self::Nats(Box::new(nats)))
            }
            Source::Kafka => start_kafka(place, postgres).await,
        }
    }

    /// The source that this is the broker of.
    pub fn source(&self) -> Source {
        match self {
            Self::None => Source::Postgres,
            Self::Nats(_) => Source::Nats,
            Self::Kafka { .. } => Source::Kafka,
        }
    }

    /// How it is reached, secret included; none where there is none.
    pub fn address(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Nats(nats) => Some(nats.url()),
            Self::Kafka { kafka, .. } => Some(kafka.brokers()),
        }
    }

    /// What the invalidator and the relay are told.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("FRESHLINE_SOURCE", self.source().name().to_owned())];
        match self {
            Self::None => {}
            Self::Nats(nats) => variables.extend([
                ("FRESHLINE_NATS_URL", nats.server()),
                ("FRESHLINE_NATS_USER", NATS_USER.to_owned()),
                ("FRESHLINE_NATS_PASSWORD", nats.secret().to_owned()),
                ("FRESHLINE_NATS_STREAM", STREAM.to_owned()),
                ("FRESHLINE_RELAY_SLOT", Source::Nats.slot().to_owned()),
            ]),
            Self::Kafka { kafka, topic, .. } => {
                variables.extend([("FRESHLINE_KAFKA_BROKERS", kafka.brokers()), ("FRESHLINE_KAFKA_TOPICS", topic.clone())]);
            }
        }
        variables
    }

    /// Its servers, in the order in which they start.
    pub fn servers(&self) -> Vec<(&'static str, &Daemon)> {
        match self {
            Self::None => Vec::new(),
            Self::Nats(nats) => vec![("nats", nats)],
            Self::Kafka { connect, kafka, .. } => vec![("kafka", kafka), ("connect", connect)],
        }
    }
}

async fn start_kafka(place: &Place, postgres: &Urls) -> Result<Broker> {
    say("kafka", "starting; the first time, some 80 MB are fetched");
    let kafka = Kafka::start(place.server_home("kafka")?, KafkaOptions::default()).await?;
    say("kafka", &format!("Kafka on port {}", kafka.port()));
    let connector = connector(&postgres.invalidator)?;
    let topic = connector.topic().context("the connector has one topic")?;
    let home = place.server_home("connect")?;
    let connect = Connect::start(home, &kafka.brokers(), vec![connector], ConnectOptions::default()).await?;
    say("connect", &format!("Debezium streams into topic {topic}"));
    Ok(Broker::Kafka { connect: Box::new(connect), kafka: Box::new(kafka), topic })
}

/// The connector that follows the database of this URL.
fn connector(url: &str) -> Result<Connector> {
    let parsed = Url::parse(url).context("the URL of the invalidator's role")?;
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Ok(Connector {
        name: CONNECTOR.to_owned(),
        slot: Source::Kafka.slot().to_owned(),
        publication: "freshline".to_owned(),
        host: parsed.host_str().context("a URL of Postgres that names no host")?.to_owned(),
        port: parsed.port().unwrap_or(5432),
        user: plain(parsed.username()),
        password: plain(parsed.password().unwrap_or_default()),
        database: plain(parsed.path().trim_start_matches('/')),
        topology: Topology::OneTopic { partitions: 1 },
        more: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_is_told_what_the_url_says_without_its_escapes() {
        let connector = connector("postgres://freshline_invalidator:p%40ss@db.example/shop%20one").expect("a URL");
        let told = [connector.host.as_str(), &connector.user, &connector.password, &connector.database];
        assert_eq!((told, connector.port), (["db.example", "freshline_invalidator", "p@ss", "shop one"], 5432));
    }
}
