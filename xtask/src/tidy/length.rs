//! No function grows past 70 lines. Those that are longer already are listed, and may only shrink.

use std::collections::BTreeMap;

use super::File;
use super::blame::Complaint;
use super::lexed::{Lexed, line_of};

/// The most lines of a function, from `fn` to its last brace: what fits on a screen.
const LINES_MAX: usize = 70;

/// The functions that are longer: `path name lines`, one a line.
pub const LISTED: &str = include_str!("long_functions.txt");

/// Where that list is.
const LIST: &str = "xtask/src/tidy/long_functions.txt";

/// Checks the functions of all files against the list.
pub fn check(rust: &[(&File, Lexed)], listed: &str) -> Vec<Complaint> {
    let mut allowed: BTreeMap<(&str, &str), usize> = listed.lines().filter_map(parse).collect();
    let mut complaints = Vec::new();
    for (file, lexed) in rust {
        for function in functions(&lexed.code).filter(|function| function.lines > LINES_MAX) {
            let listed = allowed.remove(&(file.path.as_str(), function.name));
            complaints.extend(advice(&function, listed).map(|advice| Complaint::new(file, function.line, advice)));
        }
    }
    let gone = allowed.into_keys().map(|(path, name)| {
        let list = File { path: LIST.into(), text: String::new() };
        Complaint::new(&list, 1, format!("`{name}` of {path} is no longer over {LINES_MAX} lines: take it off this list"))
    });
    complaints.extend(gone);
    complaints
}

fn advice(function: &Function, listed: Option<usize>) -> Option<String> {
    let Function { name, lines, .. } = function;
    match listed {
        None => Some(format!("`{name}` has {lines} lines, {LINES_MAX} is the most: give its parts names of their own")),
        Some(listed) if *lines > listed => Some(format!("`{name}` grew from {listed} to {lines} lines: it may only shrink")),
        Some(listed) if *lines < listed => Some(format!("`{name}` shrank to {lines} lines: write that number into {LIST}")),
        Some(_) => None,
    }
}

fn parse(line: &str) -> Option<((&str, &str), usize)> {
    let mut words = line.split_whitespace();
    Some(((words.next()?, words.next()?), words.next()?.parse().ok()?))
}

/// A function with a body.
struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

fn functions(code: &str) -> impl Iterator<Item = Function<'_>> {
    let starts =
        code.match_indices("fn ").map(|(at, _)| at).filter(|at| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    starts.filter_map(|at| {
        let name = code[at + 3..].split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())?;
        let end = at + body_end(&code[at..])?;
        let (line, last) = (line_of(code, at), line_of(code, end));
        Some(Function { name, line, lines: last - line + 1 })
    })
}

/// Where the body ends of the function that `code` begins with; none if it has none. A `;` inside `[u8; 16]` ends no signature.
fn body_end(code: &str) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others = others.saturating_sub(1),
            b';' if braces == 0 && others == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_short_or_listed_with_its_length() {
        let long = format!(
            "//! A.\nfn short() {{}}\ntrait T {{ fn bodyless(a: [u8; 2]); }}\nfn long(f: fn(u8) -> u8) {{\n{}}}\n",
            "    x();\n".repeat(80)
        );
        let file = File { path: "a/src/a.rs".into(), text: long };
        let complaints = |listed: &str| -> Vec<String> {
            check(&[(&file, Lexed::new(&file.text))], listed).iter().map(Complaint::to_string).collect()
        };
        assert_eq!(complaints("").len(), 1);
        assert!(complaints("")[0].starts_with("a/src/a.rs:4: `long` has 82 lines"), "{:?}", complaints(""));
        assert!(complaints("a/src/a.rs long 82\n").is_empty());
        assert!(complaints("a/src/a.rs long 81\n")[0].contains("grew from 81 to 82"));
        assert!(complaints("a/src/a.rs long 90\n")[0].contains("shrank to 82"));
        assert!(complaints("a/src/a.rs long 82\na/src/a.rs short 90\n")[0].contains("take it off this list"));
    }
}
