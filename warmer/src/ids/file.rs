//! Ids from the lines of a file.

use std::{path::PathBuf, pin::Pin};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use uuid::Uuid;

use super::{Gather, IdsError};

/// The longest line that is looked at, in bytes. An id has 36, and 45 with `urn:uuid:`; the rest of a longer line is passed over.
const LINE_LEN_MAX: u64 = 256;

/// The name under which standard input is asked for.
const STANDARD_INPUT: &str = "-";

/// The lines of a file, not read yet.
pub struct Lines {
    path: PathBuf,
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
}

impl Lines {
    pub(super) async fn open(path: PathBuf) -> Result<Self, IdsError> {
        if path.as_os_str() == STANDARD_INPUT {
            return Ok(Self { path: "standard input".into(), reader: Box::pin(BufReader::new(tokio::io::stdin())) });
        }
        let opened = async {
            let file = tokio::fs::File::open(&path).await?;
            // A directory can be opened, and fails at its first byte.
            if file.metadata().await?.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
        };
        match opened.await {
            Ok(file) => Ok(Self { path, reader: Box::pin(BufReader::with_capacity(1 << 16, file)) }),
            Err(error) => Err(IdsError::File { path, error }),
        }
    }

    pub(super) async fn stream(mut self, gather: &mut Gather) -> Result<(), IdsError> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            let place = || format!("line {number}");
            let read = next_line(&mut self.reader, &mut line).await;
            if !read.map_err(|error| IdsError::File { path: self.path.clone(), error })? {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_start_matches('\u{feff}').trim();
            match Uuid::try_parse(text) {
                _ if text.is_empty() => {}
                Ok(id) if gather.id(id, place).await.is_break() => return Ok(()),
                Ok(_) => {}
                Err(_) => gather.malformed(text, place),
            }
        }
        gather.some_id(&self.path.display().to_string())
    }
}

/// Reads the next line, or the first [`LINE_LEN_MAX`] bytes of it. False at the end.
async fn next_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    if (&mut *reader).take(LINE_LEN_MAX).read_until(b'\n', line).await? == 0 {
        return Ok(false);
    }
    let mut is_whole = line.ends_with(b"\n") || (line.len() as u64) < LINE_LEN_MAX;
    while !is_whole {
        let rest = reader.fill_buf().await?;
        let end = rest.iter().position(|byte| *byte == b'\n');
        is_whole = end.is_some() || rest.is_empty();
        let passed = end.map_or(rest.len(), |end| end + 1);
        reader.consume(passed);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let text = format!("short\n{}\nnext\n\n{}\nlast", "x".repeat(1000), "y".repeat(255));
        let mut reader = BufReader::with_capacity(7, text.as_bytes());
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        while next_line(&mut reader, &mut line).await.expect("a line") {
            lines.push(String::from_utf8(line.clone()).expect("text"));
        }
        let [y, x] = ["y".repeat(255) + "\n", "x".repeat(256)];
        assert_eq!(lines, ["short\n", x.as_str(), "next\n", "\n", y.as_str(), "last"]);
    }
}
