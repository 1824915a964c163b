//! NATS: password, token, nkey, credentials file, TLS.

use std::path::Path;

use async_nats::jetstream;
use freshline::broker::nats::{NatsRefusal, NatsSettings};
use nkeys::KeyPair;
use stage::{
    Login, Stage,
    servers::{Authority, Certificate, Home, NATS_USER, Nats, NatsLogin, NatsOptions},
};

use super::{WRONG, assert_ends, assert_refused, jwt, jwt::Decentral, read};
use crate::house::launch;

fn home() -> Home {
    Home::scratch().expect("a scratch directory")
}

async fn start(login: NatsLogin, lines: Vec<String>) -> Nats {
    Nats::start(home(), NatsOptions { login, lines, ..NatsOptions::default() }).await.expect("NATS starts")
}

/// Whoever is let in makes a stream and looks at it.
async fn enter(url: &str, vars: &[(&str, &str)]) -> Result<(), NatsRefusal> {
    let vars = [&[("NATS_URL", url)], vars].concat();
    let settings = read(&vars, NatsSettings::read).expect("good settings");
    let connection = settings.connect("a test").await?;
    let context = jetstream::new(connection.client);
    let config = jetstream::stream::Config { name: "S".into(), subjects: vec!["s.>".into()], ..Default::default() };
    context.get_or_create_stream(config).await.expect("JetStream serves whom it let in");
    Ok(())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[tokio::test]
async fn nats_lets_in_by_password_and_by_token() {
    let nats = start(NatsLogin::Password, Vec::new()).await;
    let user = ("NATS_USER", NATS_USER);
    enter(&nats.server(), &[user, ("NATS_PASSWORD", nats.secret())]).await.expect("let in");
    assert_refused(
        enter(&nats.server(), &[user, ("NATS_PASSWORD", WRONG)]).await,
        "FRESHLINE_NATS_PASSWORD",
        "authorization violation",
    );
    assert_refused(enter(&nats.server(), &[]).await, "of which none is set", "authorization violation");

    let nats = start(NatsLogin::Token, Vec::new()).await;
    enter(&nats.server(), &[("NATS_TOKEN", nats.secret())]).await.expect("let in");
    assert_refused(enter(&nats.server(), &[("NATS_TOKEN", WRONG)]).await, "FRESHLINE_NATS_TOKEN", "authorization violation");
}

#[tokio::test]
async fn nats_lets_in_by_nkey() {
    let (known, unknown) = (KeyPair::new_user(), KeyPair::new_user());
    let nats = start(NatsLogin::Open, vec![format!("authorization {{ users: [ {{ nkey: {} }} ] }}", known.public_key())]).await;
    enter(&nats.server(), &[("NATS_NKEY", &known.seed().expect("a seed"))]).await.expect("let in");
    let unknown = unknown.seed().expect("a seed");
    assert_refused(enter(&nats.server(), &[("NATS_NKEY", &unknown)]).await, "FRESHLINE_NATS_NKEY", "authorization violation");
    assert_refused(enter(&nats.server(), &[("NATS_NKEY", WRONG)]).await, "FRESHLINE_NATS_NKEY", "signing");
}

#[tokio::test]
async fn nats_lets_in_by_a_credentials_file_of_an_operators_account() {
    let (ours, others) = (Decentral::new(), Decentral::new());
    let nats = start(NatsLogin::Open, ours.lines).await;
    let files = home();
    let credentials = |name: &str, contents: &str| files.write(name, contents).expect("written");
    let known = credentials("known.creds", &ours.credentials);
    enter(&nats.server(), &[("NATS_CREDENTIALS", text(&known))]).await.expect("let in");

    let refused = async |path: &Path, reason: &str| {
        let outcome = enter(&nats.server(), &[("NATS_CREDENTIALS", text(path))]).await;
        assert_refused(outcome, "FRESHLINE_NATS_CREDENTIALS", reason);
    };
    refused(&credentials("other.creds", &others.credentials), "authorization violation").await;
    refused(&credentials("broken.creds", &jwt::credentials("no.jwt.at-all", WRONG)), "").await;
    refused(&credentials("empty.creds", "nothing"), "cannot be used to log in").await;
    refused(&files.path().join("nowhere.creds"), "No such file").await;
}

/// The lines of a server that shows this, and asks for a certificate of this authority.
fn tls(shown: &Certificate, asks_of: Option<&Authority>) -> Vec<String> {
    let asks = asks_of.map(|authority| format!(", ca_file: \"{}\", verify: true", authority.certificate().display()));
    let (certificate, key) = (shown.certificate.display(), shown.key.display());
    vec![format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\"{} }}", asks.unwrap_or_default())]
}

const HERE: &str = "IP:127.0.0.1,DNS:localhost";

#[tokio::test]
async fn nats_is_trusted_by_the_authority_that_is_named_and_by_its_name() {
    let (authority, other) = (Authority::new().expect("an authority"), Authority::new().expect("another"));
    let (ca, other_ca) = (authority.certificate(), other.certificate());
    let nats = start(NatsLogin::Open, tls(&authority.sign("server", HERE, 1).expect("signed"), None)).await;
    let (plain, encrypted) = (nats.server(), nats.server().replace("nats://", "tls://"));
    for url in [&plain, &encrypted] {
        enter(url, &[("NATS_TLS_CA", text(&ca))]).await.expect("let in");
        assert_refused(enter(url, &[("NATS_TLS_CA", text(&other_ca))]).await, "FRESHLINE_NATS_TLS_CA", "UnknownIssuer");
    }
    assert_refused(enter(&encrypted, &[]).await, "FRESHLINE_NATS_TLS_CA", "UnknownIssuer");
    assert_refused(enter(&encrypted, &[("NATS_TLS_CA", "/nowhere.pem")]).await, "FRESHLINE_NATS_TLS_CA", "No such file");

    let elsewhere =
        start(NatsLogin::Open, tls(&authority.sign("elsewhere", "DNS:elsewhere.example", 1).expect("signed"), None)).await;
    let outcome = enter(&elsewhere.server(), &[("NATS_TLS_CA", text(&ca))]).await;
    assert_refused(outcome, "FRESHLINE_NATS_URL as its certificate does", "not valid for name");
    let expired = start(NatsLogin::Open, tls(&authority.sign("expired", HERE, -1).expect("signed"), None)).await;
    assert_refused(enter(&expired.server(), &[("NATS_TLS_CA", text(&ca))]).await, "FRESHLINE_NATS_TLS_CA", "Expired");
}

#[tokio::test]
async fn nats_that_asks_for_our_certificate_gets_it() {
    let (authority, other) = (Authority::new().expect("an authority"), Authority::new().expect("another"));
    let ca = authority.certificate();
    let nats = start(NatsLogin::Open, tls(&authority.sign("server", HERE, 1).expect("signed"), Some(&authority))).await;
    let shown = async |own: &Certificate| {
        let own = [("NATS_TLS_CERT", text(&own.certificate)), ("NATS_TLS_KEY", text(&own.key)), ("NATS_TLS_CA", text(&ca))];
        enter(&nats.server(), &own).await
    };
    shown(&authority.sign("client", "DNS:client", 1).expect("signed")).await.expect("let in");
    assert_refused(shown(&other.sign("client", "DNS:client", 1).expect("signed")).await, "FRESHLINE_NATS_TLS_CERT", "alert");
    assert_refused(enter(&nats.server(), &[("NATS_TLS_CA", text(&ca))]).await, "FRESHLINE_NATS_TLS_CERT", "alert");
}

#[tokio::test]
async fn processes_that_nats_refuses_end_with_the_setting_and_show_no_secret() {
    let (stage, nats) = (Stage::new().await, start(NatsLogin::Password, Vec::new()).await);
    let wrong = [("FRESHLINE_NATS_URL", nats.server()), ("FRESHLINE_NATS_USER", NATS_USER.to_owned())];
    let wrong = wrong.into_iter().chain([("FRESHLINE_NATS_PASSWORD", WRONG.to_owned()), ("FRESHLINE_SOURCE", "nats".to_owned())]);
    let wrong: Vec<_> = wrong.collect();
    assert_ends(launch(&stage).variables(wrong.clone()), "FRESHLINE_NATS_PASSWORD").await;
    let relay = stage.launch("freshline-relay", Login::Invalidator).variable("FRESHLINE_RELAY_ADDRESS", "127.0.0.1:0");
    assert_ends(relay.variables(wrong), "FRESHLINE_NATS_PASSWORD").await;
}
