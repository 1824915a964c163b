//! Callers who do not take what they have asked for, over real sockets.

use std::time::Duration;

use reqwest::StatusCode;
use stage::Launch;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, interval, timeout},
};

use crate::support::Api;

/// How long an answer may find no taker here.
const STALL: Duration = Duration::from_millis(500);

/// Far longer, and far shorter than a connection may be idle.
const LONG: Duration = Duration::from_secs(30);

/// The largest answer that there is, asked for so often that no kernel holds all of it.
const PATH: &str = "/docs/swagger-ui-bundle.js";
const BODY: &[u8] = include_bytes!("../../../web/vendor/swagger-ui/swagger-ui-bundle.js");
const TIMES: usize = 40;

/// One that lets in a single caller at a time.
async fn api() -> Api {
    let launch = Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api"))
        .variable("FRESHLINE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
        .variable("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/")
        .variable("FRESHLINE_API_CONNECTIONS_MAX", "1")
        .variable("FRESHLINE_API_STALL_MS", STALL.as_millis().to_string());
    Api::start(launch).await
}

/// A caller who has asked for more than he takes.
async fn greedy(api: &Api) -> TcpStream {
    let mut stream = TcpStream::connect(api.address()).await.expect("a connection");
    let one = format!("GET {PATH} HTTP/1.1\r\nhost: here\r\n");
    let asked = format!("{one}\r\n").repeat(TIMES - 1) + &format!("{one}connection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.expect("asked");
    stream
}

/// Takes all that comes, some at each tick; how many bytes came.
async fn taken(stream: &mut TcpStream, pace: Duration) -> usize {
    let (mut buffer, mut pace, mut count) = (vec![0; 64 * 1024], interval(pace), 0);
    loop {
        pace.tick().await;
        for _ in 0..32 {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return count,
                Ok(read) => count += read,
            }
        }
    }
}

#[tokio::test]
async fn a_caller_who_takes_nothing_of_his_answer_makes_room_for_the_next() {
    let api = api().await;
    let mut greedy = greedy(&api).await;
    let begun = Instant::now();
    let next = timeout(LONG, api.get("/livez")).await.expect("he is cut");
    assert_eq!(next.status, StatusCode::OK);
    assert!(begun.elapsed() >= STALL, "cut after {:?}", begun.elapsed());
    let count = taken(&mut greedy, Duration::from_millis(1)).await;
    assert!(count < BODY.len() * TIMES, "he was given all {count} bytes");
}

#[tokio::test]
async fn a_caller_who_is_slow_and_takes_all_of_it_is_given_all_of_it() {
    let api = api().await;
    let mut slow = greedy(&api).await;
    let begun = Instant::now();
    let count = timeout(LONG * 2, taken(&mut slow, STALL / 5)).await.expect("an end");
    assert!(begun.elapsed() > STALL * 2, "he was not slow: {:?}", begun.elapsed());
    assert!(count > BODY.len() * TIMES, "cut after {count} bytes");
}
