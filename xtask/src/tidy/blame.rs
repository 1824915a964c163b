//! What is wrong, where, and what to do about it.

use std::fmt;

use super::File;

/// One complaint. They sort by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    path: String,
    line: usize,
    advice: String,
}

impl Complaint {
    /// About a line of a file, counted from 1.
    pub fn new(file: &File, line: usize, advice: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, advice: advice.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// Checks a rule against examples: `(path, text, lines complained about)`.
#[cfg(test)]
pub fn expect(rule: impl Fn(&File) -> Vec<Complaint>, examples: &[(&str, &str, &[usize])]) {
    for (path, text, lines) in examples {
        let file = File { path: (*path).to_owned(), text: (*text).to_owned() };
        let complaints = rule(&file);
        let found: Vec<usize> = complaints.iter().map(|complaint| complaint.line).collect();
        assert_eq!(found, *lines, "{path}:\n{text}\n{complaints:?}");
    }
}
