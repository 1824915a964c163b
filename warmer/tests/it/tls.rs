//! Over TLS: a run reaches servers that it can verify, and says of others what mends it.

use stage::{Login, Process, Trust};

use crate::rig::{Rig, Run, end};

/// An open cache with three products behind it, on servers that speak TLS.
async fn rig() -> (Rig, Trust) {
    let (stage, trust) = Trust::stage().await;
    let rig = Rig::on(stage, 1);
    rig.open_cache().await;
    rig.products(3).await;
    (rig, trust)
}

/// A run over TLS, without these settings.
async fn warmed(rig: &Rig, trust: &Trust, without: &[&str]) -> Run {
    let variables = trust.variables(&rig.stage, Login::Warmer).into_iter().filter(|(name, _)| !without.contains(name));
    end(Process::start(rig.launch(&["--all", "--wait", "1"]).variables(variables)).expect("it starts")).await
}

fn assert_refused(run: &Run, told: &[&str]) {
    assert_ne!(run.code, Some(0), "{run:?}");
    run.assert_counts(&[]);
    told.iter().for_each(|part| run.assert_said(part));
}

#[tokio::test]
async fn a_run_reads_and_fills_over_tls_that_is_verified_to_the_name() {
    let (rig, trust) = rig().await;
    let run = warmed(&rig, &trust, &[]).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 3), ("filled", 3)]);
}

#[tokio::test]
async fn a_run_ends_with_the_setting_where_postgres_cannot_be_trusted() {
    let (rig, trust) = rig().await;
    trust.postgres_shows(&rig.stage, &trust.expired()).await.expect("shown");
    let told = ["peer certificate: Expired", "renew the certificate of the server that FRESHLINE_DATABASE_URL names"];
    assert_refused(&warmed(&rig, &trust, &[]).await, &told);
    trust.postgres_shows(&rig.stage, &trust.of_another()).await.expect("shown");
    let told = ["not valid for name", "name the server in FRESHLINE_DATABASE_URL as its certificate does"];
    assert_refused(&warmed(&rig, &trust, &[]).await, &told);
}

#[tokio::test]
async fn a_run_ends_with_the_setting_where_redis_cannot_be_trusted() {
    let (rig, trust) = rig().await;
    let stranger = warmed(&rig, &trust, &["FRESHLINE_REDIS_CA_FILE"]).await;
    assert_refused(&stranger, &["UnknownIssuer", "set FRESHLINE_REDIS_CA_FILE to"]);
    trust.redis_shows(&rig.stage, &trust.expired()).await.expect("shown");
    let told = ["peer certificate: Expired", "renew the certificate of the server that FRESHLINE_REDIS_URL names"];
    assert_refused(&warmed(&rig, &trust, &[]).await, &told);
    trust.redis_shows(&rig.stage, &trust.of_another()).await.expect("shown");
    let told = ["not valid for name", "name the server in FRESHLINE_REDIS_URL as its certificate does"];
    assert_refused(&warmed(&rig, &trust, &[]).await, &told);
}
