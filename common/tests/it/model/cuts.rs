//! The histories notice each missing rule: every line of the scripts that ends in `-- rule: …` is taken out once.

use std::path::Path;

use proptest::strategy::{Strategy, ValueTree};
use stage::{Login, RuleCutter};

use super::{agree, intent, link, redis, runner};

/// Within so many histories a missing rule has to be noticed. Most are within ten.
const HISTORIES_MAX: u32 = 1000;

#[tokio::test]
async fn a_missing_rule_is_noticed() {
    let redis = redis().await;
    let url = redis.url(Login::Superuser);
    let rules = rules();
    assert!(rules.len() >= 12, "the scripts name only {rules:?}");
    let mut unnoticed = Vec::new();
    for rule in &rules {
        let cutter = RuleCutter::to(([127, 0, 0, 1], redis.port()).into(), &[rule]).await.expect("a cutter");
        let link = link(&cutter.before(&url)).await;
        assert_eq!(cutter.cut_count(), 1, "{rule:?} is one line");
        match noticed_after(&link).await {
            Some((histories, disagreement)) => println!("{rule}: noticed by history {histories}; {}", disagreement.gist()),
            None => unnoticed.push(rule),
        }
    }
    assert!(unnoticed.is_empty(), "no history notices that these are missing: {unnoticed:#?}");
}

/// How many histories it takes until Redis and the model disagree, and how they do.
async fn noticed_after(link: &freshline::coherence::Link) -> Option<(u32, agree::Disagreement)> {
    let (mut runner, histories) = (runner(HISTORIES_MAX, file!()), intent::histories(super::STEPS));
    for played in 1..=HISTORIES_MAX {
        let history = histories.new_tree(&mut runner).expect("a history").current();
        if let Err(disagreement) = agree::play(link, &history, &mut agree::Seen::new()).await {
            return Some((played, disagreement));
        }
    }
    None
}

/// Every rule that the scripts name.
fn rules() -> Vec<String> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/coherence/scripts");
    let files = std::fs::read_dir(&scripts).expect("the scripts' directory");
    let texts = files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("a script"));
    let mut rules: Vec<_> =
        texts.flat_map(|text| stage::rules_in(&text).into_iter().map(str::to_owned).collect::<Vec<_>>()).collect();
    rules.sort();
    rules
}
