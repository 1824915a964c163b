//! A page of the documentation, whose commands are run as they stand there, and answer what it says.
//!
//! What follows the mark `<!-- run` is run, up to `<!-- end`: blocks of `console` in one shell, `sql` by psql in the database that the page calls `$BLOG`, and
//! `toml` into the file that the line above names. `…` in an answer stands for anything. Commands of cargo that build are left out.

use std::{path::Path, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::Value;
use stage::{Launch, Process, servers::Home, workspace_binary};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Everything is started, and each command has ended, well within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the shell says after each command.
const OVER: &str = "that was the command";

/// A part of a page that is run.
pub enum Step {
    /// A command, and lines of its answer, in their order.
    Command(String, Vec<String>),
    /// Statements for psql.
    Sql(String),
    /// A file by name.
    File(String, String),
}

/// The parts of a page, by its path in the repository.
pub fn steps(path: &str) -> Vec<Step> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect("the page");
    let (_, run) = page.split_once("<!-- run").expect("the mark before what is run");
    let run = run.split_once("<!-- end").map_or(run, |(run, _)| run);
    let mut steps = Vec::new();
    let mut parts = run.split("```");
    while let (Some(prose), Some(block)) = (parts.next(), parts.next()) {
        let (kind, text) = block.split_once('\n').expect("a block of lines");
        match kind {
            "console" => steps.extend(commands(text)),
            "sql" => steps.push(Step::Sql(text.to_owned())),
            "toml" => steps.push(Step::File(named_last(prose), text.to_owned())),
            _ => {}
        }
    }
    steps
}

fn commands(block: &str) -> Vec<Step> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((_, answer))) => answer.push(line.to_owned()),
            (None, None) => panic!("an answer without a command: {line}"),
        }
    }
    commands.into_iter().map(|(command, answer)| Step::Command(command, answer)).collect()
}

/// The last thing in backquotes.
fn named_last(prose: &str) -> String {
    let mut quoted = prose.rsplit('`');
    quoted.next();
    quoted.next().expect("a file's name in backquotes above its text").to_owned()
}

/// A shell in a process group of its own, so that what it left in the background ends with it, also where a test fails.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // Nothing is left to be told where the group is gone.
            killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
        }
    }
}

/// What `up` has started in a directory of its own, and a shell beside it.
pub struct Beside {
    up: Process,
    shell: Shell,
    words: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// What a page writes, and what it is here.
    here: Vec<(&'static str, String)>,
    /// The URL of the server for a superuser.
    database: String,
    scratch: Home,
}

impl Beside {
    /// Everything is up, and the warm run is over.
    pub async fn up() -> Self {
        let scratch = Home::scratch().expect("a directory");
        let home = scratch.path().join("home").to_str().expect("text").to_owned();
        let programs = workspace_binary("freshline-api").expect("built").parent().expect("a directory").to_owned();
        let programs = programs.to_str().expect("text").to_owned();
        let words = ["up", "--home", &home, "--programs", &programs];
        let launch = words.into_iter().fold(Launch::new("up", env!("CARGO_BIN_EXE_xtask")).ended_in_order(), Launch::argument);
        let mut up = Process::start(launch).expect("up starts");
        up.line_within(PATIENCE, "the warm run is over").await;

        let xtask = env!("CARGO_BIN_EXE_xtask");
        let status = std::process::Command::new(xtask).args(["status", "--json", "--home", &home]).output().expect("status");
        let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
        let here = vec![
            ("127.0.0.1:8080", address(&status, "api-1")),
            ("127.0.0.1:8081", address(&status, "api-2")),
            (".freshline/", format!("{home}/")),
            ("target/debug/", format!("{programs}/")),
            ("cargo xtask status", format!("{xtask} status --home {home}")),
        ];
        let mut shell = Command::new("bash");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        shell.current_dir(scratch.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut shell = shell.spawn().expect("a shell");
        let words = shell.stdin.take().expect("a pipe");
        let answers = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
        let database = status["postgres"]["superuser"].as_str().expect("a URL").to_owned();
        std::os::unix::fs::symlink(root.join("migrations"), scratch.path().join("migrations")).expect("a link");
        let mut beside = Self { up, shell: Shell(shell), words, answers, here, database, scratch };
        beside.run("exec 2>&1").await;
        beside
    }

    /// The URL of a database of this server, for a superuser.
    pub fn database(&self, name: &str) -> String {
        let (server, _) = self.database.rsplit_once('/').expect("a URL with a database");
        format!("{server}/{name}")
    }

    /// Has the page write this as something else.
    pub fn instead_of(&mut self, written: &'static str, here: String) {
        self.here.push((written, here));
    }

    /// Runs a page, and holds each answer against what it shows.
    pub async fn follow(&mut self, path: &str) {
        let steps = steps(path);
        assert!(!steps.is_empty(), "{path} has something to run");
        for step in steps {
            match step {
                Step::Command(command, _) if command.starts_with("cargo build") => {}
                Step::Command(command, answer) => {
                    let told = self.run(&command).await;
                    assert_shown(&command, &answer, &told);
                }
                Step::Sql(statements) => {
                    std::fs::write(self.scratch.path().join("page.sql"), statements).expect("a file");
                    let told = self.run("psql -q -v ON_ERROR_STOP=1 \"$BLOG\" -f page.sql && echo done").await;
                    assert_shown("the statements", &["done".to_owned()], &told);
                }
                Step::File(name, text) => std::fs::write(self.scratch.path().join(name), text).expect("a file"),
            }
        }
    }

    /// Runs one command in the shell, and answers what it said.
    pub async fn run(&mut self, command: &str) -> Vec<String> {
        let command = put_here(command, &self.here);
        let line = format!("{command}\necho; echo {OVER}\n");
        self.words.write_all(line.as_bytes()).await.expect("the shell takes it");
        let mut told = Vec::new();
        loop {
            let line = timeout(PATIENCE, self.answers.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{command} is not over; it said:\n{}", told.join("\n")));
            match line.expect("text").expect("the shell goes on") {
                over if over == OVER => return told,
                line => told.push(line),
            }
        }
    }

    /// Ends all of it in order.
    pub async fn down(mut self) {
        drop(self.shell);
        self.up.terminate().expect("it is told to stop");
        self.up.wait(PATIENCE).await.expect("it stops");
    }
}

/// The command as it has to be here. What was put in is not looked at again: one replica may have the port that the page gives the other.
fn put_here(mut command: &str, all: &[(&str, String)]) -> String {
    let mut whole = String::new();
    let first = |text: &str| all.iter().filter_map(|(written, here)| Some((text.find(written)?, *written, here))).min();
    while let Some((at, written, here)) = first(command) {
        whole.push_str(&command[..at]);
        whole.push_str(here);
        command = &command[at + written.len()..];
    }
    whole + command
}

#[test]
fn each_replica_is_put_where_the_page_names_it_whatever_port_it_has() {
    let here = [("host:8080", "host:8081".to_owned()), ("host:8081", "host:8082".to_owned())];
    assert_eq!(put_here("curl host:8080 host:8081; echo host:1", &here), "curl host:8081 host:8082; echo host:1");
}

fn address(status: &Value, name: &str) -> String {
    let members = status["processes"].as_array().expect("a list");
    let member = members.iter().find(|member| member["name"] == name).expect("a replica");
    member["address"].as_str().expect("an address").to_owned()
}

/// Each line that is shown is in the answer, after the one before.
fn assert_shown(command: &str, shown: &[String], told: &[String]) {
    let mut rest = told.iter();
    for line in shown.iter().filter(|line| *line != "…") {
        let found = rest.any(|told| matches(line, told.trim_end()));
        assert!(found, "{command}\nanswers, where the page shows {line:?}:\n{}", told.join("\n"));
    }
}

/// Whether a line of an answer is what the page shows: `…` stands for anything.
fn matches(shown: &str, line: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}
