//! `dead-letters`: a message that could not be used is found, shown, tried again and dropped.

use freshline::dead_letters::{DeadLetters, Letter, RAW_LEN_MAX};
use stage::{Login, Stage};

use crate::house::run;

async fn written(stage: &Stage, letters: &[Letter<'_>]) {
    let writer = DeadLetters::new(stage.database_url(Login::Invalidator).parse().expect("a URL"));
    for letter in letters {
        writer.write(letter).await.expect("the invalidator's role may write");
    }
}

const LETTER: Letter<'_> = Letter {
    source: "nats",
    place: "stream FRESHLINE seq 42",
    subject: Some("freshline.public.products"),
    table: Some("public.products"),
    reason: "expected value at line 1",
    raw: b"\x00{nonsense",
};

#[tokio::test]
async fn a_letter_is_listed_shown_marked_and_dropped() {
    let stage = Stage::new().await;
    written(&stage, &[LETTER]).await;
    let listed = run(&stage, &["dead-letters", "list", "--json"]).await.json();
    let id = listed[0]["id"].to_string();
    assert_eq!((listed[0]["state"].as_str(), listed[0]["place"].as_str()), (Some("new"), Some(LETTER.place)), "{listed}");
    for said in [LETTER.place, LETTER.reason, "new"] {
        let text = run(&stage, &["dead-letters", "list"]).await.text;
        assert!(text.contains(said), "not said: {said}\n{text}");
    }
    let shown = run(&stage, &["dead-letters", "show", &id]).await.text;
    assert!(shown.contains("00 7b 6e 6f 6e") && shown.contains(".{nonsense") && shown.contains("public.products"), "{shown}");
    let raw = run(&stage, &["dead-letters", "show", &id, "--raw"]).await.text;
    assert_eq!(raw.as_bytes(), LETTER.raw);

    let retried = run(&stage, &["dead-letters", "retry", &id]).await;
    assert_eq!((retried.code, retried.text.as_str()), (Some(0), "1 to be tried again"));
    assert_eq!(run(&stage, &["dead-letters", "list", "--state", "retry", "--json"]).await.json()[0]["id"].to_string(), id);
    let dropped = run(&stage, &["dead-letters", "drop", &id, "4711"]).await;
    assert_eq!(dropped.code, Some(1), "one of them is not there: {}", dropped.text);
    assert!(dropped.text.contains("1 dropped") && dropped.text.contains("there is no dead letter 4711"), "{}", dropped.text);
    assert_eq!(run(&stage, &["dead-letters", "list"]).await.text, "none");
}

#[tokio::test]
async fn a_letter_that_is_met_again_is_kept_once_and_one_too_long_is_cut() {
    let stage = Stage::new().await;
    let long = vec![b'x'; RAW_LEN_MAX + 7];
    let too_long = Letter { place: "topic p0@17", source: "kafka", raw: &long, reason: "too long\0", ..LETTER };
    // The same place with other bytes: a stream that was made anew counts from 1 again.
    written(&stage, &[LETTER, LETTER, Letter { raw: b"other", ..LETTER }, too_long]).await;
    let listed = run(&stage, &["dead-letters", "list", "--json"]).await.json();
    let facts: Vec<_> = listed
        .as_array()
        .expect("letters")
        .iter()
        .map(|letter| (letter["place"].as_str().unwrap_or_default(), letter["attempts"].as_i64(), letter["truncated"].as_bool()))
        .collect();
    let place = LETTER.place;
    assert_eq!(facts, [("topic p0@17", Some(1), Some(true)), (place, Some(1), Some(false)), (place, Some(2), Some(false))]);
    assert_eq!(listed[0]["raw_len"], RAW_LEN_MAX);
    assert_eq!(run(&stage, &["dead-letters", "retry", "--all"]).await.text, "3 to be tried again");
    assert_eq!(run(&stage, &["dead-letters", "drop", "--all"]).await.text, "3 dropped");
}

#[tokio::test]
async fn a_database_without_the_table_is_told_what_makes_it() {
    let stage = Stage::new().await;
    stage.sql("drop table freshline.dead_letters").await;
    let ran = run(&stage, &["dead-letters", "list"]).await;
    assert!(ran.code == Some(2) && ran.text.contains("0007_dead_letters.sql"), "{}", ran.text);
}
