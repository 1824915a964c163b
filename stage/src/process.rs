//! One of our own programs, run as a process: its log is read, it can be killed, asked to stop, awaited and started again.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::running::{Orphaned, Running};
use crate::until::within;

/// How many lines of a log are kept in memory; older ones are dropped.
const LINES_MAX: usize = 20_000;

/// The prefix of our own variables. Those of the caller's environment are not handed on unless asked for: a test sets what it needs.
const OUR_VARIABLES: &str = "FRESHLINE_";

/// Is called with each line of a log, in the order of each pipe.
type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// What to start, and how.
#[derive(Clone)]
pub struct Launch {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    in_order: bool,
    inherits: bool,
    sink: Option<Sink>,
}

impl Launch {
    /// Starts `program`; messages call it `name`.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        let (name, program) = (name.into(), program.into());
        Self { name, program, arguments: Vec::new(), variables: Vec::new(), in_order: false, inherits: false, sink: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable. Of ours (`FRESHLINE_…`) it gets only those set here, of others also the caller's.
    /// Set again, a variable takes its last value.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Sets several environment variables.
    #[must_use]
    pub fn variables<N: Into<String>, V: Into<String>>(self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        variables.into_iter().fold(self, |launch, (name, value)| launch.variable(name, value))
    }

    /// If it is dropped, or we are killed, it is asked to stop by SIGTERM and killed after ten seconds; otherwise it is killed at once.
    #[must_use]
    pub fn ended_in_order(mut self) -> Self {
        self.in_order = true;
        self
    }

    /// Hands on the caller's `FRESHLINE_` variables as well. What is set here wins.
    #[must_use]
    pub fn inheriting(mut self) -> Self {
        self.inherits = true;
        self
    }

    /// Calls `sink` with each line of its log, from a thread of its own.
    #[must_use]
    pub fn each_line(mut self, sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with(OUR_VARIABLES));
        for name in ours.filter(|_| !self.inherits) {
            command.env_remove(name);
        }
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A program that was started. Dropped, it is killed, unless [`Launch::ended_in_order`].
pub struct Process {
    launch: Launch,
    running: Running,
    lines: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it. It may still be far from ready.
    pub fn start(launch: Launch) -> Result<Self> {
        let lines = Arc::default();
        let (running, readers) = spawn(&launch, &lines)?;
        Ok(Self { launch, running, lines, readers })
    }

    /// The name given to it.
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What it has logged so far on standard output and error, over all its starts; at most the last 20,000 lines.
    pub fn lines(&self) -> Vec<String> {
        locked(&self.lines).iter().cloned().collect()
    }

    /// Awaits a line of its log that contains `text`, an earlier one included, and answers with it.
    ///
    /// # Panics
    /// If there is none within [`crate::WAIT_MAX`], or it ends without one: with the end of its log.
    pub async fn line(&mut self, text: &str) -> String {
        self.line_within(crate::WAIT_MAX, text).await
    }

    /// As [`Self::line`], for what takes longer: it panics after `bound`.
    pub async fn line_within(&mut self, bound: Duration, text: &str) -> String {
        let found = within(bound, async || {
            let over = self.running.ended().map_err(|error| format!("{error:#}"))?; // asked first: its last lines may be on their way
            match locked(&self.lines).iter().find(|line| line.contains(text)) {
                Some(line) => Ok(Ok(line.clone())),
                None if over.is_some() && self.readers.iter().all(JoinHandle::is_finished) => Ok(Err("it has ended")),
                None => Err("no such line yet".to_owned()),
            }
        });
        let line = found.await.and_then(|line| line.map_err(str::to_owned));
        line.unwrap_or_else(|last| panic!("{} logged no line with {text:?}: {last}. Its log ends:\n{}", self.name(), self.tail()))
    }

    /// The last lines of its log, for a message.
    pub fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.running.ended()
    }

    /// Kills it with -9 and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.running.kill().await.with_context(|| format!("killing {}", self.name()))?;
        Ok(())
    }

    /// Asks it to stop, by SIGTERM, and returns at once.
    pub fn terminate(&mut self) -> Result<()> {
        self.running.signal(Signal::SIGTERM)
    }

    /// Sends it SIGINT, as a Ctrl-C in its terminal does, and returns at once.
    pub fn interrupt(&mut self) -> Result<()> {
        self.running.signal(Signal::SIGINT)
    }

    /// Asks it to stop, by SIGTERM, and kills it with -9 if it has not done so after `bound`.
    pub async fn stop(&mut self, bound: Duration) -> Result<ExitStatus> {
        let status = self.running.stop(Signal::SIGTERM, bound).await.with_context(|| format!("stopping {}", self.name()))?;
        self.join_readers();
        Ok(status)
    }

    /// Sends it SIGSTOP: it hangs until [`Self::resume`].
    pub fn pause(&mut self) -> Result<()> {
        self.running.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&mut self) -> Result<()> {
        self.running.signal(Signal::SIGCONT)
    }

    /// Waits for its end, until its whole log has been read.
    ///
    /// # Errors
    /// If it is still running after `bound`: with the end of its log.
    pub async fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let status = match self.running.wait(bound).await {
            Ok(status) => status,
            Err(error) => bail!("{}: {error:#}. Its log ends:\n{}", self.name(), self.tail()),
        };
        self.join_readers();
        Ok(status)
    }

    /// Kills it, if it is running, and starts it again, with the same settings.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        self.join_readers();
        let (running, readers) = spawn(&self.launch, &self.lines)?;
        (self.running, self.readers) = (running, readers);
        Ok(())
    }

    /// Its pipes are closed once it has ended, so this is short.
    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader of a log does not panic");
        }
    }
}

fn spawn(launch: &Launch, lines: &Arc<Mutex<VecDeque<String>>>) -> Result<(Running, Vec<JoinHandle<()>>)> {
    let signal = if launch.in_order { Signal::SIGTERM } else { Signal::SIGKILL };
    let mut running = Running::spawn(&mut launch.command(), Orphaned { signal, scratch: None })
        .with_context(|| format!("starting {}", launch.name))?;
    let (output, errors) = running.pipes();
    let pipes: [Option<Box<dyn Read + Send>>; 2] = [output.map(|pipe| Box::new(pipe) as _), errors.map(|pipe| Box::new(pipe) as _)];
    let readers = pipes.into_iter().flatten().map(|pipe| {
        let (lines, sink) = (Arc::clone(lines), launch.sink.clone());
        std::thread::spawn(move || read(pipe, &lines, sink.as_ref()))
    });
    Ok((running, readers.collect()))
}

/// Reads a pipe to its end. A pipe that fails is one whose other end is gone.
fn read(pipe: impl Read, lines: &Mutex<VecDeque<String>>, sink: Option<&Sink>) {
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(sink) = sink {
            sink(&line);
        }
        let mut lines = locked(lines);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// A list of lines is whole after any panic.
fn locked(lines: &Mutex<VecDeque<String>>) -> std::sync::MutexGuard<'_, VecDeque<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program `name` of this workspace, as `cargo build --workspace` made it in the profile of the running test or verb.
///
/// # Errors
/// If it has not been built.
pub fn workspace_binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding our own program")?;
    // target/<profile>/deps/<test> or target/<profile>/<verb>
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built beside {}: run `cargo build --workspace` first", Path::new(&own).display()))
}
