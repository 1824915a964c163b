//! Following a log file: whole lines, as they are written.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much is read at a time, in bytes; the rest comes at the next look.
const READ_LEN_MAX: u64 = 1 << 20;

/// A place in a log file.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    position: u64,
    rest: Vec<u8>,
}

impl Tail {
    /// Follows `path` from its beginning, once it is there.
    pub fn from_start(path: &Path) -> Self {
        Self { path: path.to_owned(), position: 0, rest: Vec::new() }
    }

    /// The whole lines that have come since the last look. A file that has become shorter was begun anew, and is read from its start.
    ///
    /// # Errors
    /// If the file can't be read. One that isn't there has no lines.
    pub fn lines(&mut self) -> std::io::Result<Vec<String>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        if file.metadata()?.len() < self.position {
            self.position = 0;
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.position))?;
        let len = file.take(READ_LEN_MAX).read_to_end(&mut self.rest)?;
        self.position += u64::try_from(len).expect("a length fits 64 bits");
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_are_read_once_when_they_are_whole_and_anew_when_the_file_is() {
        let scratch = stage::servers::Home::scratch().expect("a scratch directory");
        let path = scratch.path().join("log");
        let mut tail = Tail::from_start(&path);
        let mut read = || tail.lines().expect("a readable file");
        assert!(read().is_empty(), "no file has no lines");
        fs::write(&path, "one\ntw").expect("a file");
        assert_eq!(read(), ["one"]);
        fs::write(&path, "one\ntwo\nthree\n").expect("a longer file");
        assert_eq!(read(), ["two", "three"]);
        fs::write(&path, "new\n").expect("a new file");
        assert_eq!(read(), ["new"]);
    }
}
