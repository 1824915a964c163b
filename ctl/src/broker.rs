//! The broker that changes come through, as far as it can be asked: facts, which `doctor` judges and `status` shows.

pub mod connect;
pub mod kafka;
pub mod nats;

use std::error::Error;

use freshline::{
    broker::{
        SourceConfig,
        kafka::KafkaRefusal,
        nats::{NatsRefusal, NatsSettings},
    },
    fault::{Classified, Kind},
};
use serde::Serialize;
use tokio::time::timeout;

use self::{kafka::Topics, nats::Stream};
use crate::{config::Config, servers::ANSWER_WITHIN};

/// The broker, as `status` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Broker {
    Nats(Box<Stream>),
    Kafka(Topics),
}

/// Why a broker told nothing.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    #[error(transparent)]
    Nats(#[from] NatsRefusal),
    #[error(transparent)]
    Kafka(#[from] KafkaRefusal),
    #[error("{broker} did not answer while {doing}")]
    Asking { broker: &'static str, doing: &'static str, source: Box<dyn Error + Send + Sync> },
    /// Its address is a secret: it may hold a password.
    #[error("Kafka Connect cannot be asked: {said}")]
    Connect { said: String },
}

impl Untold {
    fn asking<E: Into<Box<dyn Error + Send + Sync>>>(broker: &'static str, doing: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::Asking { broker, doing, source: source.into() }
    }
}

impl Classified for Untold {
    fn kind(&self) -> Kind {
        match self {
            Self::Nats(refusal) => refusal.kind(),
            Self::Kafka(refusal) => refusal.kind(),
            Self::Asking { .. } | Self::Connect { .. } => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Nats(refusal) => refusal.remedy(),
            Self::Kafka(refusal) => refusal.remedy(),
            Self::Asking { .. } => Some("see that the broker runs, and that this user may look".into()),
            Self::Connect { .. } => {
                Some("start Connect, or name the right one in FRESHLINE_KAFKA_CONNECT_URL, as http://host:8083".into())
            }
        }
    }
}

/// Looks at the broker that is configured; `None` where changes come from Postgres itself.
///
/// # Errors
/// [`Untold`].
pub async fn look(config: &Config) -> Result<Option<Broker>, Untold> {
    Ok(match &config.source {
        SourceConfig::Postgres => None,
        SourceConfig::Nats { settings, consumer } => {
            nats::look(settings, consumer).await?.stream.map(|stream| Broker::Nats(Box::new(stream)))
        }
        SourceConfig::Kafka(kafka) => Some(Broker::Kafka(kafka::look(kafka).await?)),
    })
}

/// A connection to NATS that is given up when it cannot be had soon.
async fn connected(settings: &NatsSettings) -> Result<async_nats::Client, Untold> {
    let connected = timeout(ANSWER_WITHIN, settings.connect("freshline")).await;
    Ok(connected.map_err(Untold::asking("NATS", "letting us in"))??.client)
}
