//! Every variable and every metric that the code names is documented.

use super::File;
use super::blame::Complaint;
use super::lexed::{Lexed, Literal};

/// The prefix of our variables. Settings are declared without it: `Setting::millis("GRACE_MS", …)`.
const VARIABLE: &str = "FRESHLINE_";

/// The prefix of our metrics.
const METRIC: &str = "freshline_";

/// Names that look like metrics and are something else: roles, databases, slots.
const NOT_METRICS: [&str; 7] = [
    "freshline_api",
    "freshline_invalidator",
    "freshline_warmer",
    "freshline_template",
    "freshline_operator",
    "freshline_relay",
    "freshline_debezium",
];

/// Where variables and metrics are documented. A page that isn't there yet asks for nothing.
const SETTINGS_PAGE: &str = "docs/settings.md";
const METRICS_PAGE: &str = "docs/metrics.md";

/// Checks the names in all of the code that is no test against the pages.
pub fn check(rust: &[(&File, Lexed)], files: &[File]) -> Vec<Complaint> {
    let settings = page(files, SETTINGS_PAGE);
    let metrics = page(files, METRICS_PAGE);
    let mut complaints = Vec::new();
    for (file, lexed) in rust.iter().filter(|(file, _)| !file.is_test()) {
        for literal in lexed.literals.iter().filter(|literal| literal.line < lexed.tests_from) {
            if let Some(name) = variable(literal, &lexed.code) {
                complaints.extend(missing(file, literal, &name, settings, SETTINGS_PAGE));
            } else if is_metric(&literal.text) {
                complaints.extend(missing(file, literal, &literal.text, metrics, METRICS_PAGE));
            }
        }
    }
    complaints
}

fn page<'a>(files: &'a [File], path: &str) -> Option<&'a str> {
    files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
}

fn missing(file: &File, literal: &Literal, name: &str, page: Option<&str>, path: &str) -> Option<Complaint> {
    let documented = page?.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name);
    (!documented).then(|| Complaint::new(file, literal.line, format!("document `{name}` in {path}")))
}

/// The variable that a literal names: by its whole name, or as the first argument of a setting's declaration.
fn variable(literal: &Literal, code: &str) -> Option<String> {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
    if literal.text.strip_prefix(VARIABLE).is_some_and(is_name) {
        return Some(literal.text.clone());
    }
    (is_name(&literal.text) && declares_setting(&code[..literal.place.start])).then(|| format!("{VARIABLE}{}", literal.text))
}

/// Whether the code before a literal ends in `Setting::<something>(`.
fn declares_setting(before: &str) -> bool {
    let Some(call) = before.trim_end().strip_suffix('(') else { return false };
    call.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').ends_with("Setting::")
}

fn is_metric(text: &str) -> bool {
    let is_name = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    text.strip_prefix(METRIC).is_some_and(is_name) && !NOT_METRICS.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_code_is_on_its_page() {
        let source = "//! A.\nconst A: Setting = Setting::millis(\n    \"GRACE_MS\",\n    \"The grace.\",\n);\nconst B: &str = \"FRESHLINE_LOG\";\n\
                      const C: &str = \"freshline_reads_total\";\nconst D: &str = \"freshline_api\";\nconst E: &str = \"OTHER\";\n";
        let code = |path: &str| File { path: path.into(), text: source.into() };
        let page = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let lines = |files: &[File]| -> Vec<String> {
            let rust: Vec<(&File, Lexed)> =
                files.iter().filter(|file| file.is_rust()).map(|file| (file, Lexed::new(&file.text))).collect();
            check(&rust, files).iter().map(Complaint::to_string).collect()
        };
        let none = lines(&[code("a/src/a.rs"), page(SETTINGS_PAGE, "")]);
        assert_eq!(none.len(), 2, "{none:?}");
        assert_eq!(none[0], "a/src/a.rs:3: document `FRESHLINE_GRACE_MS` in docs/settings.md");
        let settings = page(SETTINGS_PAGE, "| `FRESHLINE_GRACE_MS` | … |\n| `FRESHLINE_LOG` |\n");
        let longer = page(METRICS_PAGE, "`freshline_reads_total_of_something`\n");
        assert_eq!(
            lines(&[code("a/src/a.rs"), settings, longer]),
            ["a/src/a.rs:7: document `freshline_reads_total` in docs/metrics.md"]
        );
        assert!(lines(&[code("a/tests/a.rs"), page(SETTINGS_PAGE, "")]).is_empty(), "tests name what they like");
    }
}
