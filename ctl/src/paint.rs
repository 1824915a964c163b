//! How it looks: colours where somebody sees them, and columns that stand below each other.

use std::io::{self, IsTerminal, Write};

pub use freshline::explain::micros;

/// Colours, or none: not on a terminal, or `NO_COLOR` is set.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// For standard output.
    pub fn of_output() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: io::stdout().is_terminal() && !unwanted }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// As it should be.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// To be mended.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Worth knowing.
    pub fn note(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Beside the point.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// A heading.
    pub fn head(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What clears a terminal, for what is shown again and again; nothing elsewhere.
    pub fn clear(self) -> &'static str {
        if self.on { "\x1b[2J\x1b[H" } else { "" }
    }
}

/// Writes to standard output, and says so where nobody reads any more.
pub fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Rows as lines, each column as wide as its widest cell.
pub fn columns(rows: &[Vec<String>], indent: &str) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{indent}{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A number of bytes, for people.
pub fn bytes(count: i64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut size, mut unit) = (count as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(1023, "1023 B")]
    #[case(1536, "1.5 kB")]
    #[case(3 << 30, "3.0 GB")]
    #[case(i64::MAX, "8388608.0 TB")]
    fn bytes_are_told_in_the_unit_that_fits(#[case] count: i64, #[case] told: &str) {
        assert_eq!(bytes(count), told);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["a".to_owned(), "é".to_owned()], vec!["long".to_owned(), String::new(), "x".to_owned()]];
        assert_eq!(columns(&rows, " "), " a     é\n long     x\n");
    }
}
