//! Rules about single lines of Rust.

use super::File;
use super::blame::Complaint;
use super::lexed::Lexed;

/// Checks one file.
pub fn check(file: &File, lexed: &Lexed) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if !file.text.starts_with("//! ") {
        complaints.push(Complaint::new(file, 1, "open the file with `//! ` and its idea in a sentence"));
    }
    for (line, code) in lexed.lines() {
        let in_test = file.is_test() || line >= lexed.tests_from;
        complaints.extend(advice(code, in_test).map(|advice| Complaint::new(file, line, advice)));
    }
    complaints
}

fn advice(code: &str, in_test: bool) -> Option<&'static str> {
    let statement = code.trim_start();
    if in_test && calls(code, "sleep") {
        return Some("a test does not sleep: await the condition with `stage::until`");
    }
    if !in_test && ["tokio::spawn(", "tokio::task::spawn(", "task::spawn("].iter().any(|spawn| statement.starts_with(spawn)) {
        return Some("nobody owns this task: spawn it on a JoinSet, or keep its handle and await it");
    }
    if statement.starts_with("let _ =") {
        return Some("do not throw a value away: handle the error, or `drop` what is no Result");
    }
    None
}

/// Whether a function of this name is called, with or without a path before it.
fn calls(code: &str, name: &str) -> bool {
    let call = format!("{name}(");
    code.match_indices(&call).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::super::blame::expect;
    use super::*;

    #[test]
    fn a_file_says_its_idea_first() {
        expect(rule, &[("a/src/b.rs", "//! An idea.\n", &[]), ("a/src/b.rs", "fn a() {}\n", &[1])]);
    }

    #[test]
    fn a_test_does_not_sleep_but_other_code_may() {
        let sleeps = "//! A.\nasync fn a() {\n    tokio::time::sleep(PAUSE).await;\n    // sleep(1)\n    f(\"sleep(1)\"); fall_asleep(); oversleep(2);\n}\n";
        expect(rule, &[("a/src/b.rs", sleeps, &[]), ("a/tests/it/b.rs", sleeps, &[3]), ("a/src/b/tests.rs", sleeps, &[3])]);
        expect(rule, &[("a/src/b.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    fn a() { sleep(1) }\n}\n", &[4])]);
    }

    #[test]
    fn a_task_has_an_owner_outside_tests() {
        let spawns = "//! A.\nfn a() {\n    tokio::spawn(b());\n    let task = tokio::spawn(b());\n    tasks.spawn(b());\n}\n";
        expect(rule, &[("a/src/b.rs", spawns, &[3]), ("a/tests/it/b.rs", spawns, &[])]);
    }

    #[test]
    fn no_value_is_thrown_away() {
        expect(rule, &[("a/src/b.rs", "//! A.\nfn a() {\n    let _ = b();\n    let _guard = c();\n}\n", &[3])]);
    }

    fn rule(file: &File) -> Vec<Complaint> {
        check(file, &Lexed::new(&file.text))
    }
}
