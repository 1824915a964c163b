//! How to reach a Kafka: its brokers, and who asks.

mod limits;
mod refusal;

use std::path::PathBuf;

use rdkafka::{ClientConfig, error::KafkaError, types::RDKafkaErrorCode};
use secrecy::{ExposeSecret, SecretString};

pub use self::{
    limits::{RETENTION_MIN_MS, TopicFault, topic_faults},
    refusal::{KafkaRefusal, Met},
};
use crate::config::{Description, Optional, Reader, Setting, Word};

const BROKERS: Setting<Vec<String>> =
    Setting::list("KAFKA_BROKERS", "kafka-1:9092,kafka-2:9092", "Brokers of the Kafka that is asked first; the others it tells.");

const TLS: Setting<bool> = Setting::switch("KAFKA_TLS", "Whether to talk to Kafka over TLS.").or("false");

const CA_FILE: Optional<PathBuf> =
    Setting::path("KAFKA_CA_FILE", "The certificates that sign the brokers', as PEM. Left out: those of the system.").optional();

const CERTIFICATE_FILE: Optional<PathBuf> =
    Setting::path("KAFKA_CERTIFICATE_FILE", "The client's own certificate, as PEM, where the brokers ask for one.").optional();

const KEY_FILE: Optional<PathBuf> =
    Setting::path("KAFKA_KEY_FILE", "The key of the client's certificate, as PEM, without a password.").optional();

const SASL: Setting<Sasl> = Setting::word(
    "KAFKA_SASL",
    "How to say who asks; any but none needs a user and a password. PLAIN without TLS shows the password.",
)
.or("none");

const USER: Optional<String> = Setting::text("KAFKA_USER", "freshline", "Who asks, under KAFKA_SASL.").optional();

const PASSWORD: Optional<SecretString> = Setting::secret("KAFKA_PASSWORD", "The password of that user.").optional();

/// The header of a record in which the relay writes its [`super::MessageId`].
pub const ID_HEADER: &str = "freshline-id";

/// The header that numbers the relay's records within a partition, as a decimal: each has the number after the one before it, whatever
/// relay wrote that. A number that does not follow means that records are missing, or that the topic was made anew.
pub const NUMBER_HEADER: &str = "freshline-number";

/// Whether Kafka will say the same again, until somebody gives this user more rights or corrects how it logs in.
pub fn is_refusal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed)
            | Some(Code::SaslAuthenticationFailed | Code::Authentication | Code::UnsupportedSASLMechanism)
    )
}

/// How a client says who it is (`sasl.mechanism`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sasl {
    /// It does not, or by its certificate.
    None,
    /// `PLAIN`: by the password itself.
    Plain,
    /// `SCRAM-SHA-256`.
    ScramSha256,
    /// `SCRAM-SHA-512`.
    ScramSha512,
}

impl Word for Sasl {
    const WORDS: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("plain", Self::Plain), ("scram-sha-256", Self::ScramSha256), ("scram-sha-512", Self::ScramSha512)];
}

/// How to reach a Kafka.
#[derive(Debug, Clone)]
pub struct KafkaAddress {
    brokers: Vec<String>,
    tls: Option<Tls>,
    login: Option<Login>,
}

#[derive(Debug, Clone)]
struct Tls {
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone)]
struct Login {
    mechanism: &'static str,
    user: String,
    password: SecretString,
}

impl KafkaAddress {
    /// The settings that [`KafkaAddress::read`] reads.
    pub const SETTINGS: [Description; 8] = [
        BROKERS.describe(),
        TLS.describe(),
        CA_FILE.describe(),
        CERTIFICATE_FILE.describe(),
        KEY_FILE.describe(),
        SASL.describe(),
        USER.describe(),
        PASSWORD.describe(),
    ];

    /// Reads them all; `None` where one has a fault, which the reader keeps.
    pub fn read(read: &mut Reader<'_>) -> Option<Self> {
        let (brokers, tls, login) = (read.get(&BROKERS), read_tls(read), read_login(read));
        Some(Self { brokers: brokers?, tls: tls?, login: login? })
    }

    /// What every client begins with.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers.join(","));
        config.set("client.id", "freshline");
        // A broker that comes back is found within a second; the default is ten.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        let security = match (&self.tls, &self.login) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", security);
        if let Some(tls) = &self.tls {
            tls.set(&mut config);
        }
        if let Some(Login { mechanism, user, password }) = &self.login {
            config.set("sasl.mechanism", *mechanism).set("sasl.username", user).set("sasl.password", password.expose_secret());
        }
        config
    }
}

impl Tls {
    fn set(&self, config: &mut ClientConfig) {
        if let Some(ca) = &self.ca {
            config.set("ssl.ca.location", ca.to_string_lossy());
        }
        if let Some((certificate, key)) = &self.certificate {
            config.set("ssl.certificate.location", certificate.to_string_lossy());
            config.set("ssl.key.location", key.to_string_lossy());
        }
    }
}

fn read_tls(read: &mut Reader<'_>) -> Option<Option<Tls>> {
    let (is_on, ca) = (read.get(&TLS), read.optional(&CA_FILE));
    let (certificate, key) = (read.optional(&CERTIFICATE_FILE)?, read.optional(&KEY_FILE)?);
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return read.fault(&KEY_FILE.describe(), "is not set, and KAFKA_CERTIFICATE_FILE is"),
        (None, Some(_)) => return read.fault(&CERTIFICATE_FILE.describe(), "is not set, and KAFKA_KEY_FILE is"),
    };
    let (is_on, ca) = (is_on?, ca?);
    if !is_on && (ca.is_some() || certificate.is_some()) {
        return read.fault(&TLS.describe(), "is false, and files for TLS are named");
    }
    Some(is_on.then_some(Tls { ca, certificate }))
}

fn read_login(read: &mut Reader<'_>) -> Option<Option<Login>> {
    let (sasl, user, password) = (read.get(&SASL), read.optional(&USER), read.optional(&PASSWORD));
    let mechanism = match sasl? {
        Sasl::None => None,
        Sasl::Plain => Some("PLAIN"),
        Sasl::ScramSha256 => Some("SCRAM-SHA-256"),
        Sasl::ScramSha512 => Some("SCRAM-SHA-512"),
    };
    match (mechanism, user?, password?) {
        (None, None, None) => Some(None),
        (None, ..) => read.fault(&SASL.describe(), "is none, and a user or password is set"),
        (Some(_), None, _) => read.fault(&USER.describe(), "is not set, and KAFKA_SASL asks for one"),
        (Some(_), _, None) => read.fault(&PASSWORD.describe(), "is not set, and KAFKA_SASL asks for one"),
        (Some(mechanism), Some(user), Some(password)) => Some(Some(Login { mechanism, user, password })),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<ClientConfig, String> {
        let vars: BTreeMap<String, String> =
            vars.iter().map(|(name, value)| (format!("FRESHLINE_{name}"), (*value).to_owned())).collect();
        let mut reader = Reader::new(&vars);
        let address = KafkaAddress::read(&mut reader);
        reader.finish(|| address).map(|address| address.client()).map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_login_and_tls_are_passed_through() {
        let vars = [
            ("KAFKA_BROKERS", "a:9092, b:9092"),
            ("KAFKA_TLS", "true"),
            ("KAFKA_CA_FILE", "/etc/ca.pem"),
            ("KAFKA_SASL", "scram-sha-512"),
            ("KAFKA_USER", "shop"),
            ("KAFKA_PASSWORD", "hunter2"),
        ];
        let config = read(&vars).expect("good settings");
        let expected = [
            ("bootstrap.servers", "a:9092,b:9092"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "/etc/ca.pem"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "shop"),
            ("sasl.password", "hunter2"),
        ];
        for (name, value) in expected {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
    }

    #[rstest::rstest]
    #[case::nothing(&[], "FRESHLINE_KAFKA_BROKERS")]
    #[case::a_gap(&[("KAFKA_BROKERS", "a,,b")], "FRESHLINE_KAFKA_BROKERS")]
    #[case::no_user(&[("KAFKA_BROKERS", "a"), ("KAFKA_SASL", "plain")], "FRESHLINE_KAFKA_USER")]
    #[case::no_password(&[("KAFKA_BROKERS", "a"), ("KAFKA_SASL", "plain"), ("KAFKA_USER", "u")], "FRESHLINE_KAFKA_PASSWORD")]
    #[case::a_user_for_nothing(&[("KAFKA_BROKERS", "a"), ("KAFKA_USER", "u")], "FRESHLINE_KAFKA_SASL")]
    #[case::files_for_nothing(&[("KAFKA_BROKERS", "a"), ("KAFKA_CA_FILE", "f")], "FRESHLINE_KAFKA_TLS")]
    #[case::half_a_certificate(&[("KAFKA_BROKERS", "a"), ("KAFKA_TLS", "true"), ("KAFKA_KEY_FILE", "f")], "FRESHLINE_KAFKA_CERTIFICATE_FILE")]
    fn settings_that_contradict_each_other_are_refused(#[case] vars: &[(&str, &str)], #[case] named: &str) {
        let refused = read(vars).expect_err("bad settings");
        assert!(refused.contains(named), "{refused}");
    }
}
