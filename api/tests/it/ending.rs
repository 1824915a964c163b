//! How the API ends, and how it refuses to begin.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use reqwest::{Method, StatusCode};
use stage::{Launch, Process, Stage, until};

use crate::support::{Api, launch};

/// Callers at a time.
const CALLERS: usize = 16;

#[tokio::test]
async fn sigterm_under_load_fails_no_request() {
    let stage = Stage::new().await;
    let mut api = Api::on(&stage).await;
    let product = api.made("A-1", "10").await;
    let path = format!("/products/{}", product["id"].as_str().expect("an id"));
    let (answered, is_ending) = (AtomicU64::new(0), AtomicBool::new(false));

    let call = async |method: Method, body: &str| loop {
        let request = api.request(method.clone(), &path).header("content-type", "application/json").body(body.to_owned());
        match request.send().await {
            Ok(response) => {
                let status = response.status();
                let body = response.text().await;
                assert!(status == StatusCode::OK && body.is_ok(), "{status} {body:?}");
                answered.fetch_add(1, Relaxed);
            }
            // Nobody listens any more: a balancer would have gone elsewhere, and nothing of the request had been sent.
            Err(error) if error.is_connect() && is_ending.load(Relaxed) => return,
            Err(error) => panic!("a request failed: {error:?}"),
        }
    };
    let callers = futures::future::join_all((0..CALLERS).map(|n| match n % 4 {
        0 => call(Method::PATCH, r#"{"stock_quantity":1}"#),
        _ => call(Method::GET, ""),
    }));
    let ending = async {
        until("some load", async || answered.load(Relaxed) > 200).await;
        is_ending.store(true, Relaxed);
        nix::sys::signal::kill(pid(&api.process), nix::sys::signal::Signal::SIGTERM).expect("it runs");
    };
    futures::join!(callers, ending);
    let status = api.process.wait(Duration::from_secs(20)).await.expect("it ends");
    assert!(status.success(), "{}", api.process.tail());
    assert!(answered.into_inner() > 200);
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_process_ends() {
    let stage = Stage::new().await;
    // No lame duck: the port is closed long before the request is done.
    let patient = launch(&stage).variable("FRESHLINE_API_STATEMENT_MS", "30000").variable("FRESHLINE_API_LAME_DUCK_MS", "0");
    let mut api = Api::start(patient.variable("FRESHLINE_GRACE_MS", "60000")).await;
    let path = format!("/products/{}", api.made("A-1", "10").await["id"].as_str().expect("an id"));
    let mut holder = stage.pool().begin().await.expect("a transaction");
    sqlx::query("select from products for update").execute(&mut *holder).await.expect("a lock");
    let writing = api.send(Method::PATCH, &path, r#"{"price":2}"#);
    let ending = async {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        until("the write waits", async || stage.value::<i64>(waiting).await > 0).await;
        nix::sys::signal::kill(pid(&api.process), nix::sys::signal::Signal::SIGTERM).expect("it runs");
        until("the port is closed", async || tokio::net::TcpStream::connect(api.address()).await.is_err()).await;
        holder.commit().await.expect("the lock goes");
    };
    let (answer, ()) = futures::join!(writing, ending);
    assert_eq!((answer.status, answer.header("connection")), (StatusCode::OK, "close"), "{answer:?}");
    let status = api.process.wait(Duration::from_secs(20)).await.expect("it ends");
    assert!(status.success(), "{}", api.process.tail());
}

fn pid(process: &Process) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(i32::try_from(process.pid()).expect("a pid"))
}

#[tokio::test]
async fn one_that_is_ending_says_so_and_still_answers() {
    let launch = Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api"))
        .variable("FRESHLINE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
        .variable("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/")
        .variable("FRESHLINE_API_LAME_DUCK_MS", "50000")
        .variable("FRESHLINE_GRACE_MS", "60000");
    let mut api = Api::start(launch).await;
    until("it hears signals", async || api.get("/livez").await.status == StatusCode::OK).await;
    api.process.terminate().expect("it runs");
    let ending = until("it says that it ends", async || {
        let answer = api.get("/readyz?verbose").await;
        answer.body.contains("it was asked to end").then_some(answer)
    });
    let ending = ending.await;
    assert_eq!(ending.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ending.header("connection"), "close");
    assert_eq!(api.get("/livez").await.status, StatusCode::OK);
    api.process.kill().await.expect("it is gone");
}

#[tokio::test]
async fn wrong_settings_are_all_told_before_anything_is_bound() {
    let launch = Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api"))
        .variable("FRESHLINE_DATABASE_URL", "mysql://x")
        .variable("FRESHLINE_API_ADDRESS", "8080")
        .variable("FRESHLINE_API_IDLE_MS", "75s")
        .variable("FRESHLINE_API_BODY_MAXBYTES", "1")
        .variable("FRESHLINE_API_STATEMENT_MS", "0");
    let mut process = Process::start(launch).expect("it starts");
    let status = process.wait(Duration::from_secs(10)).await.expect("it ends");
    assert_eq!(status.code(), Some(2));
    let told = process.lines().join("\n");
    for part in [
        "FRESHLINE_DATABASE_URL: does not begin with postgres://",
        "FRESHLINE_REDIS_URL: is not set",
        "FRESHLINE_API_ADDRESS=\"8080\"",
        "FRESHLINE_API_IDLE_MS=\"75s\": is not a whole number of milliseconds",
        "FRESHLINE_API_STATEMENT_MS=\"0\": is not between 10 and 600000",
        "FRESHLINE_API_BODY_MAXBYTES: is no setting of any process. Write FRESHLINE_API_BODY_MAX_BYTES",
    ] {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_setting() {
    let api = Api::alone().await;
    let launch = Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api"))
        .variable("FRESHLINE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
        .variable("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/")
        .variable("FRESHLINE_API_ADDRESS", api.address());
    let mut second = Process::start(launch).expect("it starts");
    let status = second.wait(Duration::from_secs(10)).await.expect("it ends");
    assert_eq!(status.code(), Some(1));
    let told = second.lines().join("\n");
    assert!(told.contains("FRESHLINE_API_ADDRESS") && told.contains(api.address()), "{told}");
}

#[tokio::test]
async fn settings_are_listed_on_request() {
    let launch = Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api")).argument("--settings");
    let mut process = Process::start(launch).expect("it starts");
    assert!(process.wait(Duration::from_secs(10)).await.expect("it ends").success());
    let table = process.lines().join("\n");
    assert!(table.starts_with("| variable |") && table.contains("| `FRESHLINE_API_LAME_DUCK_MS` |"), "{table}");
}

#[tokio::test]
async fn a_lame_duck_has_to_end_within_the_grace() {
    let launch = Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api"))
        .variable("FRESHLINE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
        .variable("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/")
        .variable("FRESHLINE_API_LAME_DUCK_MS", "10000");
    let mut process = Process::start(launch).expect("it starts");
    assert_eq!(process.wait(Duration::from_secs(10)).await.expect("it ends").code(), Some(2));
    let told = process.lines().join("\n");
    assert!(told.contains("FRESHLINE_API_LAME_DUCK_MS=\"10000\": is not below FRESHLINE_GRACE_MS"), "{told}");
}
