//! The live feed: what is heard, by whom, from where on, and when it ends.

use std::{collections::VecDeque, time::Duration};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use stage::{Fault, Login, Stage, WAIT_MAX, until};
use tokio::{
    io::AsyncWriteExt,
    net::TcpSocket,
    time::{Instant, timeout},
};

use crate::{
    cached::Town,
    support::{Answer, Api, launch},
};

/// One who listens.
struct Listener {
    response: Response,
    text: String,
    heard: VecDeque<Heard>,
}

/// One event.
#[derive(Debug, Clone)]
struct Heard {
    event: String,
    id: Option<String>,
    data: Value,
}

impl Listener {
    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new(), heard: VecDeque::new() }
    }

    async fn to(api: &Api, query: &str) -> Self {
        Self::of(api.request(Method::GET, &format!("/events{query}"))).await
    }

    async fn again(api: &Api, query: &str, last: &str) -> Self {
        Self::of(api.request(Method::GET, &format!("/events{query}")).header("last-event-id", last)).await
    }

    /// Whatever comes next; `None` at the end.
    async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Some(heard);
            }
            let chunk = timeout(WAIT_MAX, self.response.chunk()).await.expect("something comes").expect("a whole answer")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                self.heard.extend(parsed(event));
                self.text = rest.to_owned();
            }
        }
    }

    /// The next like this.
    async fn awaits(&mut self, what: &str, is_it: impl Fn(&Heard) -> bool) -> Heard {
        let coming = async {
            loop {
                let heard = self.next().await.expect("it goes on");
                if is_it(&heard) {
                    return heard;
                }
            }
        };
        timeout(WAIT_MAX, coming).await.unwrap_or_else(|_| panic!("{what} does not come"))
    }

    /// The next of this name.
    async fn hears(&mut self, event: &str) -> Heard {
        self.awaits(event, |heard| heard.event == event).await
    }

    /// The next that tells of this effect.
    async fn sees(&mut self, effect: &str) -> Heard {
        self.awaits(effect, |heard| heard.event == "done" && heard.data["effect"] == effect).await
    }
}

fn parsed(event: &str) -> Option<Heard> {
    let field =
        |name: &str| event.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim_start().to_owned()));
    let data = serde_json::from_str(&field("data")?).expect("JSON");
    Some(Heard { event: field("event").expect("a name"), id: field("id"), data })
}

fn key_of(path: &str) -> String {
    path.replace("/products/", "products:")
}

fn invalidator_in(told: &Value) -> Option<&Value> {
    told["processes"].as_array().expect("processes").iter().find(|process| process["role"] == "invalidator")
}

#[tokio::test]
async fn a_change_is_heard_with_its_times_and_then_that_everybody_sees_it() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    let (_, elsewhere) = town.cached("B-1").await;
    let mut one = Listener::to(&town.one, &format!("?key={}&processes=true", key_of(&path))).await;
    let mut all = Listener::to(&town.other, "?table=public.products").await;
    let is_told = |heard: &Heard| heard.event == "processes" && invalidator_in(&heard.data).is_some();
    let processes = one.awaits("an invalidator", is_told).await.data;
    let xid: i64 =
        town.stage.value("update products set price = 11 where sku = 'A-1' returning pg_current_xact_id()::text::int8").await;
    town.stage.sql("update products set price = 12 where sku = 'B-1'").await;

    let replaced = one.sees("replaced").await;
    let told = &replaced.data;
    assert_eq!((&told["name"], &told["xid"]), (&json!(key_of(&path)), &json!(xid)), "{told}");
    assert_eq!((&told["by"], replaced.id.as_deref()), (&invalidator_in(&processes).expect("one")["id"], told["id"].as_str()));
    let time = |told: &Value, name: &str| told[name].as_i64().unwrap_or_else(|| panic!("no {name}: {told}"));
    assert!(time(told, "received_us") <= time(told, "applied_us"), "{told}");
    let now: i64 = town.stage.value("select (extract(epoch from clock_timestamp()) * 1000000)::int8").await;
    assert!((0..60_000_000).contains(&(now - time(told, "committed_us"))), "{told}");
    assert!(told["end"].as_str().is_some_and(|end| end.contains('/')), "{told}");

    // That it was made is told as well, and that may come as late.
    let visible = loop {
        let visible = one.sees("visible").await.data;
        if visible["xid"] == told["xid"] {
            break visible;
        }
    };
    assert_eq!((&visible["name"], &visible["end"]), (&told["name"], &Value::Null), "{visible}");
    assert!(time(&visible, "applied_us") >= time(told, "applied_us"), "{visible}");
    let (mut names, both) = (Vec::new(), [&path, &elsewhere].map(|path| json!(key_of(path))));
    while !both.iter().all(|name| names.contains(name)) {
        names.push(all.hears("done").await.data["name"].clone());
    }
    town.stage.sql("truncate products").await;
    one.sees("bump").await;
    all.sees("bump").await;
}

#[tokio::test]
async fn who_comes_back_hears_what_it_missed_and_nothing_twice() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    let query = format!("?key={}", key_of(&path));
    let mut before = Listener::to(&town.one, &query).await;
    town.stage.sql("update products set price = 11").await;
    let seen = before.sees("replaced").await;
    town.stage.sql("update products set price = 12").await;
    before.sees("replaced").await;
    // More than a page of what is not asked for lies between.
    tell(&mut connected(&town.stage).await, &town.stage, &["another"; 1_100]).await;
    town.stage.sql("update products set price = 13").await;
    before.sees("replaced").await;
    drop(before);
    let last = seen.id.expect("an id");
    let mut after = Listener::again(&town.other, &query, &last).await;
    let (second, third) = (after.sees("replaced").await, after.sees("replaced").await);
    town.stage.sql("update products set price = 14").await;
    let fourth = after.sees("replaced").await;
    let xids = [&seen.data, &second.data, &third.data, &fourth.data].map(|told| told["xid"].as_u64().expect("a transaction"));
    assert!(xids.is_sorted() && xids[0] < xids[1] && xids[1] < xids[2] && xids[2] < xids[3], "{xids:?}");

    let mut late = Listener::again(&town.one, &query, "1-1").await;
    let lost = late.next().await.expect("an event");
    assert_eq!((lost.event.as_str(), &lost.data), ("lost", &json!({"count": null})), "the trail does not reach back to 1970");
    // All that there is, and that may begin with the row's own making.
    while late.sees("replaced").await.id.as_deref() != Some(last.as_str()) {}
}

async fn connected(stage: &Stage) -> MultiplexedConnection {
    let redis = redis::Client::open(stage.redis_url(Login::Superuser)).expect("a URL");
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(WAIT_MAX));
    redis.get_multiplexed_async_connection_with_config(&patient).await.expect("Redis answers")
}

/// Writes into the trail that these names were touched, as a version would that knew no times.
async fn tell(redis: &mut MultiplexedConnection, stage: &Stage, names: &[&str]) {
    let key = format!("{{{}}}trail", stage.name());
    let mut commands = redis::pipe();
    for name in names {
        commands.cmd("XADD").arg(&key).arg("MAXLEN").arg(2_000).arg("*");
        for (field, value) in [("effect", "tag"), ("name", name), ("xid", ""), ("end", ""), ("skipped", "0")] {
            commands.arg(field).arg(value);
        }
    }
    commands.exec_async(redis).await.expect("written");
}

#[tokio::test]
async fn the_processes_are_told_each_second_on_a_connection_that_outlives_every_limit_for_idle_ones() {
    let town = Town::new().await;
    let limits = ["IDLE", "HEAD", "STALL"].map(|limit| (format!("FRESHLINE_API_{limit}_MS"), "1000"));
    let api = Api::start(launch(&town.stage).variables(limits)).await;
    let (_, path) = town.cached("A-1").await;
    let mut listener = Listener::to(&api, "?processes=true").await;
    for _ in 0..3 {
        api.get(&path).await;
    }
    town.stage.sql("update products set price = 11").await;
    let (began, mut times) = (Instant::now(), 0);
    loop {
        let told = listener.hears("processes").await.data;
        times += 1;
        let processes = told["processes"].as_array().expect("processes");
        assert!(began.elapsed() < WAIT_MAX, "three reads were hits, and a change was applied: {told}");
        let Some(own) = processes.iter().find(|process| process["id"] == told["by"]) else {
            continue; // who looks registers each second, too, and may look before it has
        };
        assert_eq!((&own["role"], &own["address"]), (&json!("api"), &json!(api.address())));
        assert!(told["at_us"].as_i64() > Some(0) && own["figures"]["over_ms"].is_u64(), "{told}");
        let Some(invalidator) = invalidator_in(&told) else { continue };
        let (own, other) = (&own["figures"], &invalidator["figures"]);
        let is_counted =
            (&own["requests"]["total"], &own["reads"]["hits"], &own["is_ready"]) == (&json!(3), &json!(3), &json!(true));
        if times >= 4 && is_counted && other["changes"]["total"].as_u64() > Some(0) && other["stripes_closed"] == 0 {
            break;
        }
    }
    let metrics = api.get("/metrics").await.body;
    let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    assert_eq!(value(r#"freshline_http_requests_total{method="GET",route="/events",status="200"}"#), Some(1.0), "{metrics}");
    let took = value(r#"freshline_http_request_seconds_sum{route="/events"}"#).expect("it is timed");
    assert!(took < 3.0, "the time to its head alone: {took} s");
}

#[tokio::test]
async fn a_listener_does_not_hold_up_the_end_and_its_answer_is_whole() {
    let mut town = Town::new().await;
    let mut listener = Listener::to(&town.one, "?processes=true").await;
    listener.hears("processes").await;
    let began = Instant::now();
    town.one.process.terminate().expect("it runs");
    while listener.next().await.is_some() {}
    assert!(town.one.process.wait(Duration::from_secs(20)).await.expect("it ends").success(), "{}", town.one.process.tail());
    assert!(began.elapsed() < Duration::from_secs(8), "before its grace is over: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_listener_that_takes_nothing_is_cut_and_the_others_hear_on() {
    let town = Town::new().await;
    let patience = launch(&town.stage).variable("FRESHLINE_API_STALL_MS", "300").variable("FRESHLINE_LOG", "info,freshline=debug");
    let mut api = Api::start(patience).await;
    let mut other = Listener::to(&api, "?key=the-last").await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut deaf = socket.connect(api.address().parse().expect("an address")).await.expect("it is accepted");
    deaf.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it asks");
    deaf.readable().await.expect("it is answered");
    let writing = async {
        let (mut redis, long) = (connected(&town.stage).await, "x".repeat(20_000));
        loop {
            tell(&mut redis, &town.stage, &[long.as_str(); 10]).await;
        }
    };
    tokio::select! {
        line = api.process.line("a connection ended early") => assert!(line.contains("writing"), "{line}"),
        () = writing => {}
    }
    tell(&mut connected(&town.stage).await, &town.stage, &["the-last"]).await;
    assert_eq!(other.sees("tag").await.data["name"], "the-last");
}

#[tokio::test]
async fn there_are_so_many_listeners_and_no_more() {
    let town = Town::new().await;
    let mut listeners = futures::future::join_all((0..256).map(|_| Listener::to(&town.one, "?key=a"))).await;
    let full = timeout(WAIT_MAX, town.one.get("/events")).await.expect("a whole answer");
    full.problem(503, "too-many-listeners");
    assert_eq!(full.header("retry-after"), "1");
    drop(listeners.pop());
    let place = until("the place is free", async || {
        let response = town.one.request(Method::GET, "/events").send().await.expect("an answer");
        response.status() == StatusCode::OK
    });
    place.await;
    drop(listeners);
}

#[tokio::test]
async fn without_redis_listeners_are_told_so_and_hear_on_when_it_is_back() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    let proxy = town.stage.redis_proxy().await;
    let url = proxy.before(&town.stage.redis_url(Login::Api));
    let api = Api::start(launch(&town.stage).variable("FRESHLINE_REDIS_URL", url)).await;
    let mut listener = Listener::to(&api, &format!("?processes=true&key={}", key_of(&path))).await;
    listener.hears("processes").await;
    proxy.set(Fault::Refuse);
    assert!(listener.hears("unseen").await.data["why"].as_str().is_some_and(|why| why.contains("Redis")));
    let refused = until("newcomers are told", async || {
        let response = api.request(Method::GET, "/events").send().await.expect("an answer");
        if response.status() == StatusCode::OK { None } else { Some(Answer::read(response).await) }
    });
    refused.await.problem(503, "cache-unavailable");
    town.stage.sql("update products set price = 11").await;
    proxy.set(Fault::None);
    listener.sees("replaced").await;
    listener.hears("processes").await;
}

#[tokio::test]
async fn what_cannot_be_listened_to_is_refused_by_name() {
    let town = Town::new().await;
    for wrong in ["key=", "table=products", "table=public.orders", "processes=1", "key=a&table=public.products", "keys=a"] {
        let problem = town.one.get(&format!("/events?{wrong}")).await.problem(400, "bad-request");
        assert!(problem["errors"][0]["parameter"].is_string(), "{problem}");
    }
    let long = "x".repeat(513);
    town.one.get(&format!("/events?key={long}")).await.problem(400, "bad-request");
    for wrong in ["1", "a-b", "1-2-3", "-1", "99999999999999999999-0"] {
        let answer = Answer::of(town.one.request(Method::GET, "/events").header("last-event-id", wrong)).await;
        assert_eq!(answer.problem(400, "bad-request")["errors"][0]["header"], "Last-Event-ID", "{wrong}");
    }
    assert_eq!(town.one.send(Method::POST, "/events", "{}").await.status, StatusCode::METHOD_NOT_ALLOWED);
    let coded =
        town.one.request(Method::GET, "/events").header("accept-encoding", "gzip, br, zstd").send().await.expect("an answer");
    assert!(coded.headers().get("content-encoding").is_none() && coded.headers()["cache-control"] == "no-store", "{coded:?}");
}
