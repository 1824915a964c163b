//! A shell that ends a process when we are gone: even a test run that is killed with -9 leaves no server behind.
//!
//! It holds the reading end of a pipe from us. The kernel closes our end however we die, and only then does its `read` fail.
//! Not `PR_SET_PDEATHSIG`: that fires when the *thread* that started the process ends, and each test has a thread of its own.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

/// Arguments: pid, signal, directory to remove ("" for none). A line on stdin means that all is well. A process that has
/// not ended after 10 s is killed; after 20 s nothing more can be done (a zombie that nobody reaps still counts as alive).
/// What is left of its group goes with it.
const SCRIPT: &str = r#"
read -r _ && exit 0
kill -s "$2" "$1" 2>/dev/null
i=0
while kill -0 "$1" 2>/dev/null && [ $i -lt 200 ]; do
    i=$((i + 1))
    [ $i -eq 100 ] && kill -s KILL "$1"
    sleep 0.1
done
kill -s KILL -- "-$1" 2>/dev/null
[ -z "$3" ] || rm -rf -- "$3"
"#;

/// Ends one process when ours is gone. Dropped first, it does nothing.
///
/// Invariant: it is dropped before its process is reaped, so the pid it would signal can't have become another's.
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Watches over `pid`: when we are gone it gets `signal`, and `scratch` is removed once it has ended.
    pub(crate) fn over(pid: u32, signal: Signal, scratch: Option<&Path>) -> Result<Self> {
        let name = signal.as_str().trim_start_matches("SIG");
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "freshline-watchdog", &pid.to_string(), name])
            .arg(scratch.unwrap_or(Path::new("")))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // out of reach of a Ctrl-C in our terminal
            .spawn()
            .context("starting /bin/sh as a watchdog")?;
        Ok(Self { shell })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let told = self.shell.stdin.take().is_some_and(|mut stdin| stdin.write_all(b"\n").is_ok());
        let ended = if told { self.shell.wait().map(|_| ()) } else { self.shell.kill() };
        if let Err(error) = ended {
            eprintln!("stage: a watchdog (pid {}) could not be dismissed: {error}", self.shell.id());
        }
    }
}
