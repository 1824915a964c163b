//! Over TLS: what is verified, and what is said where a server cannot be trusted.

use stage::{
    Launch, Login, Process, Stage, Trust, WAIT_MAX,
    servers::{Home, Nats, NatsOptions},
};

use crate::house::{House, launch};

/// What an invalidator logs that is to end by itself, with these settings.
async fn refused(stage: &Stage, settings: Vec<(&'static str, String)>) -> String {
    let mut process = Process::start(launch(stage).variables(settings)).expect("it starts");
    let status = process.wait(WAIT_MAX).await.expect("it ends");
    assert!(!status.success(), "it ended well: {}", process.tail());
    process.lines().join("\n")
}

#[track_caller]
fn assert_told(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "{part:?} is not in\n{log}");
    }
}

#[tokio::test]
async fn changes_are_read_and_applied_over_tls_that_is_verified_to_the_name() {
    let (stage, trust) = Trust::stage().await;
    let variables = trust.variables(&stage, Login::Invalidator);
    let house = House::with(stage, variables).await;
    house.stage.sql("insert into products (sku, name, category, price) values ('A', 'a', 'audio', 1)").await;
    house.drained().await;
    let sessions = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid)
                    where usename = 'freshline_invalidator' and ssl";
    assert!(house.stage.value::<i64>(sessions).await > 0);
    assert_eq!(house.stage.value::<i64>(&sessions.replace("and ssl", "and not ssl")).await, 0);
    let senders = "select count(*) from pg_stat_ssl join pg_stat_replication using (pid) where ssl and version like 'TLS%'";
    assert_eq!(house.stage.value::<i64>(senders).await, 1, "the stream of changes");
    // It shows its own certificate to both.
    let shown = "select count(*) from pg_stat_ssl join pg_stat_replication using (pid) where client_dn = '/CN=own'";
    assert_eq!(house.stage.value::<i64>(shown).await, 1);
}

#[tokio::test]
async fn a_postgres_that_cannot_be_trusted_is_refused_with_the_setting_and_the_remedy() {
    let (stage, trust) = Trust::stage().await;
    let with = |parameters: &str| {
        let mut variables = trust.variables(&stage, Login::Invalidator).to_vec();
        variables[0].1 = stage.database_url(Login::Invalidator) + parameters;
        variables
    };
    let log = refused(&stage, with("?sslmode=verify-full")).await;
    assert_told(&log, &["UnknownIssuer", "sslrootcert in FRESHLINE_DATABASE_URL"]);
    trust.postgres_shows(&stage, &trust.expired()).await.expect("shown");
    let log = refused(&stage, with(&trust.parameters())).await;
    assert_told(&log, &["peer certificate: Expired", "renew the certificate of the server that FRESHLINE_DATABASE_URL names"]);
    trust.postgres_shows(&stage, &trust.of_another()).await.expect("shown");
    let log = refused(&stage, with(&trust.parameters())).await;
    assert_told(&log, &["not valid for name", "name the server in FRESHLINE_DATABASE_URL as its certificate does"]);
    assert!(!log.contains(stage.postgres().password(Login::Invalidator)), "{log}");
}

#[tokio::test]
async fn a_stream_is_not_resumed_from_a_postgres_whose_certificate_has_expired() {
    let (stage, trust) = Trust::stage().await;
    let variables = trust.variables(&stage, Login::Invalidator);
    let mut house = House::with(stage, variables).await;
    trust.postgres_shows(&house.stage, &trust.expired()).await.expect("shown");
    house.stage.sql("select pg_terminate_backend(pid) from pg_stat_replication").await;
    let status = house.invalidator.wait(WAIT_MAX).await.expect("it ends");
    assert!(!status.success());
    assert_told(&house.invalidator.lines().join("\n"), &["Expired", "FRESHLINE_DATABASE_URL"]);
}

#[tokio::test]
async fn a_redis_that_cannot_be_trusted_is_told_with_the_setting_and_the_remedy_and_taken_when_it_can() {
    let (stage, trust) = Trust::stage().await;
    let variables = trust.variables(&stage, Login::Invalidator).to_vec();
    let without = |names: &[&str]| {
        let kept = variables.iter().filter(|(name, _)| !names.contains(name)).cloned();
        Process::start(launch(&stage).variables(kept)).expect("it starts")
    };
    let mut stranger = without(&["FRESHLINE_REDIS_CA_FILE"]);
    assert_told(&stranger.line("there is no trust").await, &["UnknownIssuer", "set FRESHLINE_REDIS_CA_FILE to"]);
    drop(stranger);
    let mut nobody = without(&["FRESHLINE_REDIS_CERTIFICATE_FILE", "FRESHLINE_REDIS_KEY_FILE"]);
    assert_told(&nobody.line("there is no trust").await, &["set FRESHLINE_REDIS_CERTIFICATE_FILE and FRESHLINE_REDIS_KEY_FILE"]);
    drop(nobody);
    trust.redis_shows(&stage, &trust.of_another()).await.expect("shown");
    let mut other = without(&[]);
    assert_told(&other.line("there is no trust").await, &["name the server in FRESHLINE_REDIS_URL as its certificate does"]);
    drop(other);
    trust.redis_shows(&stage, &trust.expired()).await.expect("shown");
    let mut late = without(&[]);
    assert_told(
        &late.line("there is no trust").await,
        &["peer certificate: Expired", "renew the certificate of the server that FRESHLINE_REDIS_URL names"],
    );
    let good = trust.signed("good", "IP:127.0.0.1", 2);
    trust.redis_shows(&stage, &good).await.expect("shown");
    late.line("connected to Redis").await;
    let password = stage.redis().password(Login::Invalidator);
    assert!(!late.lines().iter().any(|line| line.contains(password)), "{}", late.tail());
}

/// How a relay is started that reads from Postgres with these parameters of its URL.
fn relay(stage: &Stage, nats: &Nats, parameters: &str) -> Launch {
    stage.launch("freshline-relay", Login::Invalidator).variables([
        ("FRESHLINE_DATABASE_URL", stage.database_url(Login::Invalidator) + parameters),
        ("FRESHLINE_NATS_URL", nats.server()),
        ("FRESHLINE_RELAY_SLOT", format!("{}_relay", stage.name())),
        ("FRESHLINE_RELAY_ADDRESS", "127.0.0.1:0".to_owned()),
    ])
}

#[tokio::test]
async fn a_relay_to_nats_reads_over_tls_and_ends_with_the_setting_where_postgres_cannot_be_trusted() {
    let (stage, trust) = Trust::stage().await;
    let nats = Nats::start(Home::scratch().expect("a directory"), NatsOptions::default()).await.expect("NATS starts");
    let ends = async |parameters: &str| {
        let mut process = Process::start(relay(&stage, &nats, parameters)).expect("it starts");
        let status = process.wait(WAIT_MAX).await.expect("it ends");
        assert!(!status.success(), "it ended well: {}", process.tail());
        process.lines().join("\n")
    };
    let mut trusting = Process::start(relay(&stage, &nats, &trust.parameters())).expect("it starts");
    trusting.line("publishing what Postgres changes").await;
    let senders = "select count(*) from pg_stat_ssl join pg_stat_replication using (pid)
                   where ssl and version like 'TLS%' and client_dn = '/CN=own'";
    assert_eq!(stage.value::<i64>(senders).await, 1, "the stream of changes");
    let plain =
        "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'freshline_invalidator' and not ssl";
    assert_eq!(stage.value::<i64>(plain).await, 0);
    drop(trusting);

    let log = ends("?sslmode=verify-full").await;
    assert_told(&log, &["UnknownIssuer", "sslrootcert in FRESHLINE_DATABASE_URL"]);
    trust.postgres_shows(&stage, &trust.expired()).await.expect("shown");
    let log = ends(&trust.parameters()).await;
    assert_told(&log, &["peer certificate: Expired", "renew the certificate of the server that FRESHLINE_DATABASE_URL names"]);
    trust.postgres_shows(&stage, &trust.of_another()).await.expect("shown");
    let log = ends(&trust.parameters()).await;
    assert_told(&log, &["not valid for name", "name the server in FRESHLINE_DATABASE_URL as its certificate does"]);
    assert!(!log.contains(stage.postgres().password(Login::Invalidator)), "{log}");
}
