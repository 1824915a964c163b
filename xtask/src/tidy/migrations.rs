//! A migration says why it is there and how to undo it.

use super::File;
use super::blame::Complaint;

/// What its opening comment holds, and what to write if it does not.
const PARTS: [(&str, &str); 2] = [
    ("-- Why", "say in the opening comment why this is needed: `-- Why …`"),
    ("Undo:", "say in the opening comment how to undo this: `Undo: …`"),
];

/// Checks one file, if it is a migration.
pub fn check(file: &File) -> Vec<Complaint> {
    let Some(name) = file.path.strip_prefix("migrations/").filter(|name| name.ends_with(".sql")) else { return Vec::new() };
    let opening: String = file.text.lines().take_while(|line| line.starts_with("--")).flat_map(|line| [line, "\n"]).collect();
    let mut complaints = Vec::new();
    if !opening.starts_with(&format!("-- {name}: ")) {
        complaints.push(Complaint::new(file, 1, format!("open with `-- {name}: ` and what it does")));
    }
    let missing = PARTS.iter().filter(|(part, _)| !opening.contains(part));
    complaints.extend(missing.map(|(_, advice)| Complaint::new(file, 1, *advice)));
    complaints
}

#[cfg(test)]
mod tests {
    use super::super::blame::expect;
    use super::*;

    #[test]
    fn a_migration_names_itself_and_says_why_and_how_to_undo_it() {
        let good = "-- 0001_a.sql: a table.\n-- Why: to hold it.\n-- Lock: none. Undo: drop table a;\ncreate table a ();\n";
        let late = "-- 0001_a.sql: a table.\ncreate table a ();\n-- Why: to hold it. Undo: drop table a;\n";
        expect(
            check,
            &[("migrations/0001_a.sql", good, &[]), ("migrations/0001_a.sql", late, &[1, 1]), ("other/0001_a.sql", late, &[])],
        );
        expect(check, &[("migrations/0002_a.sql", good, &[1])]);
    }
}
