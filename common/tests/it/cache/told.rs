//! What is told of reads: explanations and metrics.

use freshline::{
    cache::{FillOutcome, Want},
    coherence::Tag,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use super::rig::{Postgres, Rig, key, read, read_with, token, unfailing};

#[tokio::test]
async fn an_explanation_tells_how_a_miss_and_a_hit_came_about() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("page"));
    let (cache, tags) = (rig.cache(), [Tag::new("rows:all")]);
    let want = Want { explain: true, ..token(90) };
    let page = async || {
        let found = unfailing(cache.get_tagged(&key("pages:1"), &tags, &want, || postgres.load()).await);
        serde_json::to_value(found.explanation.expect("asked for")).expect("has JSON")
    };
    let generation = rig.generation(rig.stripes.of("")).await.expect("open").to_string();
    let names = |steps: &serde_json::Value| -> Vec<String> {
        steps.as_array().expect("steps").iter().map(|step| step["name"].as_str().expect("a name").to_owned()).collect()
    };

    let miss = page().await;
    assert_eq!(miss["key"], "pages:1");
    assert_eq!(
        (&miss["origin"], &miss["rule"], &miss["refused_first_by"]),
        (&json!("postgres"), &json!("missing"), &json!("missing"))
    );
    assert_eq!((&miss["lease"], &miss["fill"], &miss["entry"]), (&json!("granted"), &json!("filled"), &json!(null)));
    assert_eq!(miss["load"], json!({"snapshot": "200:200:", "source": "7/1/1"}));
    assert_eq!(miss["token"], "7/1/1:90:0/5A");
    assert_eq!(names(&miss["steps"]), ["look", "tag", "lease", "load", "fill"]);

    let hit = page().await;
    assert_eq!((&hit["origin"], &hit["rule"], &hit["refused_first_by"]), (&json!("redis"), &json!("read-time"), &json!(null)));
    assert_eq!((&hit["lease"], &hit["fill"], &hit["load"]), (&json!(null), &json!(null), &json!(null)));
    assert_eq!((&hit["entry"]["snapshot"], &hit["entry"]["body_len"]), (&json!("200:200:"), &json!(4)));
    assert_eq!((&hit["entry"]["generation"], &hit["control"]["generation"]), (&json!(generation), &json!(generation)));
    assert_eq!((&hit["control"]["position"], &hit["control"]["source"]), (&json!("0/64"), &json!("7/1/1")));
    assert_eq!(hit["control"]["run"], hit["redis"]["run"]);
    let tag = &hit["tags"][0];
    assert_eq!((&tag["name"], &tag["version_then"]), (&json!("rows:all"), &tag["version_now"]));
    assert_eq!(names(&hit["steps"]), ["look"]);
    assert!(hit["took_us"].as_u64() >= hit["steps"][0]["took_us"].as_u64());
}

#[tokio::test]
async fn nobody_explains_what_nobody_asked_for() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    for _ in 0..2 {
        assert_eq!(read(&rig.cache(), &key("rows:1"), &postgres).await.explanation, None);
    }
}

#[tokio::test]
async fn reads_leases_loads_and_fills_are_counted_by_what_became_of_them() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let cache = metrics::with_local_recorder(&recorder, || rig.cache());
    let counted = |line: &str| assert!(handle.render().lines().any(|there| there == line), "no {line} in {}", handle.render());

    read(&cache, &key("rows:1"), &postgres).await;
    read(&cache, &key("rows:1"), &postgres).await;
    read(&cache, &key("rows:1"), &postgres).await;
    counted("freshline_reads_total{outcome=\"hit\"} 2");
    counted("freshline_reads_total{outcome=\"missing\"} 1");
    counted("freshline_reads_total{outcome=\"garbled\"} 0");
    counted("freshline_leases_total{outcome=\"granted\"} 1");
    counted("freshline_loads_total{outcome=\"loaded\"} 1");
    counted("freshline_load_seconds_count 1");
    counted("freshline_fills_total{outcome=\"filled\"} 1");

    rig.put(&rig.stripes.value(&key("rows:1")), b"garbage").await;
    rig.change_key(250, &key("rows:1")).await;
    rig.put(&rig.stripes.value(&key("rows:1")), b"garbage").await;
    let found = read_with(&cache, &key("rows:1"), &Want::default(), &postgres).await;
    assert_eq!(found.fill, Some(FillOutcome::Old));
    counted("freshline_reads_total{outcome=\"garbled\"} 1");
    counted("freshline_fills_total{outcome=\"old\"} 1");

    rig.lease_to_another(&key("rows:2")).await;
    let impatient = freshline::cache::Settings { busy_wait: std::time::Duration::from_millis(10), ..super::rig::settings() };
    let cache = metrics::with_local_recorder(&recorder, || rig.cache_with(impatient));
    read(&cache, &key("rows:2"), &postgres).await;
    counted("freshline_leases_total{outcome=\"busy\"} 1");
    counted("freshline_fills_total{outcome=\"busy\"} 1");
}
