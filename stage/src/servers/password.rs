//! Generated passwords, and the files that keep them.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

use super::Home;

/// The passwords of a server's users, kept in a file of mode 0600 so that a later start finds them again.
///
/// The file has the format of `.pgpass`, so `PGPASSFILE` can name it.
#[derive(Clone)]
pub struct Passwords {
    by_user: BTreeMap<String, String>,
}

impl Passwords {
    /// Reads the passwords of `users` from `file` in `home`. Those that are missing are generated and written down.
    pub fn kept(home: &Home, file: &str, users: &[&str]) -> Result<Self> {
        let path = home.path().join(file);
        let text = if path.exists() {
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?
        } else {
            String::new()
        };
        let mut by_user: BTreeMap<String, String> = text.lines().filter_map(parse).collect();
        for user in users {
            by_user.entry((*user).to_owned()).or_insert_with(generate);
        }
        let lines: String = by_user.iter().map(|(user, password)| format!("*:*:*:{user}:{password}\n")).collect();
        if lines != text {
            home.write(file, &lines)?;
        }
        Ok(Self { by_user })
    }

    /// The password of `user`, which must be one of those named to [`Self::kept`].
    pub fn of(&self, user: &str) -> &str {
        self.by_user.get(user).map(String::as_str).expect("a user whose password was asked for when the server started")
    }
}

/// 128 random bits as 32 hexadecimal digits: no need to quote them in a URL, a file or SQL.
fn generate() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn parse(line: &str) -> Option<(String, String)> {
    let (user, password) = line.strip_prefix("*:*:*:")?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
