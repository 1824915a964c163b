//! The server under those who ask too much, too slowly, or while it ends.

use axum::{Router, body::Body, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    task::JoinHandle,
};
use tower::Service;

use super::*;

const LIMITS: Limits = Limits {
    connections: 2,
    idle: Duration::from_secs(60),
    head: Duration::from_secs(60),
    stall: Duration::from_secs(60),
    lame_duck: Duration::ZERO,
    first_word: Duration::ZERO,
    grace: Duration::from_secs(60),
};

#[derive(Clone)]
struct App(Router);

impl Answers for App {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let Ok(response) = self.0.clone().call(request).await;
        response
    }

    fn drain(&self) {}
}

/// A server of its own on a port of its own.
struct Running {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(app: Router, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
        let task = tokio::spawn(serve(listener, None, App(app), limits, stop.clone()));
        Self { address, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.expect("a request sent");
}

/// The head and body of one answer, which ends in `body`.
async fn answer(stream: &mut TcpStream, body: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(body) {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.expect("an answer");
        assert!(read > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).expect("UTF-8"));
    }
    answer
}

/// An application whose answer waits until it is let go.
fn held() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, wait) = (Arc::clone(&entered), Arc::clone(&go));
    let handler = move || async move {
        enter.notify_one();
        wait.notified().await;
        "done"
    };
    (Router::new().route("/", get(handler)), entered, go)
}

#[tokio::test]
async fn a_request_under_way_is_answered_while_the_server_ends() {
    let (app, entered, go) = held();
    let server = Running::start(app, LIMITS).await;
    let mut stream = server.connect().await;
    ask(&mut stream).await;
    entered.notified().await;
    server.stop.cancel();
    go.notify_one();
    assert!(answer(&mut stream, "done").await.starts_with("HTTP/1.1 200"));
    server.end().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_keep_the_server_from_ending() {
    let server = Running::start(Router::new().route("/", get(|| async { "done" })), LIMITS).await;
    let mut stream = server.connect().await;
    ask(&mut stream).await;
    answer(&mut stream, "done").await;
    server.end().await;
    assert_eq!(stream.read(&mut [0; 16]).await.expect("an end"), 0);
}

#[tokio::test]
async fn a_connection_that_never_asks_is_closed() {
    let limits = Limits { idle: Duration::from_millis(20), ..LIMITS };
    let server = Running::start(Router::new(), limits).await;
    let mut silent = server.connect().await;
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.expect("an end");
    let mut slow = server.connect().await;
    slow.write_all(b"GET / HTT").await.expect("half a head");
    slow.read_to_end(&mut rest).await.expect("an end");
    server.end().await;
}

#[tokio::test]
async fn a_head_that_has_begun_comes_to_its_end_in_time_however_its_bytes_trickle() {
    let limits = Limits { head: Duration::from_millis(50), ..LIMITS };
    let server = Running::start(Router::new().route("/", get(|| async { "done" })), limits).await;
    let mut slow = server.connect().await;
    ask(&mut slow).await;
    answer(&mut slow, "done").await;
    // Between requests a connection may be idle for longer than a head may take.
    tokio::time::timeout(limits.head * 4, slow.read(&mut [0; 16])).await.expect_err("closed while it was idle");
    ask(&mut slow).await;
    answer(&mut slow, "done").await;
    let trickling = async {
        for byte in b"GET / HTTP/1.1\r\nhost: here\r\nx-more: ".iter().chain(std::iter::repeat(&b'x')) {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            let mut end = [0; 16];
            if tokio::time::timeout(Duration::from_millis(1), slow.read(&mut end)).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(limits.idle / 2, trickling).await.expect("closed long before it would be for idling");
    server.end().await;
}

#[tokio::test]
async fn a_caller_who_takes_nothing_of_his_answer_is_cut() {
    let limits = Limits { stall: Duration::from_millis(50), ..LIMITS };
    let (gone, is_gone) = tokio::sync::oneshot::channel::<()>();
    let gone = Arc::new(std::sync::Mutex::new(Some(gone)));
    // More than any buffer on the way takes; dropped when nobody is left to send it to.
    let endless = move || {
        let held = gone.lock().expect("whole").take();
        let chunks = futures::stream::repeat_with(move || {
            let _held = &held;
            Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 16 * 1024]))
        });
        async move { Body::from_stream(chunks) }
    };
    let server = Running::start(Router::new().route("/", get(endless)), limits).await;
    let mut greedy = server.connect().await;
    ask(&mut greedy).await;
    tokio::time::timeout(limits.idle / 2, is_gone).await.expect("cut").expect_err("nothing is sent");
    server.end().await;
}

#[tokio::test]
async fn a_connection_too_many_waits_until_another_ends() {
    let (app, entered, go) = held();
    let server = Running::start(app, Limits { connections: 1, ..LIMITS }).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    ask(&mut first).await;
    ask(&mut second).await;
    entered.notified().await;
    go.notify_one();
    answer(&mut first, "done").await;
    assert!(futures::poll!(std::pin::pin!(entered.notified())).is_pending(), "the second was let in beside the first");
    drop(first);
    entered.notified().await;
    go.notify_one();
    answer(&mut second, "done").await;
    server.end().await;
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let broken = || async {
        assert!(std::env::args().count() == 0, "boom");
        "never"
    };
    let app = Router::new().route("/", get(broken)).route("/fine", get(|| async { "done" }));
    let server = Running::start(app, LIMITS).await;
    let mut stream = server.connect().await;
    ask(&mut stream).await;
    assert_eq!(stream.read(&mut [0; 16]).await.expect("an end"), 0);
    let mut stream = server.connect().await;
    stream.write_all(b"GET /fine HTTP/1.1\r\nhost: here\r\n\r\n").await.expect("a request sent");
    assert!(answer(&mut stream, "done").await.starts_with("HTTP/1.1 200"));
    server.end().await;
}
