//! What HTTP asks of any answer: methods, media types, sizes, paths; and the pages for operators.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use stage::until;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Answer, Api};

const ID: &str = "0190b5a0-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_method_that_is_not_taken_is_told_which_are() {
    let api = Api::alone().await;
    let product = format!("/products/{ID}");
    for (method, path, allow) in [
        (Method::DELETE, "/products", "GET,HEAD,POST"),
        (Method::PUT, "/products", "GET,HEAD,POST"),
        (Method::POST, &product, "GET,HEAD,PUT,PATCH,DELETE"),
        (Method::OPTIONS, &product, "GET,HEAD,PUT,PATCH,DELETE"),
        (Method::POST, "/products/batch", "GET,HEAD"),
        (Method::DELETE, "/products/batch", "GET,HEAD"),
        (Method::POST, "/livez", "GET,HEAD"),
        (Method::POST, "/metrics", "GET,HEAD"),
    ] {
        let answer = api.send(method.clone(), path, "{}").await;
        answer.problem(405, "method-not-allowed");
        let mut allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        let mut expected: Vec<_> = allow.split(',').collect();
        allowed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(allowed, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_nowhere_is_told_so() {
    let api = Api::alone().await;
    for path in
        ["/web/nothing.js", "/products/", &format!("/products/{ID}/parts"), "/product", "/readyz/x", "//products", "/products%2F"]
    {
        api.get(path).await.problem(404, "no-such-route");
    }
}

#[tokio::test]
async fn a_body_of_another_type_is_told_which_are_taken() {
    let api = Api::alone().await;
    let product = format!("/products/{ID}");
    for (method, path, media_type, header, taken) in [
        (Method::POST, "/products", Some("text/plain"), "accept-post", "application/json"),
        (Method::POST, "/products", None, "accept-post", "application/json"),
        (Method::POST, "/products", Some("application/x-www-form-urlencoded"), "accept-post", "application/json"),
        (Method::POST, "/products", Some("application/json; charset=latin1"), "accept-post", "application/json"),
        (Method::PUT, &product, Some("application/merge-patch+json"), "accept-post", "application/json"),
        (
            Method::PATCH,
            &product,
            Some("application/json-patch+json"),
            "accept-patch",
            "application/merge-patch+json, application/json",
        ),
    ] {
        let mut request = api.request(method, path).body("{}");
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        let answer = Answer::of(request).await;
        let problem = answer.problem(415, "unsupported-media-type");
        assert_eq!(problem["errors"][0]["header"], "Content-Type");
        assert_eq!(answer.header(header), taken);
    }
    let packed =
        api.request(Method::POST, "/products").header("content-type", "application/json").header("content-encoding", "gzip");
    let answer = Answer::of(packed.body("{}")).await;
    assert_eq!(answer.problem(415, "unsupported-media-type")["errors"][0]["header"], "Content-Encoding");
    assert_eq!(answer.header("accept-encoding"), "identity");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_announced_or_not() {
    let api = Api::alone().await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(300_000));
    api.send(Method::POST, "/products", &large).await.problem(413, "body-too-large");

    // In chunks: its size is told by nobody.
    let mut raw = TcpStream::connect(api.address()).await.expect("a connection");
    raw.write_all(b"POST /products HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .expect("sent");
    let chunk = format!("{:x}\r\n{}\r\n", 10_000, "x".repeat(10_000));
    for _ in 0..40 {
        if raw.write_all(chunk.as_bytes()).await.is_err() {
            break; // it has heard enough
        }
    }
    let mut answer = [0; 12];
    raw.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");

    // One who asks first is told before the body is sent.
    let mut raw = TcpStream::connect(api.address()).await.expect("a connection");
    raw.write_all(b"POST /products HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 300000\r\nexpect: 100-continue\r\n\r\n")
        .await
        .expect("sent");
    raw.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let launch = stage::Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api"))
        .variable("FRESHLINE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
        .variable("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/")
        .variable("FRESHLINE_API_BODY_MS", "100");
    let api = Api::start(launch).await;
    let mut raw = TcpStream::connect(api.address()).await.expect("a connection");
    raw.write_all(b"POST /products HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{")
        .await
        .expect("sent");
    let mut answer = [0; 12];
    raw.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let api = Api::alone().await;
    let (get, head) = (api.get("/nowhere").await, Answer::of(api.request(Method::HEAD, "/nowhere")).await);
    assert_eq!((get.status, head.status, head.body.as_str()), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, ""));
    let head = Answer::of(api.request(Method::HEAD, "/livez")).await;
    assert_eq!(head.status, StatusCode::OK);
}

#[tokio::test]
async fn connections_are_bounded_and_idle_ones_make_room() {
    let launch = stage::Launch::new("freshline-api", env!("CARGO_BIN_EXE_freshline-api"))
        .variable("FRESHLINE_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
        .variable("FRESHLINE_REDIS_URL", "redis://127.0.0.1:1/")
        .variable("FRESHLINE_API_CONNECTIONS_MAX", "2")
        .variable("FRESHLINE_API_IDLE_MS", "500");
    let api = Api::start(launch).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        idle.push(TcpStream::connect(api.address()).await.expect("a connection"));
    }
    let begun = std::time::Instant::now();
    assert_eq!(api.get("/livez").await.status, StatusCode::OK);
    assert!(begun.elapsed() > Duration::from_millis(300), "a third connection was served beside two idle ones");
}

#[tokio::test]
async fn operators_see_life_readiness_and_metrics() {
    let api = Api::alone().await;
    assert_eq!(api.get("/livez").await.status, StatusCode::OK);
    let unready = until("the first look at the servers", async || {
        let answer = api.get("/readyz?verbose").await;
        answer.body.contains("neither answers").then_some(answer)
    });
    let unready = unready.await;
    assert_eq!(unready.status, StatusCode::SERVICE_UNAVAILABLE, "{unready:?}");
    assert!(unready.body.contains("FAILS Redis or Postgres"), "{unready:?}");
    api.get("/readyz?verbose&verbose").await.problem(400, "bad-request");

    api.get("/products/42").await.problem(400, "bad-request");
    let metrics = api.get("/metrics").await;
    let counted = r#"freshline_http_requests_total{method="GET",route="/products/{id}",status="400"} 1"#;
    assert!(metrics.body.contains(counted), "{}", metrics.body);
    assert!(metrics.body.contains(r#"freshline_http_request_seconds_count{route="/products/{id}"} 1"#), "{}", metrics.body);
}

#[tokio::test]
async fn odd_requests_are_answered_as_well() {
    let api = Api::alone().await;
    for (request, status) in [
        ("CONNECT example:443 HTTP/1.1\r\nhost: example\r\n\r\n", "404"),
        ("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", "404"),
        ("GET /products/%zz HTTP/1.1\r\nhost: x\r\n\r\n", "400"),
        ("GET /livez HTTP/1.0\r\n\r\n", "200"),
        ("GET http://elsewhere/livez HTTP/1.1\r\nhost: x\r\n\r\n", "200"),
        ("BREW /products HTTP/1.1\r\nhost: x\r\n\r\n", "405"),
        ("not http at all\r\n\r\n", "400"),
    ] {
        let mut raw = TcpStream::connect(api.address()).await.expect("a connection");
        raw.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = [0; 12];
        raw.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&String::from_utf8_lossy(&answer)[9..], status, "{request}");
    }
    assert_eq!(api.get("/livez").await.status, StatusCode::OK, "none of them took the process along");
}

/// The limit that `docs/http.md` tells of. Where hyper comes to say more, that page has to go.
#[tokio::test]
async fn a_head_that_cannot_be_read_is_answered_with_its_status_alone_and_the_connection_closed() {
    let api = Api::alone().await;
    for (request, status) in [
        ("not http at all\r\n\r\n".to_owned(), "400 Bad Request"),
        (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(65_600)), "414 URI Too Long"),
        (format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(300_000)), "431 Request Header Fields Too Large"),
    ] {
        let mut raw = TcpStream::connect(api.address()).await.expect("a connection");
        // It may have heard enough before all is sent.
        let sent = raw.write_all(request.as_bytes()).await;
        let mut answer = String::new();
        if raw.read_to_string(&mut answer).await.is_err() {
            assert!(sent.is_err() || !answer.is_empty(), "{status}");
        }
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{status}: {answer:?}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")) && body.is_empty(), "{status}: {answer}");
        assert!(head.contains("connection: close") && !head.contains("x-request-id"), "{answer}");
    }
    assert_eq!(api.get("/livez").await.status, StatusCode::OK);
}
