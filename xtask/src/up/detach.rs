//! `up --detach`: the same `up`, in the background. This one shows what it says, and returns when all is ready.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::checkout::Place;
use crate::identity::Identity;
use crate::state::State;
use crate::tail::Tail;

/// How often the one in the background is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts the same `up` in the background and waits until it is ready, however long its build takes.
pub async fn run(place: &Place) -> Result<ExitCode> {
    let log = place.log("up");
    let mut child = start(&log)?;
    let identity = Identity::of(child.id())?;
    let mut tail = Tail::from_start(&log);
    let ready = tokio::select! {
        ready = until_ready(place, &identity, &mut child, &mut tail) => ready,
        stopped = super::stop_signal() => stopped.and(Err(anyhow::anyhow!("stopped before it was ready"))),
    };
    if ready.is_err() {
        identity.end().await?;
    }
    print(&mut tail)?;
    ready?;
    println!("It runs in the background (pid {}). `cargo xtask status` shows it, `cargo xtask down` stops it.", identity.pid);
    Ok(ExitCode::SUCCESS)
}

/// Starts this program with the same arguments, less `--detach`.
fn start(log: &Path) -> Result<Child> {
    let output = File::create(log).with_context(|| format!("opening {}", log.display()))?;
    let own = std::env::current_exe().context("finding our own program")?;
    let mut command = Command::new(own);
    command.args(std::env::args_os().skip(1).filter(|argument| argument != "--detach")).arg("--detached-log").arg(log);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.process_group(0); // neither Ctrl-C nor the end of this terminal reaches it
    command.spawn().context("starting `up` in the background")
}

async fn until_ready(place: &Place, identity: &Identity, child: &mut Child, tail: &mut Tail) -> Result<()> {
    loop {
        print(tail)?;
        if let Some(status) = child.try_wait().context("looking at `up`")? {
            bail!("`up` ended ({status}): what it says above is in {}", place.log("up").display());
        }
        if State::read(place)?.is_some_and(|state| state.ready && state.supervisor == *identity) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn print(tail: &mut Tail) -> Result<()> {
    for line in tail.lines().context("reading the log of `up`")? {
        println!("{line}");
    }
    Ok(())
}
