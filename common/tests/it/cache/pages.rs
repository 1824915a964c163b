//! Values that depend on tags.

use bytes::Bytes;
use freshline::{
    cache::{Cache, FillOutcome, Found, Want},
    coherence::{Refusal, Tag},
};
use rstest::rstest;

use super::rig::{Postgres, Rig, SOURCE, Told, assert_hit, key, token, unfailing};

fn tags() -> [Tag; 3] {
    ["rows:a", "rows:b", "rows:c"].map(Tag::new)
}

async fn page(cache: &Cache, postgres: &Postgres) -> Found<Bytes> {
    page_with(cache, &Want::default(), postgres).await
}

async fn page_with(cache: &Cache, want: &Want, postgres: &Postgres) -> Found<Bytes> {
    unfailing(cache.get_tagged(&key("pages:1"), &tags(), want, || postgres.load()).await)
}

/// Each stripe has a generation of its own.
async fn open(stripes: u16) -> (Rig, Cache, Postgres) {
    let rig = Rig::closed(stripes).await;
    rig.open_all().await;
    let cache = rig.cache();
    (rig, cache, Postgres::with("page"))
}

#[rstest]
#[case::one_stripe(1)]
#[case::a_stripe_for_each(64)]
#[tokio::test]
async fn a_change_of_any_of_its_tags_empties_a_page(#[case] stripes: u16) {
    let (rig, cache, postgres) = open(stripes).await;
    let used: std::collections::BTreeSet<_> = tags().iter().map(|tag| rig.stripes.of(tag.as_str())).collect();
    assert_eq!(used.len(), if stripes == 1 { 1 } else { 3 }, "choose other names");
    assert_eq!(page(&cache, &postgres).await.fill, Some(FillOutcome::Filled));
    for (xid, tag) in (110..).zip(tags()) {
        assert_hit(&page(&cache, &postgres).await, Some("page"));
        rig.change_tag(xid, &tag).await;
        let found = page(&cache, &postgres).await;
        assert_eq!((found.refusal, found.fill), (Some(Refusal::TagChanged), Some(FillOutcome::Filled)));
    }
    assert_hit(&page(&cache, &postgres).await, Some("page"));
}

#[tokio::test]
async fn a_change_while_a_page_is_read_makes_it_unservable() {
    let (rig, cache, postgres) = open(1).await;
    let load = async || {
        let loaded = postgres.load().await;
        rig.change_tag(110, &tags()[2]).await;
        loaded
    };
    unfailing(cache.get_tagged::<Bytes, _, _, _>(&key("pages:1"), &tags(), &Want::default(), load).await);
    assert_eq!(page(&cache, &postgres).await.refusal, Some(Refusal::TagChanged));
}

#[tokio::test]
async fn a_change_of_a_tag_in_the_gap_keeps_out_pages_that_do_not_see_it() {
    let (rig, cache, postgres) = open(64).await;
    rig.change_tag(250, &tags()[1]).await;
    let found = page(&cache, &postgres).await;
    assert_eq!((found.text(), found.fill), (Some("page"), Some(FillOutcome::Old)));
    // The lease was given back: the next reader need not wait.
    postgres.prove("251:251:", Some(SOURCE));
    assert_eq!(page(&cache, &postgres).await.fill, Some(FillOutcome::Filled));
    assert_hit(&page(&cache, &postgres).await, Some("page"));
}

#[tokio::test]
async fn a_page_must_have_seen_what_the_stripes_of_its_tags_have_published() {
    let (rig, cache, postgres) = open(64).await;
    rig.publish_in([rig.stripes.of(tags()[1].as_str())], "300:300:", 100, None).await;
    assert_eq!(page(&cache, &postgres).await.fill, Some(FillOutcome::Old));
    postgres.prove("300:300:", Some(SOURCE));
    assert_eq!(page(&cache, &postgres).await.fill, Some(FillOutcome::Filled));
}

#[tokio::test]
async fn a_page_of_a_stripe_that_is_closed_is_neither_served_nor_filled() {
    let (rig, cache, postgres) = open(64).await;
    assert_eq!(page(&cache, &postgres).await.fill, Some(FillOutcome::Filled));
    let stripe = rig.stripes.of(tags()[1].as_str());
    rig.redis.run::<()>(&["DEL", &rig.stripes.ctl(stripe)]).await.expect("removed");
    let found = page(&cache, &postgres).await;
    assert_eq!((found.text(), found.refusal, found.fill), (Some("page"), Some(Refusal::Closed), Some(FillOutcome::Closed)));
}

#[tokio::test]
async fn a_generation_that_begins_in_a_tags_stripe_empties_the_page() {
    let (rig, cache, postgres) = open(64).await;
    page(&cache, &postgres).await;
    let link = rig.applier().await;
    rig.open_as(&link, rig.stripes.of(tags()[1].as_str()), SOURCE).await;
    assert_eq!(page(&cache, &postgres).await.refusal, Some(Refusal::TagChanged));
}

#[tokio::test]
async fn a_token_is_served_by_position_only_if_every_stripe_has_passed_it() {
    let (rig, cache, postgres) = open(64).await;
    postgres.prove("110:210:150", Some(SOURCE));
    page(&cache, &postgres).await;
    assert_hit(&page_with(&cache, &token(100), &postgres).await, Some("page"));
    rig.publish("100:100:", 150, None).await;
    assert_hit(&page_with(&cache, &token(150), &postgres).await, Some("page"));
    assert_eq!(page_with(&cache, &token(151), &postgres).await.text(), Some("page"));
}

#[tokio::test]
async fn a_tag_outlives_the_pages_that_depend_on_it() {
    let (rig, cache, postgres) = open(1).await;
    page(&cache, &postgres).await;
    let ttl_ms = async |name: String| rig.redis.run::<i64>(&["PTTL", &name]).await.expect("a key");
    for tag in tags() {
        assert!(ttl_ms(rig.stripes.tag(&tag)).await > ttl_ms(rig.stripes.value(&key("pages:1"))).await);
    }
}
