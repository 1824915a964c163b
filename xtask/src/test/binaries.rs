//! The binaries that cargo makes of tests, run side by side: each of them waits for its servers most of the time.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cargo::cargo;

/// How many run at a time. Each runs as many tests at once as there are cores.
const AT_ONCE: usize = 2;

/// What takes minutes begins first, so that nothing long is left at the end. A name of none does no harm.
const LONGEST: [&str; 4] = ["invalidator it", "api system", "api browser", "common it"];

/// How many lines are told again of a binary that has ended without naming what has failed.
const LAST_LINES: usize = 20;

/// One binary of tests.
#[derive(Debug)]
pub struct Binary {
    /// The directory of its package, and what cargo calls it there.
    name: String,
    program: PathBuf,
    package: PathBuf,
}

/// What cargo says of something it has built (Cargo book, "External tools", "Artifact Messages").
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds all of them, and has them in the order in which they are to begin. `None` if they can't be built: the compiler has said why.
pub fn build() -> Result<Option<Vec<Binary>>> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked", "--quiet", "--no-run", "--message-format=json-render-diagnostics"]);
    let built = command.stderr(Stdio::inherit()).output().context("running cargo test --no-run")?;
    if !built.status.success() {
        return Ok(None);
    }
    let messages = str::from_utf8(&built.stdout).context("reading what cargo has built")?;
    let mut binaries: Vec<_> = messages.lines().filter_map(binary).collect();
    if binaries.is_empty() {
        bail!("cargo names no binary of tests");
    }
    binaries.sort_by_key(|binary| LONGEST.iter().position(|name| *name == binary.name).unwrap_or(LONGEST.len()));
    Ok(Some(binaries))
}

/// What a message is about, if that is a binary of tests. Messages of other kinds have other members.
fn binary(message: &str) -> Option<Binary> {
    let artifact: Artifact = serde_json::from_str(message).ok()?;
    let package = artifact.manifest_path.parent()?.to_owned();
    let name = format!("{} {}", package.file_name()?.to_str()?, artifact.target.name);
    Some(Binary { name, program: artifact.executable.filter(|_| artifact.profile.test)?, package })
}

/// Runs all, each prepared like this, and tells what each has said when it has ended; at the very end once more why some have failed.
/// Whether all of them succeeded.
pub fn run(binaries: Vec<Binary>, prepare: impl Fn(&mut Command) + Sync) -> Result<bool> {
    let waiting = Mutex::new(binaries.into_iter());
    let take = || waiting.lock().ok()?.next();
    let lane = || -> Result<Vec<String>> {
        let mut failed = Vec::new();
        while let Some(binary) = take() {
            let begun = Instant::now();
            let (succeeded, said) = binary.run(&prepare)?;
            let verdict = if succeeded { "passed" } else { "FAILED" };
            println!("-- {} {verdict} after {:.1} s\n{}", binary.name, begun.elapsed().as_secs_f64(), said.trim());
            if !succeeded {
                failed.push(format!("-- {} FAILED\n{}", binary.name, failures(&said)));
            }
        }
        Ok(failed)
    };
    let failed = thread::scope(|scope| {
        let lanes: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(lane)).collect();
        let ended = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect::<Result<Vec<_>>>()
    })?;
    let failed = failed.concat();
    failed.iter().for_each(|why| println!("{why}"));
    Ok(failed.is_empty())
}

/// What each test says that has failed, without where in the code it was called from; the last lines of a binary that has not come to
/// say so.
fn failures(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let begin = lines.iter().position(|line| *line == "failures:").unwrap_or(lines.len().saturating_sub(LAST_LINES));
    let is_frame = |line: &str| {
        let line = line.trim_start();
        line.starts_with("at ") || line.split_once(": ").is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    };
    lines[begin..].iter().copied().filter(|line| !is_frame(line)).collect::<Vec<_>>().join("\n")
}

impl Binary {
    /// Runs it where cargo would, and has whether it succeeded, and all that it said. That stays in a file beside it; no pipe, which a
    /// server that outlives its test would keep open.
    fn run(&self, prepare: impl Fn(&mut Command)) -> Result<(bool, String)> {
        let path = self.program.with_extension("log");
        let logging = || format!("writing {}", path.display());
        let log = File::create(&path).with_context(logging)?;
        let mut command = Command::new(&self.program);
        command.current_dir(&self.package).stdin(Stdio::null());
        command.stdout(log.try_clone().with_context(logging)?).stderr(log);
        prepare(&mut command);
        let status = command.status().with_context(|| format!("running {}", self.program.display()))?;
        let said = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok((status.success(), String::from_utf8_lossy(&said).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::Path};

    use stage::servers::Home;

    use super::*;

    /// A shell under a name of its own, and beside it what it is to do.
    fn script(home: &Home, name: &str, does: &str) -> Binary {
        let program = home.path().join(name);
        symlink("/bin/sh", &program).expect("a link");
        fs::write(program.with_extension("sh"), does).expect("a file");
        Binary { name: name.to_owned(), program, package: home.path().to_owned() }
    }

    fn with_its_script(command: &mut Command) {
        let script = Path::new(command.get_program()).with_extension("sh");
        command.arg(script);
    }

    #[test]
    fn a_binary_of_tests_is_told_from_other_artifacts() {
        let message = |is_test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"p","manifest_path":"/there/api/Cargo.toml","target":{{"name":"it"}},
                "profile":{{"test":{is_test}}},"executable":{executable}}}"#
            )
        };
        let found = binary(&message(true, "\"/there/target/it\"")).expect("a binary of tests");
        assert_eq!((found.name.as_str(), found.package.to_str()), ("api it", Some("/there/api")));
        assert!(binary(&message(false, "\"/there/target/api\"")).is_none(), "a program");
        assert!(binary(&message(true, "null")).is_none(), "a check");
        assert!(binary(r#"{"reason":"build-finished","success":true}"#).is_none());
    }

    #[test]
    fn all_that_a_binary_says_is_kept_and_one_that_fails_is_seen() {
        let home = Home::scratch().expect("a directory");
        let fine = script(&home, "fine", "echo out; echo err >&2; pwd");
        let (succeeded, said) = fine.run(with_its_script).expect("it runs");
        assert!(
            succeeded && said.starts_with("out\nerr\n") && said.trim_end().ends_with(home.path().to_str().expect("text")),
            "{said}"
        );
        for (last, all_good) in [("exit 0", true), ("exit 1", false)] {
            let home = Home::scratch().expect("a directory");
            let some = (0..4).map(|n| script(&home, &n.to_string(), "exit 0")).chain([script(&home, "last", last)]).collect();
            assert_eq!(run(some, with_its_script).expect("they run"), all_good);
        }
    }

    #[test]
    fn why_tests_have_failed_is_told_without_backtraces() {
        let said = "running 2 tests\n.F\nfailures:\n\n---- a::b stdout ----\npanicked at c.rs:1:2:\nstack backtrace:\n   0: d::e\n             at \
                    ./f.rs:3:4\n  10: g\nleft: 1\n\nfailures:\n    a::b";
        let told = "failures:\n\n---- a::b stdout ----\npanicked at c.rs:1:2:\nstack backtrace:\nleft: 1\n\nfailures:\n    a::b";
        assert_eq!(failures(said), told);
        let ended: Vec<_> = (0..30).map(|n| format!("line {n}")).collect();
        assert_eq!(failures(&ended.join("\n")), ended[10..].join("\n"));
    }

    #[test]
    fn two_run_at_a_time() {
        let home = Home::scratch().expect("a directory");
        let made = Command::new("mkfifo").arg(home.path().join("meeting")).status().expect("it runs");
        assert!(made.success());
        // Each waits until the other has opened its end; one that is alone gives up.
        let waits = |what: &str| format!("exec timeout 10 sh -c '{what}'");
        let meeting = vec![script(&home, "one", &waits("echo > meeting")), script(&home, "other", &waits("read word < meeting"))];
        assert!(run(meeting, with_its_script).expect("they run"));
    }
}
