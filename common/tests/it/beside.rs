//! What lies in Redis beside the protocol's keys: the registry of processes and the trail. Nothing depends on them, and nothing that
//! somebody else wrote there is taken for ours.

use std::time::Duration;

use freshline::{
    coherence::{Link, Links, Lsn, Stripes, Xid},
    registry::{Process, Registration, Role, processes},
    trail::{self, Effect, Filter, Moments, Record, Told},
};
use stage::{Login, Stage};
use tokio_util::sync::CancellationToken;

fn client(stage: &Stage) -> redis::Client {
    redis::Client::open(stage.redis_url(Login::Superuser)).expect("a URL")
}

async fn link(stage: &Stage) -> Link {
    Link::connect(&client(stage), Duration::from_secs(5)).await.expect("Redis answers")
}

fn stripes(stage: &Stage) -> Stripes {
    Stripes::new(stage.name(), 1).expect("a layout")
}

fn removed(name: String, xid: u64) -> Record {
    let at_us = |n: u64| i64::try_from(xid + n).ok().filter(|_| xid.is_multiple_of(n));
    let times = Moments { committed_us: at_us(2), received_us: at_us(3), applied_us: at_us(5) };
    let by = xid.is_multiple_of(7).then(|| "one".into());
    Record { effect: Effect::Removed, name, xid: Xid::new(xid), end: Lsn::new(xid * 8), skipped: xid % 2, by, times }
}

#[tokio::test]
async fn the_trail_is_read_as_it_was_written_and_stays_short() {
    let stage = Stage::new().await;
    let (link, stripes) = (link(&stage).await, stripes(&stage));
    assert_eq!(trail::last(&link, &stripes).await.expect("an answer"), "0");
    let records: Vec<Record> = (1..=2_000).map(|n| removed(format!("products:{n}"), n)).collect();
    let mut pipeline = redis::Pipeline::new();
    for record in &records {
        pipeline.add_command(trail::add(&stripes, 100, record));
    }
    link.call_all(&pipeline, records.len()).await.expect("written");

    let told = trail::follow(&link, &stripes, "0", Duration::from_millis(1)).await.expect("an answer");
    assert!((100..=400).contains(&told.len()), "about a hundred are kept: {}", told.len());
    let kept: Vec<&Record> = told.iter().map(|told| &told.record).collect();
    assert_eq!(kept, records[records.len() - told.len()..].iter().collect::<Vec<_>>());
    assert_eq!(trail::last(&link, &stripes).await.expect("an answer"), told[told.len() - 1].id);
    let after = trail::follow(&link, &stripes, &told[told.len() - 1].id, Duration::from_millis(1)).await.expect("an answer");
    assert_eq!(after, [], "nothing comes, and that is no error");

    let first = trail::first(&link, &stripes).await.expect("an answer");
    assert_eq!(first.as_deref(), Some(told[0].id.as_str()));
    let page = trail::page(&link, &stripes, &told[9].id).await.expect("an answer");
    assert_eq!((&page.told, &page.last, page.is_last), (&told[10..].to_vec(), &told[told.len() - 1].id, true));
}

#[tokio::test]
async fn what_a_version_before_wrote_is_read_without_what_it_did_not_know() {
    let stage = Stage::new().await;
    let (link, stripes) = (link(&stage).await, stripes(&stage));
    let fields = ["effect", "replaced", "name", "products:1", "xid", "7", "end", "0/38", "skipped", "2"];
    let key = format!("{{{}}}trail", stage.name());
    let old = [&["XADD", key.as_str(), "5-1"], fields.as_slice()].concat();
    stage.redis().run::<String>(&old).await.expect("written");
    let told = trail::follow(&link, &stripes, "0", Duration::from_millis(1)).await.expect("an answer");
    let record =
        Record { effect: Effect::Replaced, by: None, times: Moments::default(), skipped: 2, ..removed("products:1".into(), 7) };
    assert_eq!(told, [Told { id: "5-1".into(), at_ms: 5, record }]);
    let json = r#"{"id":"5-1","at_ms":5,"effect":"replaced","name":"products:1","xid":7,"end":"0/38","skipped":2,"by":null,"#;
    let times = r#""committed_us":null,"received_us":null,"applied_us":null}"#;
    assert_eq!(serde_json::to_string(&told[0]).expect("JSON"), format!("{json}{times}"));
}

#[test]
fn who_wants_one_key_hears_of_it_and_of_what_is_done_to_everything() {
    let rules = freshline::catalog::rules().expect("the catalogue's");
    let (of_one, of_other) = (removed("products:1".into(), 7), removed("orders:1".into(), 7));
    let bump = Record { effect: Effect::Bump, ..removed(String::new(), 7) };
    let products = Filter::Table(freshline::rules::TableName::parse("public.products").expect("a name"));
    for (filter, one, other) in
        [(Filter::All, true, true), (Filter::Name("products:1".into()), true, false), (products, true, false)]
    {
        let taken = [&of_one, &of_other, &bump].map(|record| filter.takes(&rules, record));
        assert_eq!(taken, [one, other, true], "{filter:?}");
    }
}

#[tokio::test]
async fn what_another_version_wrote_is_left_out() {
    let stage = Stage::new().await;
    let (link, stripes, name) = (link(&stage).await, stripes(&stage), stage.name());
    let (trail, index) = (format!("{{{name}}}trail"), format!("{{{name}}}processes"));
    let redis = stage.redis();
    redis.run::<String>(&["XADD", &trail, "*", "effect", "exploded", "name", "x"]).await.expect("written");
    redis.run::<String>(&["XADD", &trail, "*", "something", "else"]).await.expect("written");
    link.call::<String>(&trail::add(&stripes, 100, &removed("products:1".to_owned(), 7))).await.expect("written");
    let told = trail::follow(&link, &stripes, "0", Duration::from_millis(1)).await.expect("an answer");
    assert_eq!(told.iter().map(|told| told.record.name.as_str()).collect::<Vec<_>>(), ["products:1"]);

    redis.run::<u64>(&["ZADD", &index, "99999999999999", "later", "99999999999999", "gone"]).await.expect("written");
    redis.run::<String>(&["SET", &format!("{{{name}}}process:later"), "{\"role\":\"dreamer\"}"]).await.expect("written");
    assert_eq!(processes(&link, &stripes).await.expect("an answer"), []);
}

#[tokio::test]
async fn a_process_is_registered_again_after_redis_lost_it_and_not_after_its_end() {
    let stage = Stage::new().await;
    let (stripes, stop) = (stripes(&stage), CancellationToken::new());
    let (links, keeper) = Links::new(client(&stage), Duration::from_secs(1));
    let process = Process { source: Some("postgres".into()), ..Process::this(Role::Invalidator) };
    let registration = Registration::new(links, &stripes, process.clone()).run(stop.clone());
    let (keep, end) = (CancellationToken::new(), stop.clone());
    let look = async {
        let registered = async || -> Option<Vec<Process>> { processes(&link(&stage).await, &stripes).await.ok() };
        stage.until("it is registered", async || registered().await.is_some_and(|found| found == [process.clone()])).await;
        stage.redis().run::<()>(&["FLUSHALL"]).await.expect("flushed");
        stage.until("it is registered again", async || registered().await.is_some_and(|found| found == [process.clone()])).await;
        end.cancel();
    };
    let ended = async {
        tokio::join!(registration, look);
        keep.cancel();
    };
    tokio::join!(keeper.run(keep.clone()), ended);
    assert_eq!(processes(&link(&stage).await, &stripes).await.expect("an answer"), []);
}
