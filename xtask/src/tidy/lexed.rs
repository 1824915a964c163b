//! Rust source, taken apart just far enough: code, string literals, comments.

use std::ops::Range;

/// A string literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// The line that it begins on, from 1.
    pub line: usize,
    /// Where it stands in the text, quotes included.
    pub place: Range<usize>,
    /// What is between the quotes, escapes and all.
    pub text: String,
}

/// A source file taken apart.
#[derive(Debug)]
pub struct Lexed {
    /// The text with comments, and what literals hold, blanked; as long as the text, with the same lines.
    pub code: String,
    /// The string literals, in order.
    pub literals: Vec<Literal>,
    /// The first line of the test module at the end of the file; behind the last line if there is none.
    pub tests_from: usize,
}

/// What begins at some place of the source.
enum Piece {
    Code,
    Comment,
    /// A string literal with so many bytes before and behind its text.
    Literal {
        before: usize,
        behind: usize,
    },
    Char,
}

impl Lexed {
    /// Takes `text` apart.
    pub fn new(text: &str) -> Self {
        let (mut code, mut literals) = (String::with_capacity(text.len()), Vec::new());
        let mut at = 0;
        while at < text.len() {
            let (piece, len) = piece(&text[at..], text[..at].chars().next_back());
            let part = &text[at..at + len];
            match piece {
                Piece::Code => code.push_str(part),
                Piece::Comment => blank(&mut code, part),
                Piece::Char => blank(&mut code, part),
                Piece::Literal { before, behind } => {
                    let inner = &part[before..len - behind];
                    literals.push(Literal { line: line_of(text, at), place: at..at + len, text: inner.to_owned() });
                    code.push_str(&part[..before]);
                    blank(&mut code, inner);
                    code.push_str(&part[len - behind..]);
                }
            }
            at += len;
        }
        let tests_from = tests_from(&code);
        Self { code, literals, tests_from }
    }

    /// The lines of the code, numbered from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// The line of a place in a text, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// What `rest` begins with, and how long that is in bytes; `before` is the character before it.
fn piece(rest: &str, before: Option<char>) -> (Piece, usize) {
    if rest.starts_with("//") {
        return (Piece::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Piece::Comment, block_comment(rest));
    }
    if let Some(literal) = literal(rest, before) {
        return literal;
    }
    if rest.starts_with('\'')
        && let Some(len) = character(rest)
    {
        return (Piece::Char, len);
    }
    (Piece::Code, rest.chars().next().map_or(0, char::len_utf8))
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `"…"`, `b"…"`, `c"…"`, and the raw ones with any number of `#`.
fn literal(rest: &str, before: Option<char>) -> Option<(Piece, usize)> {
    let word = rest.find(|c: char| !matches!(c, 'r' | 'b' | 'c')).unwrap_or(rest.len());
    if word > 2 || (word > 0 && before.is_some_and(|c| c.is_alphanumeric() || c == '_')) {
        return None;
    }
    let raw = rest[..word].contains('r');
    let hashes = if raw { rest[word..].bytes().take_while(|byte| *byte == b'#').count() } else { 0 };
    let open = word + hashes + 1;
    if rest.as_bytes().get(open - 1) != Some(&b'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let inner = if raw { rest[open..].find(&close)? } else { escaped_end(&rest[open..])? };
    Some((Piece::Literal { before: open, behind: close.len() }, open + inner + close.len()))
}

/// Where the quote is that ends a literal with escapes.
fn escaped_end(rest: &str) -> Option<usize> {
    let mut escaped = false;
    rest.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    })
}

/// The length of a character literal; none if the quote begins a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    match chars.next()?.1 {
        '\\' => rest[3..].find('\'').map(|end| end + 4), // the escaped character may be a quote itself
        _ => chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1),
    }
}

fn blank(code: &mut String, part: &str) {
    code.extend(part.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
}

/// Test modules stand at the end of a file.
fn tests_from(code: &str) -> usize {
    let mut lines = code.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if line.trim_end() == "#[cfg(test)]" && lines.peek().is_some_and(|(_, next)| next.starts_with("mod ") && next.contains('{'))
        {
            return index + 1;
        }
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_told_from_code() {
        let text = "let a = \"x // \\\" y\"; // \"no\"\nlet b = r#\"raw \" \\\"#; /* a /* b */ c */ let c = '\"'; f::<'a>(b'\\'', b\"bytes\");\n";
        let lexed = Lexed::new(text);
        let texts: Vec<(usize, &str)> = lexed.literals.iter().map(|literal| (literal.line, literal.text.as_str())).collect();
        assert_eq!(texts, [(1, "x // \\\" y"), (2, "raw \" \\"), (2, "bytes")]);
        assert_eq!(lexed.code.len(), text.len());
        assert!(!lexed.code.contains("no") && !lexed.code.contains("/*") && lexed.code.contains("f::<'a>("), "{}", lexed.code);
    }

    #[test]
    fn a_name_that_ends_like_a_prefix_is_no_literal() {
        let lexed = Lexed::new("macro_rules! var { () => {} } let r = var\"x\";");
        assert_eq!(lexed.literals.len(), 1);
        assert_eq!(lexed.literals[0].text, "x");
    }

    #[test]
    fn the_test_module_is_found() {
        assert_eq!(Lexed::new("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n").tests_from, 3);
        assert_eq!(Lexed::new("#[cfg(test)]\nmod tests;\nfn a() {}\n").tests_from, usize::MAX);
    }
}
