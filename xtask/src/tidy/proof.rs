//! What may get into the cache is read together with the snapshot that it was read under.
//!
//! protocol: a value is as good as the proof read in the same statement; one read in another statement proves nothing. So in the
//! rooms that feed the cache each `select` asks for `pg_current_snapshot()`, or a comment before it says why it need not.

use super::File;
use super::blame::Complaint;
use super::lexed::{Lexed, Literal};

/// The rooms that feed the cache.
const ROOMS: [&str; 3] = ["common/src/catalog", "warmer/src/", "api/src/"];

/// What the statement asks for.
const PROOF: &str = "pg_current_snapshot()";

/// What a comment says, on the line of the literal or in the lines before it, that excuses a statement.
const EXCUSE: &str = "not cached";

/// How far before its literal an excuse may stand, in lines.
const EXCUSE_DISTANCE_MAX: usize = 3;

/// Checks one file, if it lies in such a room.
pub fn check(file: &File, lexed: &Lexed) -> Vec<Complaint> {
    if file.is_test() || !ROOMS.iter().any(|room| file.path.starts_with(room)) {
        return Vec::new();
    }
    let statements = lexed.literals.iter().filter(|literal| literal.line < lexed.tests_from && selects(&literal.text));
    let unproven = statements.filter(|literal| !literal.text.contains(PROOF) && !excused(&file.text, literal));
    let advice =
        format!("select {PROOF} in the same statement; if what is read is never cached, say so before it: `// {EXCUSE}: why`");
    unproven.map(|literal| Complaint::new(file, literal.line, advice.clone())).collect()
}

/// Whether a literal is a statement that reads: its first word is `select`, or `with` and there is a `select` in it.
fn selects(text: &str) -> bool {
    let mut words =
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).map(str::to_ascii_lowercase);
    match words.next().as_deref() {
        Some("select") => text.contains(char::is_whitespace),
        Some("with") => words.any(|word| word == "select"),
        _ => false,
    }
}

fn excused(text: &str, literal: &Literal) -> bool {
    let lines = text.lines().take(literal.line).skip(literal.line.saturating_sub(EXCUSE_DISTANCE_MAX + 1));
    lines.filter_map(|line| line.split_once("//")).any(|(_, comment)| comment.contains(EXCUSE))
}

#[cfg(test)]
mod tests {
    use super::super::blame::expect;
    use super::*;

    #[test]
    fn a_select_that_feeds_the_cache_carries_its_proof() {
        let bare = "fn a() {\n    query(\"select id from products\");\n}\n";
        let proven = "fn a() {\n    query(\"select id, pg_current_snapshot()::text from products\");\n}\n";
        let with = "fn a() {\n    query(r#\"\n        with ids as (select 1)\n        select * from ids\"#);\n}\n";
        let excused = "fn a() {\n    // not cached: it answers a write\n    query(\"select id from products\");\n}\n";
        let text = "fn a() {\n    say(\"with great care\"); say(\"select\"); say(\"update products set x = (select 1)\");\n}\n";
        let path = "common/src/catalog/reads.rs";
        expect(rule, &[(path, bare, &[2]), (path, proven, &[]), (path, with, &[2]), (path, excused, &[]), (path, text, &[])]);
        expect(rule, &[("api/src/a.rs", bare, &[2]), ("invalidator/src/a.rs", bare, &[]), ("api/tests/it/a.rs", bare, &[])]);
    }

    fn rule(file: &File) -> Vec<Complaint> {
        check(file, &Lexed::new(&file.text))
    }
}
