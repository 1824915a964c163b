//! README's first minute: its commands are run as they stand there, and answer what it says.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stage::servers::Home;
use stage::{Launch, Process, workspace_binary};

/// Everything is started well within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(180);

/// A command of README with what is shown of its answer.
struct Shown {
    command: String,
    answer: Vec<String>,
}

/// The commands between the two marks, each with the lines under it.
fn first_minute() -> Vec<Shown> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("README");
    let minute = readme
        .split_once("<!-- first minute")
        .and_then(|(_, rest)| rest.split_once("<!-- end of the first minute"))
        .expect("marks")
        .0;
    let mut shown: Vec<Shown> = Vec::new();
    for block in minute.split("```").filter_map(|block| block.strip_prefix("console\n")) {
        for line in block.lines().filter(|line| !line.is_empty()) {
            match (line.strip_prefix("$ "), shown.last_mut()) {
                (Some(command), _) => shown.push(Shown { command: command.to_owned(), answer: Vec::new() }),
                (None, Some(last)) => last.answer.push(line.to_owned()),
                (None, None) => panic!("an answer without a command: {line}"),
            }
        }
    }
    shown
}

/// Whether a line of an answer is what README shows: `…` stands for anything.
fn matches(shown: &str, line: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[tokio::test]
async fn the_first_minute_goes_as_the_readme_says() {
    let scratch = Home::scratch().expect("a directory");
    let home = scratch.path().join("home");
    let programs = workspace_binary("freshline-api").expect("built").parent().expect("a directory").to_owned();
    let words = ["up", "--home", home.to_str().expect("text"), "--programs", programs.to_str().expect("text")];
    let launch = words.into_iter().fold(Launch::new("up", env!("CARGO_BIN_EXE_xtask")).ended_in_order(), Launch::argument);
    let mut up = Process::start(launch).expect("up starts");
    up.line_within(PATIENCE, "the warm run is over").await;

    let status = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["status", "--json", "--home", words[2]]).output().expect("status");
    let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let address = |name: &str| {
        let members = status["processes"].as_array().expect("a list");
        let member = members.iter().find(|member| member["name"] == name).expect("a replica");
        member["address"].as_str().expect("an address").to_owned()
    };
    let here = [
        ("127.0.0.1:8080".to_owned(), address("api-1")),
        ("127.0.0.1:8081".to_owned(), address("api-2")),
        (".freshline/".to_owned(), format!("{}/", home.display())),
    ];
    let minute = first_minute();
    assert_eq!(minute.len(), 4, "README shows two reads, a change and a read");
    for Shown { command, answer } in minute {
        let command = here.iter().fold(command, |command, (written, real)| command.replace(written, real));
        let ran = Command::new("sh").args(["-c", &format!("{command} 2>&1")]).output().expect("a shell");
        let told = String::from_utf8_lossy(&ran.stdout);
        for shown in answer {
            let found = told.lines().any(|line| matches(&shown, line.trim_end()));
            assert!(found, "{command}\nanswers, where README shows {shown:?}:\n{told}");
        }
    }
    up.terminate().expect("it is told to stop");
    up.wait(PATIENCE).await.expect("it stops");
}
