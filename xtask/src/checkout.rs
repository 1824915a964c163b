//! The checkout, and the place in it where private instances live.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use stage::servers::{Home, ServerUser};

/// Where servers live whose user can't reach the checkout, one directory for each: only root writes here.
const ELSEWHERE: &str = "/var/lib/freshline";

/// How often the lock is tried, and how long the pause between two tries is.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Which place a verb works on.
#[derive(Debug, Clone, clap::Args)]
pub struct Where {
    /// Where the private instances live, with their data and logs. [default: .freshline in the checkout]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

impl Where {
    /// The place, whether or not it has been made.
    pub fn place(&self) -> Result<Place> {
        let directory = self.home.clone().unwrap_or_else(|| root().join(".freshline"));
        let directory = std::path::absolute(&directory).with_context(|| format!("resolving {}", directory.display()))?;
        Ok(Place::at(directory))
    }
}

/// The directory of the private instances of one checkout.
#[derive(Debug, Clone)]
pub struct Place {
    directory: PathBuf,
}

/// Held by the `up` that runs. The kernel lets go of it however that `up` ends, so a stale pid can't be taken for a running one.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Place {
    /// The place in this directory.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Makes the directories that are missing. Others may pass through to what the servers' user owns; nobody may look around.
    pub fn make(&self) -> Result<()> {
        for (path, mode) in [(self.directory.clone(), 0o711), (self.logs(), 0o700)] {
            let made = DirBuilder::new().recursive(true).mode(mode).create(&path);
            made.with_context(|| format!("making {}", path.display()))?;
        }
        Ok(())
    }

    /// Whether there ever was an `up` here.
    pub fn exists(&self) -> bool {
        self.directory.exists()
    }

    /// A file of this name in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory of the logs.
    pub fn logs(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The log of a process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// The lock, unless an `up` holds it. Tried for a moment: a `status` that just looks holds it for an instant.
    pub async fn lock(&self) -> Result<Option<Lock>> {
        for _ in 0..LOCK_TRIES {
            if let Some(lock) = self.try_lock()? {
                return Ok(Some(lock));
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Ok(None)
    }

    fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.file("lock");
        let file = File::options().create(true).append(true).open(&path).with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    /// Whether an `up` runs here.
    pub fn is_up(&self) -> Result<bool> {
        Ok(self.file("lock").exists() && self.try_lock()?.is_none())
    }

    /// The home of a server, in here. Where the servers' user can't reach it (a checkout under `/root`), it lies in
    /// `/var/lib/freshline` and a symbolic link points there.
    pub fn server_home(&self, name: &str) -> Result<Home> {
        let here = self.file(name);
        let user = ServerUser::choose()?;
        if user.reaches(&self.directory)? {
            return Home::at(&here);
        }
        let parent = Path::new(ELSEWHERE).join(self.directory.to_string_lossy().replace('/', "+"));
        DirBuilder::new().recursive(true).mode(0o711).create(&parent).with_context(|| format!("making {}", parent.display()))?;
        let there = parent.join(name);
        let home = Home::at(&there)?;
        if fs::read_link(&here).ok().as_deref() != Some(&there) {
            if here.exists() {
                bail!("user {} can't reach {}: move it to {} and run this again", user.name(), here.display(), there.display());
            }
            eprintln!("user {} can't reach {}: its data lies in {}", user.name(), here.display(), there.display());
            symlink(&there, &here).with_context(|| format!("linking {} to {}", here.display(), there.display()))?;
        }
        Ok(home)
    }

    /// Removes the data of a server. The logs stay.
    pub fn remove_server_home(&self, name: &str) -> Result<()> {
        let path = self.file(name);
        let Ok(target) = path.canonicalize() else { return Ok(()) };
        fs::remove_dir_all(&target).with_context(|| format!("removing {}", target.display()))?;
        if path.is_symlink() {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_held_by_one_up_at_a_time() {
        let scratch = Home::scratch().expect("a scratch directory");
        let place = Place::at(scratch.path().join("place"));
        assert!(!place.is_up().expect("a look at nothing"), "nobody holds what isn't there");
        place.make().expect("the place is made");
        let lock = place.lock().await.expect("the lock is tried").expect("nobody holds it");
        assert!(place.lock().await.expect("the lock is tried").is_none(), "a second up is kept out");
        assert!(place.is_up().expect("a look at it"));
        drop(lock);
        assert!(!place.is_up().expect("a look at it"), "whoever ends lets go");
    }

    #[test]
    fn the_data_of_a_server_is_removed_with_its_link() {
        let scratch = Home::scratch().expect("a scratch directory");
        let place = Place::at(scratch.path().join("place"));
        place.make().expect("the place is made");
        let elsewhere = scratch.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join("data")).expect("data elsewhere");
        symlink(&elsewhere, place.file("postgres")).expect("a link to it");
        place.remove_server_home("postgres").expect("it is removed");
        assert!(!elsewhere.exists() && !place.file("postgres").is_symlink());
    }
}
