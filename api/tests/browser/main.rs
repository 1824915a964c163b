//! The page at `/` as people see it: a real browser, the whole system behind it, and what is shown compared with SQL and with Redis.

mod orders;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the other binaries, which use the rest")]
mod support;
mod system;

use std::{path::Path, time::Duration};

use stage::servers::Browser;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{ChildStdin, Command},
    time::timeout,
};

use system::System;

/// How long all of it may take: several times what it does on two busy cores.
const LASTS_MAX: Duration = Duration::from_secs(600);

/// The variable that names the directory that pictures of the page are written to; unset, none are.
const PICTURES: &str = "PAGE_PICTURES";

/// What begins a line by which the tests ask for something; any other line is theirs to say.
const ORDER: char = '\u{1}';

#[test]
fn the_page_has_the_types_that_it_says_in_a_browser() {
    let browser = Browser::find().expect("a browser and its tools");
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/tsconfig.json");
    if let Err(wrong) = browser.check_types(&project) {
        panic!("{wrong:#}");
    }
}

#[tokio::test]
async fn the_page_shows_what_is_true_in_a_browser() {
    let browser = Browser::find().expect("a browser and its tools");
    let mut system = System::new().await;
    let mut tests = Command::new(&browser.node);
    tests.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/all.js"));
    tests.env("STAGE", system.told().to_string()).env("MODULES", &browser.modules).env("CHROMIUM", &browser.chromium);
    if let Some(pictures) = std::env::var_os(PICTURES) {
        tests.env("PICTURES", pictures);
    }
    tests.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut tests = tests.spawn().expect("Node can be started");
    let mut answers = tests.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(tests.stdout.take().expect("a pipe")).lines();
    let all = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            match line.strip_prefix(ORDER) {
                Some(order) => answer(&mut system, order, &mut answers).await,
                None => println!("{line}"),
            }
        }
        tests.wait().await.expect("it ends")
    };
    let ended = timeout(LASTS_MAX, all).await.expect("the tests in the browser come to an end");
    assert!(ended.success(), "some tests in the browser failed: they are named above");
}

/// Carries an order out, and answers with what came of it.
async fn answer(system: &mut System, order: &str, answers: &mut ChildStdin) {
    let answer = orders::carry_out(system, order).await;
    answers.write_all(format!("{answer}\n").as_bytes()).await.expect("the tests listen");
}
