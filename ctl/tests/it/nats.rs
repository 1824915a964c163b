//! `doctor` and `status` where changes come through the relay and NATS JetStream.

use std::time::Duration;

use async_nats::jetstream::{self, stream::DiscardPolicy};
use stage::{
    Login, Process, Stage,
    servers::{Home, Nats, NatsLogin, NatsOptions},
};

use crate::house::{House, Ran, assert_found, ended, findings, launch};

/// A house whose changes come through a relay and a NATS of its own.
struct Relayed {
    house: House,
    nats: Nats,
    relay: Process,
}

impl Relayed {
    async fn new() -> Self {
        let (stage, nats) = (Stage::new().await, nats(NatsOptions::default()).await);
        let source = source(&stage, &nats);
        let relay = stage.launch("freshline-relay", Login::Invalidator).variables(source.iter().cloned());
        let mut relay = Process::start(relay.variable("FRESHLINE_RELAY_ADDRESS", "127.0.0.1:0")).expect("the relay starts");
        relay.line("publishing what Postgres changes").await;
        Self { house: House::by(stage, &source).await, nats, relay }
    }

    async fn doctor(&self) -> Ran {
        self.house.run(&["doctor", "--json"]).await
    }

    async fn stream(&self) -> (jetstream::Context, jetstream::stream::Config) {
        let context = jetstream::new(async_nats::connect(self.nats.url()).await.expect("NATS answers"));
        let stream = context.get_stream("FRESHLINE").await.expect("the relay's stream");
        let config = stream.cached_info().config.clone();
        (context, config)
    }
}

async fn nats(options: NatsOptions) -> Nats {
    Nats::start(Home::scratch().expect("a scratch directory"), options).await.expect("NATS starts")
}

fn source(stage: &Stage, nats: &Nats) -> [(&'static str, String); 3] {
    [
        ("FRESHLINE_SOURCE", "nats".to_owned()),
        ("FRESHLINE_NATS_URL", nats.server()),
        ("FRESHLINE_RELAY_SLOT", format!("{}_relay", stage.name())),
    ]
}

#[tokio::test]
async fn a_sound_nats_has_nothing_to_mend_and_its_place_is_shown() {
    let r = Relayed::new().await;
    let ran = r.doctor().await;
    assert_eq!(findings(&ran, "problem"), Vec::<String>::new());
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert_found(&ran, "ok", &["nats-server 2."]);
    assert_found(&ran, "ok", &["FRESHLINE has messages"]);
    assert_found(&ran, "ok", &["not acknowledged by freshline"]);
    assert_found(&ran, "ok", &[&format!("{}_relay is read by process", r.house.stage.name())]);

    let told = r.house.run(&["status", "--json"]).await.json();
    let stream = &told["broker"]["nats"];
    assert!(told["source"] == "nats" && stream["name"] == "FRESHLINE" && stream["last"].as_u64() > Some(0), "{told}");
    assert!(stream["consumer"]["acknowledged"].is_u64() && told["freshness_by_age"].is_null(), "{told}");
    let text = r.house.run(&["status"]).await.text;
    assert!(text.contains("stream") && text.contains("waiting") && text.contains("nothing older than"), "{text}");
}

#[tokio::test]
async fn a_nats_stream_that_would_lose_changes_is_found() {
    let r = Relayed::new().await;
    let (context, sound) = r.stream().await;
    let unsound = jetstream::stream::Config {
        discard: DiscardPolicy::New,
        max_messages_per_subject: 10,
        max_age: Duration::ZERO,
        duplicate_window: Duration::from_secs(1),
        ..sound.clone()
    };
    context.update_stream(unsound).await.expect("changed");
    let ran = r.doctor().await;
    assert_eq!(ran.code, Some(1), "{}", ran.text);
    assert_found(&ran, "problem", &["its discard has to be old", "nats stream edit FRESHLINE"]);
    assert_found(&ran, "problem", &["must not limit the messages of a subject"]);
    assert_found(&ran, "note", &["nothing bounds the stream", "--max-age"]);
    assert_found(&ran, "note", &["sent again for 1 s only", "--dupe-window"]);
    context.update_stream(sound).await.expect("changed back");
    assert_eq!(findings(&r.doctor().await, "problem"), Vec::<String>::new());
}

#[tokio::test]
async fn a_nats_consumer_that_does_not_keep_up_is_found() {
    let mut r = Relayed::new().await;
    r.house.invalidator.stop(stage::WAIT_MAX).await.expect("it ends");
    let (context, sound) = r.stream().await;
    r.house
        .stage
        .sql("insert into products (sku, name, category, price) select n, 'a', 'c', 1 from generate_series(1, 500) n")
        .await;
    let waiting = async || {
        let told = r.house.run(&["status", "--json"]).await.json()["broker"]["nats"].clone();
        told["last"].as_u64() >= told["consumer"]["acknowledged"].as_u64().map(|acknowledged| acknowledged + 500)
    };
    r.house.stage.until("they wait in the stream", waiting).await;
    let narrow = jetstream::stream::Config { max_messages: 600, ..sound };
    context.update_stream(narrow).await.expect("changed");
    assert_found(&r.doctor().await, "problem", &["% of what the stream keeps", "see why the invalidator does not keep up"]);

    let stream = context.get_stream("FRESHLINE").await.expect("the stream");
    stream.purge().await.expect("purged");
    let ran = r.doctor().await;
    assert!(
        findings(&ran, "problem").iter().any(|found| found.contains("lag") || found.contains("no invalidator")),
        "{}",
        ran.text
    );
    stream.delete_consumer("freshline").await.expect("deleted");
    assert_found(&r.doctor().await, "note", &["there is no consumer freshline yet"]);
    context.delete_stream("FRESHLINE").await.expect("deleted");
    r.relay.kill().await.expect("killed");
    let ran = r.doctor().await;
    assert_found(&ran, "problem", &["there is no stream FRESHLINE", "start freshline-relay"]);
    assert_found(&ran, "problem", &["nobody reads from slot", "_relay", "start freshline-relay"]);
}

#[tokio::test]
async fn a_nats_that_cannot_be_used_is_told_with_its_setting() {
    let house = House::new().await;
    let seen = async |server: &str, more: &[(&'static str, &str)]| {
        let launch =
            launch(&house.stage, &["doctor", "--json"]).variables([("FRESHLINE_SOURCE", "nats"), ("FRESHLINE_NATS_URL", server)]);
        ended(launch.variables(more.iter().copied())).await
    };
    let away = seen("nats://127.0.0.1:1", &[]).await;
    assert_found(&away, "unseen", &["no connection to NATS at nats://127.0.0.1:1", "FRESHLINE_NATS_URL"]);
    assert_found(&away, "problem", &["FRESHLINE_SOURCE is nats here, and an invalidator reads from postgres"]);
    assert_eq!(away.code, Some(2));

    let closed = nats(NatsOptions { login: NatsLogin::Token, ..NatsOptions::default() }).await;
    let refused = seen(&closed.server(), &[("FRESHLINE_NATS_TOKEN", "hunter2")]).await;
    assert_found(&refused, "unseen", &["does not let this user in", "FRESHLINE_NATS_TOKEN"]);
    assert!(!refused.text.contains("hunter2"), "{}", refused.text);
    assert_found(
        &seen(&closed.server(), &[("FRESHLINE_NATS_TOKEN", closed.secret())]).await,
        "problem",
        &["there is no stream FRESHLINE"],
    );

    // An account for which it was not switched on.
    let plain = ["accounts { PLAIN { users: [ { user: u, password: p } ] } }".to_owned()];
    let plain = nats(NatsOptions { lines: plain.to_vec(), ..NatsOptions::default() }).await;
    let user = [("FRESHLINE_NATS_USER", "u"), ("FRESHLINE_NATS_PASSWORD", "p")];
    assert_found(&seen(&plain.server(), &user).await, "problem", &["JetStream is not enabled", "store_dir"]);
}
