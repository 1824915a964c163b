//! The directory of a server: its user's own, and within its reach.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::ServerUser;

/// Where scratch directories may lie, the first that the servers' user reaches.
const SCRATCH: [&str; 2] = ["/tmp", "/var/tmp"];

/// A directory of mode 0700 that belongs to the servers' user. A scratch one is removed when dropped.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    user: ServerUser,
    scratch: bool,
}

impl Home {
    /// The directory `path`, made if it is not there. Its parent has to exist.
    ///
    /// # Errors
    /// If the user that servers run as can't reach it (a checkout under `/root`): the message says so.
    pub fn at(path: &Path) -> Result<Self> {
        let user = ServerUser::choose()?;
        if !path.is_dir() {
            DirBuilder::new().mode(0o700).create(path).with_context(|| format!("making {}", path.display()))?;
        }
        user.give(path)?;
        let path = path.canonicalize().with_context(|| format!("resolving {}", path.display()))?;
        if !user.reaches(&path)? {
            bail!("user {} can't reach {}: a directory above it is closed to others", user.name(), path.display());
        }
        Ok(Self { path, user, scratch: false })
    }

    /// A new scratch directory: in the system's temporary directory, or in /tmp if that one is closed to the servers' user.
    pub fn scratch() -> Result<Self> {
        let user = ServerUser::choose()?;
        let name = format!("freshline-stage-{}", uuid::Uuid::new_v4().simple());
        let parents = std::iter::once(std::env::temp_dir()).chain(SCRATCH.map(PathBuf::from));
        for parent in parents {
            if parent.is_dir() && user.reaches(&parent)? {
                let mut home = Self::at(&parent.join(name))?;
                home.scratch = true;
                return Ok(home);
            }
        }
        bail!("no temporary directory that user {} can reach: set TMPDIR to one", user.name())
    }

    /// Its absolute path, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user that owns it.
    pub fn user(&self) -> &ServerUser {
        &self.user
    }

    /// The path to remove when whoever owns this home is gone: only a scratch one's.
    pub(crate) fn scratch_path(&self) -> Option<PathBuf> {
        self.scratch.then(|| self.path.clone())
    }

    /// A new, empty file of mode 0600 in it, owned by the servers' user, in place of one of that name.
    pub fn create(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        let created = || -> std::io::Result<File> {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // Never what is there: we may be root, and a link that the servers' user left there could lead anywhere.
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)
        };
        let file = created().with_context(|| format!("opening {}", path.display()))?;
        self.user.give(&path)?;
        Ok(file)
    }

    /// Writes a file of mode 0600 into it, owned by the servers' user. A file of that name is replaced as a whole.
    pub fn write(&self, name: &str, contents: &str) -> Result<PathBuf> {
        let (path, new) = (self.path.join(name), format!("{name}.new"));
        let written = self.create(&new)?.write_all(contents.as_bytes()).and_then(|()| fs::rename(self.path.join(new), &path));
        written.with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.scratch
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("stage: {} could not be removed: {error}", self.path.display());
        }
    }
}
