//! `cargo xtask load` against a replica and an invalidator.

use std::process::{Command, Output};

use stage::{Login, Process, Stage, servers::Home};

/// An API on a stage, ready to be asked.
async fn api(stage: &Stage) -> (Process, String) {
    // However slow the machine is, nobody is turned away.
    let patient = [("FRESHLINE_API_SESSION_WAIT_MS", "20000"), ("FRESHLINE_API_STATEMENT_MS", "20000")];
    let launch = stage.launch("freshline-api", Login::Api).variable("FRESHLINE_API_ADDRESS", "127.0.0.1:0").variables(patient);
    let mut api = Process::start(launch).expect("the API starts");
    let line = api.line("listening on ").await;
    (api, format!("http://{}", line.rsplit(' ').next().expect("an address")))
}

async fn load(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("load").args(arguments);
    tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("xtask runs")
}

#[tokio::test]
async fn a_load_reports_hits_and_writes_that_every_later_read_includes() {
    let stage = Stage::new().await;
    stage
        .sql("insert into products (sku, name, category, price) select 's-' || n, 'thing', 'c', n from generate_series(1, 150) n")
        .await;
    let launch = stage.launch("freshline-invalidator", Login::Invalidator);
    let launch = launch.variables([("FRESHLINE_SLOT", stage.name()), ("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0")]);
    let mut invalidator = Process::start(launch).expect("the invalidator starts");
    invalidator.line("the change stream begins").await;
    let ((_one, one), (_other, other)) = (api(&stage).await, api(&stage).await);

    let home = Home::scratch().expect("a home");
    let report = home.path().join("load.html").display().to_string();
    let rate = ["--rate", "100", "--seconds", "3", "--keys", "120", "--writes", "10", "--seed", "7", "--report", &report];
    let ran = load(&[&["--url", &one, "--url", &other], &rate[..]].concat()).await;
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(told.contains("120 products") && told.contains("reads that had to include a write"), "{told}");
    let page = std::fs::read_to_string(&report).expect("the report");
    assert!(page.contains("reads from the cache") && page.contains("% of the reads without a token"), "{page}");
}

#[tokio::test]
async fn a_load_on_nothing_says_so() {
    let ran = load(&["--url", "http://127.0.0.1:1", "--seconds", "1"]).await;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && said.contains("asking http://127.0.0.1:1/products"), "{said}");
    let ran = load(&["--writes", "60", "--lists", "50"]).await;
    assert!(String::from_utf8_lossy(&ran.stderr).contains("110 of a hundred"), "{ran:?}");
}
