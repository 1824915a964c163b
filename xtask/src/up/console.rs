//! What `up` prints: lines, each beginning with the name of the process that it is from.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};

/// The width of the names; the longest is `invalidator`.
const NAME_WIDTH: usize = 11;

/// Colours of the 16 that every terminal has, without those that are hard to read on black or white.
const COLOURS: [u8; 6] = [36, 32, 33, 35, 34, 31];

/// Prints a line of the process `name`. A terminal that is gone is no reason to stop.
pub fn say(name: &str, line: &str) {
    let mut out = std::io::stdout().lock();
    let coloured = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let written = if coloured {
        writeln!(out, "\x1b[{}m{name:NAME_WIDTH$} |\x1b[0m {line}", colour(name))
    } else {
        writeln!(out, "{name:NAME_WIDTH$} | {line}")
    };
    written.and_then(|()| out.flush()).ok();
}

/// Prints each of several lines.
pub fn say_all(name: &str, lines: &str) {
    for line in lines.lines() {
        say(name, line);
    }
}

/// Prints each line of a process's log, and writes it to a file that is begun anew.
pub fn log_to(name: &str, path: &Path) -> Result<impl Fn(&str) + Send + Sync + 'static> {
    File::create(path).with_context(|| format!("opening {}", path.display()))?;
    let file = Mutex::new(OpenOptions::new().append(true).open(path).with_context(|| format!("opening {}", path.display()))?);
    let name = name.to_owned();
    Ok(move |line: &str| {
        say(&name, line);
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = writeln!(file, "{line}") {
            say(&name, &format!("its log file can't be written: {error}"));
        }
    })
}

fn colour(name: &str) -> u8 {
    let sum: usize = name.bytes().map(usize::from).sum();
    COLOURS[sum % COLOURS.len()]
}
