//! Texts as JSON: strings escaped, numbers and documents checked.

/// What stands for a byte inside a JSON string: 0 for itself, `u` for `\u00XX`, else the letter after the backslash.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0A] = b'n';
    escapes[0x0C] = b'f';
    escapes[0x0D] = b'r';
    escapes
};

/// Appends a text as a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[byte as usize];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match escape {
            b'u' => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]),
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// Whether a text is a whole number as JSON writes it.
pub(crate) fn is_integer(text: &str) -> bool {
    rest_of_integer(text.as_bytes()).is_some_and(<[u8]>::is_empty)
}

/// Whether a text is a number as JSON writes it.
pub(crate) fn is_number(text: &str) -> bool {
    rest_of_integer(text.as_bytes()).and_then(rest_of_fraction).and_then(rest_of_exponent).is_some_and(<[u8]>::is_empty)
}

/// What comes after a whole number without needless zeros; `None` where there is no such number.
fn rest_of_integer(text: &[u8]) -> Option<&[u8]> {
    match text.strip_prefix(b"-").unwrap_or(text) {
        [b'0', rest @ ..] => Some(rest),
        digits => rest_of_digits(digits),
    }
}

/// What comes after a fraction, where there is one; `None` where it has no digits.
fn rest_of_fraction(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b".").map_or(Some(text), rest_of_digits)
}

/// What comes after an exponent, where there is one; `None` where it has no digits.
fn rest_of_exponent(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'e' | b'E', b'+' | b'-', digits @ ..] | [b'e' | b'E', digits @ ..] => rest_of_digits(digits),
        _ => Some(text),
    }
}

/// What comes after one or more digits; `None` where there is no digit.
fn rest_of_digits(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &text[digits..])
}

/// Whether a text is one JSON value: its syntax is walked through, and nothing is built.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
