//! What pages name is there: files and headings that they link, settings, metrics, verbs of `cargo xtask`; and their rules files can be read.

use std::collections::BTreeSet;

use clap::CommandFactory;
use freshline::{
    config::{Unknown, Vars, unknown_names},
    rules::Rules,
    telemetry::ALL,
};

use super::{File, blame::Complaint, lexed::line_of};
use crate::{Verb, checkout::root};

/// What an option of `cargo xtask` begins with.
const OPTION: &str = "--";

/// Names that begin as settings do: of variables that tests and other programs read.
const NO_SETTINGS: [&str; 1] = ["FRESHLINE_"];

/// Checks every page of these files.
pub fn check(files: &[File]) -> Vec<Complaint> {
    let pages = || files.iter().filter(|file| file.path.ends_with(".md") && !file.path.contains("/vendor/"));
    pages().flat_map(|page| links(page, files).into_iter().chain(about_one(page))).collect()
}

fn about_one(page: &File) -> Vec<Complaint> {
    let mut complaints = settings(page);
    complaints.extend(metrics(page));
    complaints.extend(verbs(page));
    complaints.extend(rules(page));
    complaints
}

/// Links in Markdown to files of the repository, and to headings in them.
fn links(page: &File, files: &[File]) -> Vec<Complaint> {
    let complain = |(at, link): (usize, &str)| {
        let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
        let target = if path.is_empty() { page.path.clone() } else { joined(&page.path, path) };
        let advice = match (files.iter().find(|file| file.path == target), heading) {
            (None, _) if root().join(&target).exists() => return None, // a directory, or a picture
            (None, _) => format!("`{link}` leads nowhere: there is no {target}"),
            (Some(found), Some(heading)) if !headings(&found.text).contains(heading) => {
                format!("`{link}` leads nowhere: {target} has no heading of that name")
            }
            _ => return None,
        };
        Some(Complaint::new(page, line_of(&page.text, at), advice))
    };
    let ours = |(_, link): &(usize, &str)| !link.contains("://") && !link.starts_with("mailto:");
    linked(&page.text).filter(ours).filter_map(complain).collect()
}

/// The targets of `[text](target)`, each with its place.
fn linked(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("](").filter_map(|(at, opening)| {
        let target = &text[at + opening.len()..];
        let target = &target[..target.find([')', '\n'])?];
        (!target.is_empty() && !target.contains([' ', '`'])).then_some((at, target))
    })
}

/// A path relative to a page, from the root of the repository.
fn joined(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors of a page's headings, as GitHub makes them: small letters, digits and `_`, with `-` for each blank and dash.
fn headings(text: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// Settings that are named and are none.
fn settings(page: &File) -> Vec<Complaint> {
    let words = words_with(&page.text, "FRESHLINE_", |c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let unknown = |name: &str| !NO_SETTINGS.contains(&name) && !unknown_names(&Named(name)).is_empty();
    let complain = |(at, name): (usize, &str)| {
        let meant = unknown_names(&Named(name)).into_iter().find_map(|Unknown { meant, .. }| meant);
        let advice = meant.map_or_else(String::new, |meant| format!(": is it {meant}?"));
        Complaint::new(page, line_of(&page.text, at), format!("{name} is no setting of any process{advice}"))
    };
    words.filter(|(_, name)| unknown(name)).map(complain).collect()
}

/// One variable that is set.
struct Named<'a>(&'a str);

impl Vars for Named<'_> {
    fn get(&self, _: &str) -> Option<String> {
        None
    }

    fn names(&self) -> Vec<String> {
        vec![self.0.to_owned()]
    }
}

/// Metrics that are named with what only metrics have at their ends, and are none.
fn metrics(page: &File) -> Vec<Complaint> {
    let words = words_with(&page.text, "freshline_", |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_one = |name: &str| ["_total", "_seconds", "_bytes"].iter().any(|unit| name.ends_with(unit));
    let complain = |(at, name): (usize, &str)| Complaint::new(page, line_of(&page.text, at), format!("{name} is no metric"));
    words.filter(|(_, name)| is_one(name) && !ALL.iter().any(|metric| metric.name == *name)).map(complain).collect()
}

/// Words that begin so and go on with such characters, each with its place.
fn words_with<'a>(
    text: &'a str,
    beginning: &'static str,
    is_part: impl Fn(char) -> bool + Copy,
) -> impl Iterator<Item = (usize, &'a str)> {
    let begins = move |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    text.match_indices(beginning).filter(move |(at, _)| begins(*at)).map(move |(at, _)| {
        let rest = &text[at..];
        (at, &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())])
    })
}

/// Verbs of `cargo xtask`, and options of theirs, that are named and are none.
fn verbs(page: &File) -> Vec<Complaint> {
    let known = Verb::command();
    let mut complaints = Vec::new();
    for (at, opening) in page.text.match_indices("cargo xtask ") {
        let rest = &page.text[at + opening.len()..];
        let said = &rest[..rest.find(['`', '\n', '|', ')', ';', '#']).unwrap_or(rest.len())];
        let mut words = said.split_whitespace();
        let Some(word) = words.next().filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-')) else { continue };
        let mut complain = |advice| complaints.push(Complaint::new(page, line_of(&page.text, at), advice));
        let Some(verb) = known.find_subcommand(word) else {
            complain(format!("`cargo xtask` has no verb {word}"));
            continue;
        };
        for option in words.filter_map(|word| word.strip_prefix(OPTION)) {
            let option = option.split('=').next().unwrap_or(option);
            if !verb.get_arguments().any(|argument| argument.get_long() == Some(option)) {
                complain(format!("`cargo xtask {word}` has no option {OPTION}{option}"));
            }
        }
    }
    complaints
}

/// Rules files that cannot be read.
fn rules(page: &File) -> Vec<Complaint> {
    let blocks = page.text.match_indices("```toml\n").filter_map(|(at, opening)| {
        let block = &page.text[at + opening.len()..];
        Some((at, &block[..block.find("```")?]))
    });
    let complain = |(at, block)| {
        let faults = Rules::parse(block).err()?;
        Some(Complaint::new(page, line_of(&page.text, at), faults.to_string()))
    };
    blocks.filter_map(complain).collect()
}

#[cfg(test)]
mod tests {
    use super::super::blame::expect;
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let page = "[a](b.md)\n[a](../README.md#what-runs)\n[a](../README.md#gone)\n[a](c.md) [a](https://c.org/)\n[a](#here) [a](../docs)\n# Here\n";
        let files = [file("docs/a.md", page), file("docs/b.md", ""), file("README.md", "## What runs\n")];
        let found: Vec<String> = check(&files).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("docs/a.md:3:") && found[1].starts_with("docs/a.md:4:"), "{found:?}");
    }

    #[test]
    fn settings_metrics_verbs_and_rules_that_are_none_are_found() {
        expect(
            about_one,
            &[
                ("a.md", "FRESHLINE_REDIS_URL, FRESHLINE_…\nFRESHLINE_REDIS_URI\n", &[2]),
                ("a.md", "freshline_reads_total, freshline_api\nfreshline_read_total\n", &[2]),
                ("a.md", "`cargo xtask up --api 3`, cargo xtask …\n`cargo xtask down --api 3`\n`cargo xtask upp`\n", &[2, 3]),
                ("a.md", "```toml\n[[table]]\nname = \"articles\"\n```\n", &[1]),
            ],
        );
    }
}
