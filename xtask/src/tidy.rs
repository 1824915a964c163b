//! `tidy`: house rules that neither rustfmt nor clippy knows. Each says what to do about it.

mod blame;
mod documented;
mod length;
mod lexed;
mod migrations;
mod pages;
mod places;
mod proof;
mod rust;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::checkout::root;
use blame::Complaint;
use lexed::Lexed;

/// Check the house rules: openings, sleeps, spawns, documented names, proofs, lengths
#[derive(Debug, Clone, clap::Args)]
pub struct Tidy {}

/// A text file of the repository.
pub struct File {
    /// Its path in the repository, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl Tidy {
    /// Prints each complaint; ends with 1 if there is one.
    pub fn run(self) -> Result<ExitCode> {
        let files = files(&root())?;
        let complaints = check(&files);
        for complaint in &complaints {
            println!("{complaint}");
        }
        if complaints.is_empty() {
            println!("tidy: {} files are", files.len());
            Ok(ExitCode::SUCCESS)
        } else {
            println!("tidy: {} complaints", complaints.len());
            Ok(ExitCode::FAILURE)
        }
    }
}

impl File {
    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of it is test code.
    pub fn is_test(&self) -> bool {
        ["/tests/", "/benches/", "/fuzz/"].iter().any(|part| self.path.contains(part)) || self.path.ends_with("/tests.rs")
    }
}

/// All complaints about these files.
fn check(files: &[File]) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> = files.iter().flat_map(about_one).collect();
    let rust: Vec<(&File, Lexed)> = files.iter().filter(|file| file.is_rust()).map(|file| (file, Lexed::new(&file.text))).collect();
    complaints.extend(documented::check(&rust, files));
    complaints.extend(length::check(&rust, length::LISTED));
    complaints.extend(pages::check(files));
    complaints.sort();
    complaints
}

fn about_one(file: &File) -> Vec<Complaint> {
    let mut complaints = places::check(file);
    if file.is_rust() {
        let lexed = Lexed::new(&file.text);
        complaints.extend(rust::check(file, &lexed));
        complaints.extend(proof::check(file, &lexed));
    }
    complaints.extend(migrations::check(file));
    complaints
}

/// What git tracks or would add, as far as it is text. What is deleted and not yet committed is left out.
fn files(root: &Path) -> Result<Vec<File>> {
    let output =
        Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root).output();
    let output = output.context("running git: install it")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let paths = String::from_utf8(output.stdout).context("a path that is not UTF-8: rename it")?;
    let texts = paths.split('\0').filter(|path| !path.is_empty()).filter_map(|path| {
        let bytes = fs::read(root.join(path)).ok()?;
        Some(File { path: path.to_owned(), text: String::from_utf8(bytes).ok()? })
    });
    Ok(texts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let files = files(&root()).expect("the files of the repository");
        assert!(files.iter().any(|file| file.path == "xtask/src/tidy.rs"), "the repository is looked at");
        let complaints: Vec<String> = check(&files).iter().map(Complaint::to_string).collect();
        assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    }
}
