//! The unprivileged user that servers run as. Postgres refuses root, and a Redis that runs as root would write files as root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User, chown};

/// Whom servers run as: ourselves, or somebody without rights if we are root.
#[derive(Debug, Clone)]
pub struct ServerUser {
    /// Set only if we are root.
    unprivileged: Option<User>,
}

impl ServerUser {
    /// Ourselves, unless we are root: then `postgres` where there is one, else `nobody`.
    ///
    /// # Errors
    /// If we are root and neither user exists.
    pub fn choose() -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self { unprivileged: None });
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name).with_context(|| format!("looking up the user {name}"))? {
                return Ok(Self { unprivileged: Some(user) });
            }
        }
        bail!(
            "Postgres refuses to run as root and there is no user `postgres` or `nobody` to run it as: create one with `useradd postgres`"
        )
    }

    /// Its name, for messages: of the user that root gives way to, else "the current user".
    pub fn name(&self) -> &str {
        self.unprivileged.as_ref().map_or("the current user", |user| &user.name)
    }

    /// A command that will run as this user, in `/`, with nothing on its standard input.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C");
        if let Some(user) = &self.unprivileged {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()); // std drops the other groups with them
        }
        command
    }

    /// Gives a file or directory to this user.
    pub fn give(&self, path: &Path) -> Result<()> {
        match &self.unprivileged {
            Some(user) => {
                chown(path, Some(user.uid), Some(user.gid)).with_context(|| format!("giving {} to {}", path.display(), user.name))
            }
            None => Ok(()),
        }
    }

    /// Whether this user can reach what lies in `directory`: not if it is below somebody's private home, such as `/root`.
    pub fn reaches(&self, directory: &Path) -> Result<bool> {
        let status = self.command("/usr/bin/test").arg("-x").arg(directory).status().context("running /usr/bin/test")?;
        Ok(status.success())
    }
}
