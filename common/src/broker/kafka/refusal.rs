//! Whether a Kafka lets us in, and why not.
//!
//! librdkafka looks for its brokers for ever and answers a question with nothing but "timed out". What it met meanwhile it tells on the
//! side: so a first client is watched until it is in, and a wrong password or certificate is an error within a second.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};
use tracing::debug;

use super::{KafkaAddress, Tls};
use crate::fault::{Classified, Kind};

/// How long the brokers may take to let us in.
const LET_IN_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked what the client has met.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long the next thing that the client has met may take to be here.
const TAKEN_WITHIN: Duration = Duration::from_millis(5);

/// Why no broker lets us in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaRefusal {
    /// The client cannot be made of the settings: a file that is not there, or holds something else.
    #[error("the Kafka client does not take its settings: {said}")]
    Settings {
        /// What it said.
        said: String,
    },
    /// User, password or mechanism are not those of the broker.
    #[error("Kafka does not let this user in: {said}")]
    Login {
        /// What it said.
        said: String,
    },
    /// One side does not trust the other's certificate.
    #[error("there is no trust between this client and Kafka: {said}")]
    Tls {
        /// What it said.
        said: String,
    },
    /// No broker answered.
    #[error("no broker at {brokers} has answered for {} s: {said}", LET_IN_WITHIN.as_secs())]
    Silent {
        /// Where they were looked for.
        brokers: String,
        /// What the client met last.
        said: String,
    },
}

impl Classified for KafkaRefusal {
    fn kind(&self) -> Kind {
        match self {
            Self::Settings { .. } | Self::Login { .. } | Self::Tls { .. } => Kind::Permanent,
            Self::Silent { .. } => Kind::Transient,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Settings { .. } => {
                "check the files in FRESHLINE_KAFKA_CA_FILE, FRESHLINE_KAFKA_CERTIFICATE_FILE and FRESHLINE_KAFKA_KEY_FILE".to_owned()
            }
            Self::Login { .. } => "check FRESHLINE_KAFKA_USER, FRESHLINE_KAFKA_PASSWORD and FRESHLINE_KAFKA_SASL".to_owned(),
            Self::Tls { .. } => "name the authority that signed the brokers' certificates in FRESHLINE_KAFKA_CA_FILE, and the brokers in \
                                 FRESHLINE_KAFKA_BROKERS as their certificates do; if they ask for ours, set \
                                 FRESHLINE_KAFKA_CERTIFICATE_FILE; what has expired has to be renewed"
                .to_owned(),
            Self::Silent { .. } => {
                "start Kafka, or name its brokers in FRESHLINE_KAFKA_BROKERS; FRESHLINE_KAFKA_TLS and FRESHLINE_KAFKA_SASL have to be \
                 those of their listener"
                    .to_owned()
            }
        })
    }
}

impl KafkaRefusal {
    /// What an error of the client means, if it does not pass by itself. `said` is its text.
    pub fn of(error: &KafkaError, said: &str) -> Option<Self> {
        let said = said.to_owned();
        match error.rdkafka_error_code()? {
            Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
                Some(Self::Login { said })
            }
            // A broker that ends during the handshake has the same code, and one that refuses ours tells it when the handshake is over.
            Code::SSL | Code::BrokerTransportFailure if said.contains("certificate") => Some(Self::Tls { said }),
            _ => None,
        }
    }
}

/// What a client meets behind our back: kept, and told at the level of details, for the client goes on by itself.
#[derive(Debug, Clone, Default)]
pub struct Met(Arc<Mutex<Trouble>>);

#[derive(Debug, Default)]
struct Trouble {
    refusal: Option<KafkaRefusal>,
    last: Option<String>,
}

impl Met {
    /// Why it will not be let in, if it has been told so.
    pub fn refusal(&self) -> Option<KafkaRefusal> {
        self.lock().refusal.clone()
    }

    fn last(&self) -> Option<String> {
        self.lock().last.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Met {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, said: &str) {
        debug!("the Kafka client: {facility} {said}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(error = &error as &dyn std::error::Error, reason, "the Kafka client met an error");
        let mut trouble = self.lock();
        trouble.refusal = trouble.refusal.take().or_else(|| KafkaRefusal::of(&error, reason));
        // "All brokers are down" says less than what came before it.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            trouble.last = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Met {}

impl KafkaAddress {
    /// Waits until a broker has let us in. To be asked before a client is used whose questions would only time out.
    ///
    /// # Errors
    /// [`KafkaRefusal`].
    pub async fn greet(&self) -> Result<(), KafkaRefusal> {
        let (address, met) = (self.clone(), Met::default());
        let asked = tokio::task::spawn_blocking(move || address.knock(&met)).await;
        asked.unwrap_or_else(|ended| Err(self.silent(Some(ended.to_string()))))
    }

    fn knock(&self, met: &Met) -> Result<(), KafkaRefusal> {
        self.files_are_there()?;
        // All brokers at once: by itself it tries one after the other, and the one that is there may be the last.
        let mut client = self.client();
        let made = client.set("enable.sparse.connections", "false").create_with_context(met.clone());
        let client: BaseConsumer<Met> = made.map_err(|error| KafkaRefusal::Settings { said: error.to_string() })?;
        let began = Instant::now();
        loop {
            if client.client().fetch_cluster_id(LOOK_EVERY).is_some() {
                return Ok(());
            }
            // What it met waits to be taken, and without any time only up to the next line of its log. There are no messages: nothing
            // was asked for.
            while client.poll(TAKEN_WITHIN).is_some() {}
            if let Some(refusal) = met.refusal() {
                return Err(refusal);
            }
            if began.elapsed() >= LET_IN_WITHIN {
                return Err(self.silent(met.last()));
            }
        }
    }

    /// The client does not say which of its files it cannot read.
    fn files_are_there(&self) -> Result<(), KafkaRefusal> {
        let Some(Tls { ca, certificate }) = &self.tls else { return Ok(()) };
        let own = certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        for file in ca.iter().chain(own) {
            File::open(file).map_err(|error| KafkaRefusal::Settings { said: format!("{}: {error}", file.display()) })?;
        }
        Ok(())
    }

    fn silent(&self, said: Option<String>) -> KafkaRefusal {
        KafkaRefusal::Silent { brokers: self.brokers.join(","), said: said.unwrap_or_else(|| "it said nothing".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_to_mend_is_told_from_what_passes() {
        let refused = |code, said: &str| KafkaRefusal::of(&KafkaError::Global(code), said).map(|refusal| refusal.kind());
        assert_eq!(refused(Code::Authentication, "Authentication failed"), Some(Kind::Permanent));
        assert_eq!(refused(Code::SSL, "SSL handshake failed: certificate verify failed"), Some(Kind::Permanent));
        assert_eq!(refused(Code::BrokerTransportFailure, "sslv3 alert certificate unknown"), Some(Kind::Permanent));
        assert_eq!(refused(Code::SSL, "SSL handshake failed: Disconnected"), None);
        assert_eq!(refused(Code::BrokerTransportFailure, "Connection refused"), None);
        assert_eq!(refused(Code::AllBrokersDown, "1/1 brokers are down"), None);
    }

    #[test]
    fn the_first_refusal_and_the_last_trouble_are_kept() {
        let met = Met::default();
        met.error(KafkaError::Global(Code::Authentication), "wrong");
        met.error(KafkaError::Global(Code::BrokerTransportFailure), "connection refused");
        met.error(KafkaError::Global(Code::AllBrokersDown), "all are down");
        assert_eq!(met.refusal(), Some(KafkaRefusal::Login { said: "wrong".to_owned() }));
        assert_eq!(met.last().as_deref(), Some("connection refused"));
    }
}
