//! What is not ours, under our keys: always a miss, never an error, and mended by the next reader or the applier.

use freshline::{
    cache::{Cache, FillOutcome, Json, Loaded, Origin, ReadProof, Want},
    coherence::{Refusal, Tag},
};
use rstest::rstest;
use stage::until;

use super::rig::{Postgres, Rig, SOURCE, Told, assert_hit, key, read, snapshot, unfailing};

/// How the bytes of something of ours are spoilt.
#[derive(Debug, Clone, Copy)]
enum Spoilt {
    Text,
    Empty,
    Cut,
    CutInTheHead,
    FlippedBit,
    OtherFormat,
}

impl Spoilt {
    fn apply(self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Text => return b"not ours".to_vec(),
            Self::Empty => return Vec::new(),
            Self::Cut => bytes.truncate(bytes.len() - 1),
            Self::CutInTheHead => bytes.truncate(30),
            Self::FlippedBit => *bytes.last_mut().expect("some") ^= 1,
            Self::OtherFormat => bytes[0] = 2,
        }
        bytes
    }
}

#[rstest]
#[case(Spoilt::Text)]
#[case(Spoilt::Empty)]
#[case(Spoilt::Cut)]
#[case(Spoilt::CutInTheHead)]
#[case(Spoilt::FlippedBit)]
#[case(Spoilt::OtherFormat)]
#[tokio::test]
async fn a_spoilt_value_is_a_miss_and_is_replaced(#[case] spoilt: Spoilt) {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    read(&cache, &k, &postgres).await;
    let name = rig.stripes.value(&k);
    rig.put(&name, &spoilt.apply(rig.get(&name).await)).await;
    let found = read(&cache, &k, &postgres).await;
    assert_eq!((found.text(), found.refusal, found.fill), (Some("one"), Some(Refusal::Garbled), Some(FillOutcome::Filled)));
    assert_hit(&read(&cache, &k, &postgres).await, Some("one"));
}

/// Everything that a key of Redis can hold and that is not a string.
const OTHER_TYPES: [&[&str]; 5] =
    [&["HSET", "f", "v"], &["RPUSH", "v"], &["SADD", "v"], &["ZADD", "1", "v"], &["XADD", "*", "f", "v"]];

async fn put_other_type(rig: &Rig, name: &str, words: &[&str]) {
    rig.redis.run::<()>(&["DEL", name]).await.expect("removed");
    let words: Vec<_> = [words[0], name].iter().chain(&words[1..]).copied().collect();
    rig.redis.run::<redis::Value>(&words).await.expect("put");
}

#[tokio::test]
async fn another_type_under_a_value_is_a_miss_and_is_replaced() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    for words in OTHER_TYPES {
        put_other_type(&rig, &rig.stripes.value(&k), words).await;
        let found = read(&cache, &k, &postgres).await;
        assert_eq!((found.text(), found.refusal, found.fill), (Some("one"), Some(Refusal::Missing), Some(FillOutcome::Filled)));
        assert_hit(&read(&cache, &k, &postgres).await, Some("one"));
    }
}

#[tokio::test]
async fn garbage_under_a_lease_is_no_lease() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let cache = rig.cache();
    for (at, words) in OTHER_TYPES.into_iter().chain([["SET", "x"].as_slice()]).enumerate() {
        let k = key(&format!("rows:{at}"));
        put_other_type(&rig, &rig.stripes.lease(&k), words).await;
        assert_eq!(read(&cache, &k, &postgres).await.fill, Some(FillOutcome::Filled), "{words:?}");
    }
}

#[tokio::test]
async fn garbage_under_a_tag_empties_its_pages_and_is_replaced() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k, tags) = (rig.cache(), key("pages:1"), [Tag::new("rows:all")]);
    let page = async || unfailing(cache.get_tagged(&k, &tags, &Want::default(), || postgres.load()).await);
    assert_eq!(page().await.fill, Some(FillOutcome::Filled));
    for words in OTHER_TYPES.into_iter().chain([["SET", "x"].as_slice()]) {
        put_other_type(&rig, &rig.stripes.tag(&tags[0]), words).await;
        let found = page().await;
        assert_eq!((found.refusal, found.fill), (Some(Refusal::TagChanged), Some(FillOutcome::Filled)), "{words:?}");
        assert_hit(&page().await, Some("one"));
    }
}

/// Reads until the stripe, opened anew by its applier, serves.
async fn heals(rig: &Rig, cache: &Cache, postgres: &Postgres) {
    rig.redis.run::<()>(&["DEL", &rig.stripes.ctl(rig.stripes.of(""))]).await.expect("removed");
    rig.open_all().await;
    until("the cache serves again", async || read(cache, &key("rows:1"), postgres).await.origin == Origin::Redis).await;
}

#[tokio::test]
async fn garbage_under_the_control_record_closes_the_stripe() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    let name = rig.stripes.ctl(rig.stripes.of(""));
    read(&cache, &k, &postgres).await;
    for spoilt in [Spoilt::Text, Spoilt::Empty, Spoilt::CutInTheHead, Spoilt::OtherFormat] {
        rig.put(&name, &spoilt.apply(rig.get(&name).await)).await;
        let found = read(&cache, &k, &postgres).await;
        assert_eq!(
            (found.text(), found.refusal, found.fill),
            (Some("one"), Some(Refusal::Closed), Some(FillOutcome::Closed)),
            "{spoilt:?}"
        );
        heals(&rig, &cache, &postgres).await;
    }
    for words in OTHER_TYPES {
        put_other_type(&rig, &name, words).await;
        let found = read(&cache, &k, &postgres).await;
        assert_eq!((found.text(), found.refusal), (Some("one"), Some(Refusal::Closed)), "{words:?}");
        heals(&rig, &cache, &postgres).await;
    }
}

#[tokio::test]
async fn garbage_under_the_fences_lets_nothing_in() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("one"));
    let (cache, stripe) = (rig.cache(), rig.stripes.of(""));
    for (at, words) in OTHER_TYPES.into_iter().chain([["SET", "x"].as_slice()]).enumerate() {
        let k = key(&format!("rows:{at}-missing"));
        put_other_type(&rig, &rig.stripes.fences(stripe), words).await;
        let found = read(&cache, &k, &postgres).await;
        assert_eq!((found.text(), found.fill), (Some("one"), Some(FillOutcome::Closed)), "{words:?}");
        heals(&rig, &cache, &postgres).await;
    }
}

#[tokio::test]
async fn a_body_that_the_program_does_not_know_is_a_miss_and_is_replaced() {
    let (rig, postgres) = (Rig::open().await, Postgres::with("not json"));
    let (cache, k) = (rig.cache(), key("rows:1"));
    read(&cache, &k, &postgres).await;
    let load = async || {
        let value = Some(Json::new(vec![1, 2]).expect("has JSON"));
        Ok(Loaded { value, proof: ReadProof { snapshot: snapshot("200:200:"), source: Some(SOURCE) } })
    };
    let found = unfailing(cache.get(&k, &Want::default(), load).await);
    assert_eq!((found.refusal, found.fill), (Some(Refusal::Garbled), Some(FillOutcome::Filled)));
    let found = unfailing(cache.get::<Json<Vec<i32>>, _, _, _>(&k, &Want::default(), async || panic!("is cached")).await);
    assert_eq!(found.value.expect("there").into_value(), [1, 2]);
}
