//! A private nats-server.

use async_nats::jetstream::{self, stream};
use async_nats::{ConnectErrorKind, ConnectOptions};
use futures::StreamExt;
use stage::servers::{Home, NATS_USER, Nats, NatsLogin, NatsOptions};

const STREAM: &str = "KEPT";

async fn start(options: NatsOptions) -> Nats {
    Nats::start(Home::scratch().expect("a scratch directory"), options).await.expect("nats-server starts")
}

async fn jetstream(nats: &Nats) -> jetstream::Context {
    jetstream::new(async_nats::connect(nats.url()).await.expect("a connection"))
}

async fn make_stream(nats: &Nats) {
    let config = stream::Config { name: STREAM.into(), subjects: vec!["kept.>".into()], ..Default::default() };
    jetstream(nats).await.create_stream(config).await.expect("a stream");
}

async fn publish(nats: &Nats, text: &str) {
    let context = jetstream(nats).await; // it is where the acknowledgement comes in
    let acknowledged = context.publish("kept.one", text.to_owned().into()).await.expect("it is sent");
    acknowledged.await.expect("it is acknowledged");
}

/// All that the stream holds.
async fn held(nats: &Nats) -> Vec<String> {
    let stream = jetstream(nats).await.get_stream(STREAM).await.expect("the stream is there");
    let count = usize::try_from(stream.cached_info().state.messages).expect("a small number");
    let consumer = stream.create_consumer(jetstream::consumer::pull::OrderedConfig::default()).await.expect("a consumer");
    let messages = consumer.messages().await.expect("messages").take(count);
    messages.map(|message| String::from_utf8(message.expect("a message").payload.to_vec()).expect("text")).collect().await
}

#[tokio::test]
async fn what_was_published_is_read_and_outlives_a_kill() {
    let nats = start(NatsOptions::default()).await;
    make_stream(&nats).await;
    publish(&nats, "before").await;
    let (url, pid) = (nats.url(), nats.pid().await);
    nats.restart().await.expect("it starts again");
    assert_eq!(nats.url(), url);
    assert_ne!(nats.pid().await, pid);
    publish(&nats, "after").await;
    assert_eq!(held(&nats).await, ["before", "after"]);
}

#[tokio::test]
async fn a_stream_comes_back_as_an_old_copy_has_it() {
    let nats = start(NatsOptions::default()).await;
    make_stream(&nats).await;
    publish(&nats, "old").await;
    let copy = nats.home().path().join("copy");
    nats.save_to(&copy).await.expect("it is copied");
    publish(&nats, "new").await;
    nats.restart_from(&copy).await.expect("it starts again");
    assert_eq!(held(&nats).await, ["old"]);
}

#[tokio::test]
async fn a_secret_is_asked_for_where_that_is_wanted() {
    for login in [NatsLogin::Password, NatsLogin::Token] {
        let nats = start(NatsOptions { login, ..NatsOptions::default() }).await;
        let known = match login {
            NatsLogin::Password => ConnectOptions::with_user_and_password(NATS_USER.into(), nats.secret().into()),
            _ => ConnectOptions::with_token(nats.secret().into()),
        };
        known.connect(nats.url()).await.expect("who has it comes in");
        let refused = async_nats::connect(nats.server()).await.expect_err("who does not show it stays out");
        assert_eq!(refused.kind(), ConnectErrorKind::AuthorizationViolation, "{login:?}: {refused}");
        assert!(nats.url().contains(nats.secret()));
    }
}

#[tokio::test]
async fn a_taken_port_is_given_up_for_another_and_nothing_is_left_of_a_dropped_server() {
    let first = start(NatsOptions::default()).await;
    let second = start(NatsOptions { port: Some(first.port()), ..NatsOptions::default() }).await;
    assert_ne!(second.port(), first.port());
    let (pid, home) = (second.pid().await.expect("it runs"), second.home().path().to_owned());
    drop(second);
    assert!(!std::fs::exists(format!("/proc/{pid}")).expect("a look at /proc"), "{pid} still runs");
    assert!(!home.exists(), "{} is still there", home.display());
}
