//! The API over TLS, and what it says where it cannot be spoken; its servers over TLS, and what callers see where they are not trusted.

use std::{
    io::ErrorKind,
    path::Path,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::StatusCode;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use stage::{Launch, Login, Process, Stage, Trust, servers::Authority, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::support::{Api, launch};

static CHOSEN: Once = Once::new();

/// One read over TLS, from a server that is verified by this authority; the whole answer.
async fn asked(address: &str, authority: &Path, path: &str) -> std::io::Result<String> {
    sent(address, authority, &format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")).await
}

/// The same of any request.
async fn sent(address: &str, authority: &Path, request: &str) -> std::io::Result<String> {
    CHOSEN.call_once(|| rustls::crypto::ring::default_provider().install_default().expect("nobody chose before"));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("an authority");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?; // an end without TLS's own word for it would be an error
    Ok(answer)
}

/// An API without servers.
fn alone() -> Launch {
    Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api"))
        .variable("FRESHLINE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
        .variable("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn it_answers_over_tls_and_cuts_who_does_not_speak_it() {
    let authority = Authority::new().expect("an authority");
    let own = authority.sign("api", "IP:127.0.0.1", 2).expect("a certificate");
    let tls = alone()
        .variable("FRESHLINE_API_CERTIFICATE_FILE", shown(&own.certificate))
        .variable("FRESHLINE_API_KEY_FILE", shown(&own.key))
        .variable("FRESHLINE_API_HEAD_MS", "200");
    let mut api = Api::start(tls).await;
    let answer = asked(api.address(), &authority.certificate(), "/livez").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("alive\n"), "{answer}");
    let stranger = Authority::new().expect("an authority");
    let refused = asked(api.address(), &stranger.certificate(), "/livez").await.expect_err("it is not trusted");
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    let mut silent = TcpStream::connect(api.address()).await.expect("a connection");
    assert_eq!(silent.read(&mut [0; 16]).await.expect("an end"), 0, "who says nothing is not waited for");
    let mut plain = TcpStream::connect(api.address()).await.expect("a connection");
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: here\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    // A reset is an end, too.
    plain.read_to_end(&mut answer).await.unwrap_or_default();
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
    api.process.terminate().expect("it runs");
    assert!(api.process.wait(Duration::from_secs(20)).await.expect("it ends").success(), "{}", api.process.tail());
}

/// Asks the process at this address whether it is ready, as a container's health check does: its exit code, and what it says.
async fn readiness(address: &str, settings: &[(&'static str, String)]) -> (Option<i32>, String) {
    let asking = Launch::new("ready", env!("CARGO_BIN_EXE_freshline-api")).argument("--ready").argument(address);
    let mut process = Process::start(asking.variables(settings.iter().cloned())).expect("it starts");
    let status = process.wait(Duration::from_secs(20)).await.expect("it ends");
    (status.code(), process.lines().join("\n"))
}

#[tokio::test]
async fn a_health_check_asks_over_tls_whatever_the_certificate_is_called_and_however_old_it_is() {
    let (stage, authority) = (Stage::new().await, Authority::new().expect("an authority"));
    let own = authority.sign("api", "DNS:shop.example", -1).expect("a certificate");
    let files = [("FRESHLINE_API_CERTIFICATE_FILE", shown(&own.certificate)), ("FRESHLINE_API_KEY_FILE", shown(&own.key))];
    let api = Api::start(launch(&stage).variables(files.clone())).await;
    until("it is ready", async || readiness(api.address(), &files).await.0 == Some(0)).await;
    let (code, said) = readiness(api.address(), &[]).await;
    assert_eq!(code, Some(1), "without the setting it is asked in plain: {said}");
    let nowhere = Api::start(alone().variables(files.clone())).await;
    let (code, said) = readiness(nowhere.address(), &files).await;
    assert!(code == Some(1) && said.contains("503"), "{said}");
    let plain = Api::alone().await;
    let (code, said) = readiness(plain.address(), &files).await;
    assert!(code == Some(1) && said.contains("does not answer over TLS"), "{said}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_told_with_its_settings() {
    let authority = Authority::new().expect("an authority");
    let [own, other] = ["own", "other"].map(|name| authority.sign(name, "IP:127.0.0.1", 2).expect("a certificate"));
    for (certificate, key, told) in [
        (own.certificate.clone(), other.key.clone(), "cannot be used together"),
        (own.key.clone(), own.key.clone(), "holds no certificate"),
        (own.certificate.clone(), own.certificate.clone(), "holds no key"),
        ("/nowhere".into(), own.key.clone(), "/nowhere holds no certificate"),
    ] {
        let files =
            alone().variable("FRESHLINE_API_CERTIFICATE_FILE", shown(&certificate)).variable("FRESHLINE_API_KEY_FILE", shown(&key));
        let mut process = Process::start(files).expect("it starts");
        assert!(!process.wait(Duration::from_secs(20)).await.expect("it ends").success());
        let log = process.lines().join("\n");
        assert!(log.contains(told) && log.contains("FRESHLINE_API_KEY_FILE") && log.contains("remedy"), "{told}: {log}");
    }
    let half = alone().variable("FRESHLINE_API_CERTIFICATE_FILE", shown(&own.certificate));
    let mut process = Process::start(half).expect("it starts");
    assert_eq!(process.wait(Duration::from_secs(20)).await.expect("it ends").code(), Some(2));
    let log = process.lines().join("\n");
    assert!(log.contains("FRESHLINE_API_KEY_FILE: is missing, and FRESHLINE_API_CERTIFICATE_FILE is set"), "{log}");
}

/// An API over TLS on this stage, with these settings besides, and the authority of its certificate.
async fn on(stage: &Stage, settings: &[(&str, &str)]) -> (Api, Authority) {
    let authority = Authority::new().expect("an authority");
    let own = authority.sign("api", "IP:127.0.0.1", 2).expect("a certificate");
    let files = [("FRESHLINE_API_CERTIFICATE_FILE", shown(&own.certificate)), ("FRESHLINE_API_KEY_FILE", shown(&own.key))];
    (Api::start(launch(stage).variables(settings.iter().copied()).variables(files)).await, authority)
}

/// A product, and its path.
async fn product(stage: &Stage) -> String {
    stage.sql("insert into products (sku, name, category, price) values ('A-1', 'a', 'audio', 1)").await;
    format!("/products/{}", stage.value::<String>("select id::text from products").await)
}

async fn ends_well(api: &mut Api) {
    let status = api.process.wait(Duration::from_secs(20)).await.expect("it ends");
    assert!(status.success(), "{}", api.process.tail());
}

#[tokio::test]
async fn sigterm_under_load_over_tls_fails_no_request() {
    let stage = Stage::new().await;
    let (mut api, authority) = on(&stage, &[]).await;
    let (path, ca) = (product(&stage).await, authority.certificate());
    let (answered, is_ending) = (AtomicU64::new(0), AtomicBool::new(false));
    let address = api.address().to_owned();
    let call = async || loop {
        match asked(&address, &ca, &path).await {
            Ok(answer) => {
                assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('}'), "{answer}");
                answered.fetch_add(1, Relaxed);
            }
            // Nobody listens any more.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && is_ending.load(Relaxed) => return,
            Err(error) => panic!("a request failed: {error:?}"),
        }
    };
    let callers = futures::future::join_all((0..8).map(|_| call()));
    let ending = async {
        until("some load", async || answered.load(Relaxed) > 100).await;
        is_ending.store(true, Relaxed);
        api.process.terminate().expect("it runs");
    };
    futures::join!(callers, ending);
    ends_well(&mut api).await;
}

#[tokio::test]
async fn a_request_under_way_over_tls_is_answered_to_its_last_byte_before_the_process_ends() {
    let stage = Stage::new().await;
    // No lame duck: the port is closed long before the request is done.
    let patient = [("FRESHLINE_API_STATEMENT_MS", "30000"), ("FRESHLINE_API_LAME_DUCK_MS", "0"), ("FRESHLINE_GRACE_MS", "60000")];
    let (mut api, authority) = on(&stage, &patient).await;
    let (path, ca, address) = (product(&stage).await, authority.certificate(), api.address().to_owned());
    let mut holder = stage.pool().begin().await.expect("a transaction");
    sqlx::query("select from products for update").execute(&mut *holder).await.expect("a lock");
    let json = r#"{"price":2}"#;
    let head = format!("PATCH {path} HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: {}", json.len());
    let request = format!("{head}\r\n\r\n{json}");
    let writing = sent(&address, &ca, &request);
    let ending = async {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        until("the write waits", async || stage.value::<i64>(waiting).await > 0).await;
        api.process.terminate().expect("it runs");
        until("the port is closed", async || TcpStream::connect(&address).await.is_err()).await;
        holder.commit().await.expect("the lock goes");
    };
    let (answer, ()) = futures::join!(writing, ending);
    let answer = answer.expect("a whole answer, and TLS's own word for its end");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close") && answer.ends_with('}'), "{answer}");
    ends_well(&mut api).await;
}

#[tokio::test]
async fn its_servers_are_reached_over_tls_and_one_that_cannot_be_trusted_is_one_that_is_away() {
    let (stage, trust) = Trust::stage().await;
    let api = Api::start(launch(&stage).variables(trust.variables(&stage, Login::Api))).await;
    let product = api.made("a", "1").await;
    let path = format!("/products/{}", product["id"].as_str().expect("an id"));
    until("Redis is reached", async || api.get(&path).await.header("cache-status") == "Freshline; fwd=bypass; detail=closed").await;
    let plain = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'freshline_api' and not ssl";
    assert_eq!(stage.value::<i64>(plain).await, 0);

    trust.postgres_shows(&stage, &trust.expired()).await.expect("shown");
    trust.redis_shows(&stage, &trust.of_another()).await.expect("shown");
    let late = Api::start(launch(&stage).variables(trust.variables(&stage, Login::Api))).await;
    late.get(&path).await.problem(503, "database-unavailable");
    let told = until("it says why it is not ready", async || {
        let told = late.get("/readyz?verbose").await.body;
        told.contains("neither answers").then_some(told)
    })
    .await;
    assert!(told.contains("peer certificate: Expired") && told.contains("renew the certificate"), "{told}");
    assert!(told.contains("FRESHLINE_DATABASE_URL"), "{told}");
    let good = trust.signed("good", "IP:127.0.0.1", 2);
    trust.postgres_shows(&stage, &good).await.expect("shown");
    until("it answers", async || late.get(&path).await.status == StatusCode::OK).await;
}
