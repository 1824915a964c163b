//! Kafka: SASL PLAIN and SCRAM, TLS.

use std::path::Path;

use freshline::broker::kafka::{KafkaAddress, KafkaRefusal};
use stage::{
    Login, Stage,
    servers::{Authority, Certificate, Home, KAFKA_USER, Kafka, KafkaLogin, KafkaOptions, KafkaTls},
};

use super::{WRONG, assert_ends, assert_refused, read};
use crate::house::launch;

async fn start(login: KafkaLogin, tls: Option<KafkaTls>) -> Kafka {
    let home = Home::scratch().expect("a scratch directory");
    Kafka::start(home, KafkaOptions { login, tls, ..KafkaOptions::default() }).await.expect("Kafka starts")
}

async fn enter(brokers: &str, vars: &[(&str, &str)]) -> Result<(), KafkaRefusal> {
    let vars = [&[("KAFKA_BROKERS", brokers)], vars].concat();
    read(&vars, KafkaAddress::read).expect("good settings").greet().await
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Who shows a password by this mechanism.
fn by<'a>(mechanism: &'a str, password: &'a str) -> [(&'a str, &'a str); 3] {
    [("KAFKA_SASL", mechanism), ("KAFKA_USER", KAFKA_USER), ("KAFKA_PASSWORD", password)]
}

const MECHANISMS: [&str; 3] = ["plain", "scram-sha-256", "scram-sha-512"];

/// How many brokers are away, on ports that nobody has: what the client says of them must not hide what the last one says.
const DEAD: u16 = 60;

const HERE: &str = "IP:127.0.0.1,DNS:localhost";

#[tokio::test]
async fn kafka_lets_in_by_each_kind_of_password_and_refuses_a_wrong_one_at_once() {
    let kafka = start(KafkaLogin::Password, None).await;
    for mechanism in MECHANISMS {
        enter(&kafka.brokers(), &by(mechanism, kafka.password())).await.expect("let in");
        let outcome = enter(&kafka.brokers(), &by(mechanism, WRONG)).await;
        assert_refused(outcome, "FRESHLINE_KAFKA_PASSWORD", "uthentication failed");
    }
    let mostly_dead: Vec<_> = (1..=DEAD).map(|port| format!("127.0.0.1:{port}")).chain([kafka.brokers()]).collect();
    let outcome = enter(&mostly_dead.join(","), &by("plain", WRONG)).await;
    assert_refused(outcome, "FRESHLINE_KAFKA_PASSWORD", "uthentication failed");
    let stage = Stage::new().await;
    let wrong = by("scram-sha-512", WRONG).map(|(name, value)| (format!("FRESHLINE_{name}"), value.to_owned()));
    let source = [("FRESHLINE_SOURCE", "kafka".to_owned()), ("FRESHLINE_KAFKA_BROKERS", kafka.brokers())];
    assert_ends(launch(&stage).variables(source.clone()).variables(wrong.clone()), "FRESHLINE_KAFKA_PASSWORD").await;
    let relay = stage.launch("freshline-relay", Login::Invalidator).variable("FRESHLINE_RELAY_ADDRESS", "127.0.0.1:0");
    let relay = relay.variable("FRESHLINE_RELAY_TO", "kafka").variables(source).variables(wrong);
    assert_ends(relay, "FRESHLINE_KAFKA_PASSWORD").await;
}

#[tokio::test]
async fn kafka_lets_in_by_password_over_tls_to_whom_it_is_asked_for_and_trusted_by_its_authority() {
    let (authority, other) = (Authority::new().expect("an authority"), Authority::new().expect("another"));
    let (ca, other_ca) = (authority.certificate(), other.certificate());
    let tls = |ca| [("KAFKA_TLS", "true"), ("KAFKA_CA_FILE", text(ca))];
    let shown = |certificate: Certificate| Some(KafkaTls { certificate, asks_of: None });
    let kafka = start(KafkaLogin::Password, shown(authority.sign("server", HERE, 1).expect("signed"))).await;
    for mechanism in MECHANISMS {
        enter(&kafka.brokers(), &[&tls(&ca)[..], &by(mechanism, kafka.password())].concat()).await.expect("let in");
    }
    let outcome = enter(&kafka.brokers(), &[&tls(&ca)[..], &by("scram-sha-256", WRONG)].concat()).await;
    assert_refused(outcome, "FRESHLINE_KAFKA_PASSWORD", "uthentication failed");
    let known = by("plain", kafka.password());
    let outcome = enter(&kafka.brokers(), &[&tls(&other_ca)[..], &known].concat()).await;
    assert_refused(outcome, "FRESHLINE_KAFKA_CA_FILE", "certificate");
    let outcome = enter(&kafka.brokers(), &[&[("KAFKA_TLS", "true")][..], &known].concat()).await;
    assert_refused(outcome, "FRESHLINE_KAFKA_CA_FILE", "certificate");
    let outcome = enter(&kafka.brokers(), &[&tls(Path::new("/nowhere.pem"))[..], &known].concat()).await;
    assert_refused(outcome, "FRESHLINE_KAFKA_CA_FILE", "/nowhere.pem");
}

#[tokio::test]
async fn kafka_with_a_wrong_name_or_one_that_is_over_is_not_trusted() {
    let authority = Authority::new().expect("an authority");
    let ca = authority.certificate();
    let tls = [("KAFKA_TLS", "true"), ("KAFKA_CA_FILE", text(&ca))];
    for (name, names, days) in [("elsewhere", "DNS:elsewhere.example", 1), ("expired", HERE, -1)] {
        let certificate = authority.sign(name, names, days).expect("signed");
        let kafka = start(KafkaLogin::Open, Some(KafkaTls { certificate, asks_of: None })).await;
        assert_refused(enter(&kafka.brokers(), &tls).await, "FRESHLINE_KAFKA_BROKERS as their certificates do", "certificate");
    }
}

#[tokio::test]
async fn kafka_that_asks_for_our_certificate_gets_it() {
    let (authority, other) = (Authority::new().expect("an authority"), Authority::new().expect("another"));
    let ca = authority.certificate();
    let certificate = authority.sign("server", HERE, 1).expect("signed");
    let kafka = start(KafkaLogin::Open, Some(KafkaTls { certificate, asks_of: Some(ca.clone()) })).await;
    let tls = [("KAFKA_TLS", "true"), ("KAFKA_CA_FILE", text(&ca))];
    let shown = async |own: &Certificate| {
        let own = [("KAFKA_CERTIFICATE_FILE", text(&own.certificate)), ("KAFKA_KEY_FILE", text(&own.key))];
        enter(&kafka.brokers(), &[&tls[..], &own].concat()).await
    };
    shown(&authority.sign("client", "DNS:client", 1).expect("signed")).await.expect("let in");
    assert_refused(
        shown(&other.sign("client", "DNS:client", 1).expect("signed")).await,
        "FRESHLINE_KAFKA_CERTIFICATE_FILE",
        "certificate",
    );
    assert_refused(enter(&kafka.brokers(), &tls).await, "FRESHLINE_KAFKA_CERTIFICATE_FILE", "certificate");
}
