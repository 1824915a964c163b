//! No path of one person's machine gets into the repository.

use super::File;
use super::blame::Complaint;
use super::lexed::line_of;

/// Beginnings of such paths, each in two halves so that this list is not one of them.
const PLACES: [(&str, &str); 4] = [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/")];

/// Checks one file, of any kind.
pub fn check(file: &File) -> Vec<Complaint> {
    let found = PLACES.iter().map(|(one, other)| format!("{one}{other}")).flat_map(|place| {
        let advice = format!("`{place}` is a place on somebody's machine: write a relative path, or one that everybody has");
        let lines: Vec<usize> = begins(&file.text, &place).collect();
        lines.into_iter().map(move |line| Complaint::new(file, line, advice.clone()))
    });
    found.collect()
}

/// The lines where a path begins so, rather than goes on so.
fn begins(text: &str, place: &str) -> impl Iterator<Item = usize> {
    let places = text.match_indices(place).map(|(at, _)| at);
    places
        .filter(|at| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}')))
        .map(|at| line_of(text, at))
}

#[cfg(test)]
mod tests {
    use super::super::blame::expect;
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_found_and_a_longer_one_that_everybody_has_is_not() {
        let home = format!("see {}me/joe/x\nthe user's home/x, {{}}/home/x and a root\n", "/ho");
        expect(check, &[("README.md", &home, &[1])]);
    }
}
