//! A column's JSON → the text that Postgres prints, by the column's type.
//!
//! The JSON of a type is not one: it depends on the connector's settings, which an envelope does not tell. Where two settings would
//! mean two values, or a value lost something on its way, it is unknown.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{UNAVAILABLE, moment, number};
use crate::{config::Word, row_json::is_integer};

/// How the connector writes `numeric` (`decimal.handling.mode`): the one setting that a value cannot show. Under `precise` NaN comes
/// as null, so that a null says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numerics {
    /// `string`.
    #[default]
    Text,
    /// `precise`: base64 of the unscaled number.
    Precise,
}

impl Word for Numerics {
    const WORDS: &'static [(&'static str, Self)] = &[("string", Self::Text), ("precise", Self::Precise)];
}

/// How a column comes in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Integer,
    Float4,
    Float8,
    /// With the digits after the point, where the type says how many.
    Numeric(Option<u32>),
    Text,
    /// `character(n)`, padded to so many characters.
    Padded(usize),
    Date,
    /// With whether the type keeps at most milliseconds.
    Time(bool),
    Timestamp(bool),
    TimestampTz,
    Bytea,
    /// Another type, whose JSON is not what Postgres prints.
    Opaque,
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Null,
    Text,
    /// It says nothing about the value, or not exactly.
    Unknown,
    /// No value of the type looks like it.
    Wrong,
}

/// What a column is in the catalogue, as far as its form depends on it.
pub(super) struct Typed<'a> {
    /// `pg_type.oid`; of a domain, that of the type it restricts.
    pub id: u32,
    pub modifier: i32,
    /// `pg_type.typtype`.
    pub kind: char,
    /// `pg_type.typname`.
    pub name: &'a str,
}

/// What comes before the length or the scale in a type's modifier (`VARHDRSZ`).
const HEADER_LEN: i32 = 4;

impl Form {
    /// By `pg_type.oid`; these of the built-in types never change.
    pub(super) fn of(typed: &Typed<'_>) -> Self {
        let modifier = typed.modifier;
        match typed.id {
            16 => Self::Bool,
            20 | 21 | 23 | 26 => Self::Integer,
            700 => Self::Float4,
            701 => Self::Float8,
            // numeric_typmod_scale: eleven bits. A negative scale, which Postgres 15 brought, has no digits either.
            1700 => Self::Numeric((modifier >= HEADER_LEN).then(|| {
                let scale = ((modifier - HEADER_LEN) & 0x7ff) ^ 1024;
                u32::try_from(scale - 1024).unwrap_or(0)
            })),
            25 | 1043 | 19 | 114 | 3802 | 2950 => Self::Text,
            1042 => Self::Padded(usize::try_from(modifier - HEADER_LEN).unwrap_or(0)),
            1082 => Self::Date,
            1083 => Self::Time((0..=3).contains(&modifier)),
            1114 => Self::Timestamp((0..=3).contains(&modifier)),
            1184 => Self::TimestampTz,
            17 => Self::Bytea,
            _ if typed.kind == 'e' || typed.name == "citext" => Self::Text,
            _ => Self::Opaque,
        }
    }

    /// Appends what Postgres prints for a value that Debezium wrote.
    pub(super) fn push(self, out: &mut Vec<u8>, json: &str, numerics: Numerics) -> Written {
        let begin = out.len();
        let written = match json.as_bytes().first() {
            Some(b'n') => self.null(numerics),
            Some(b'"') => match text_of(json) {
                Some(text) if text == UNAVAILABLE => Written::Unknown,
                Some(text) => self.push_text(out, &text, numerics),
                None => Written::Wrong,
            },
            Some(b't' | b'f') => self.push_bool(out, json),
            Some(b'{' | b'[') => self.push_nested(out, json, numerics),
            _ => self.push_number(out, json),
        };
        if written != Written::Text {
            out.truncate(begin);
        }
        written
    }

    fn null(self, numerics: Numerics) -> Written {
        if matches!(self, Self::Numeric(_)) && numerics == Numerics::Precise { Written::Unknown } else { Written::Null }
    }

    fn push_bool(self, out: &mut Vec<u8>, json: &str) -> Written {
        match (self, json) {
            (Self::Bool, "true") => out.push(b't'),
            (Self::Bool, "false") => out.push(b'f'),
            (Self::Opaque, _) => return Written::Unknown, // bit(1)
            _ => return Written::Wrong,
        }
        Written::Text
    }

    fn push_number(self, out: &mut Vec<u8>, json: &str) -> Written {
        let known = |known: Option<()>| known.map_or(Written::Unknown, |()| Written::Text);
        let whole = is_integer(json).then(|| json.parse::<i64>().ok()).flatten();
        match (self, whole) {
            (Self::Integer, Some(_)) => {
                out.extend_from_slice(json.as_bytes());
                Written::Text
            }
            (Self::Float4, _) => json.parse().map_or(Written::Wrong, |float: f32| number::push_f32(out, float)),
            (Self::Float8, _) => json.parse().map_or(Written::Wrong, |float: f64| number::push_f64(out, float)),
            (Self::Date, Some(days)) => known(moment::push_date(out, days)),
            (Self::Time(in_millis), Some(count)) => known(moment::push_time(out, count, in_millis)),
            (Self::Timestamp(in_millis), Some(count)) => known(moment::push_timestamp(out, count, in_millis)),
            // A float has lost digits.
            (Self::Numeric(_) | Self::Opaque, _) => Written::Unknown,
            _ => Written::Wrong,
        }
    }

    fn push_text(self, out: &mut Vec<u8>, text: &str, numerics: Numerics) -> Written {
        let known = |known: Option<()>| known.map_or(Written::Unknown, |()| Written::Text);
        match self {
            Self::Text => {
                out.extend_from_slice(text.as_bytes());
                Written::Text
            }
            Self::Padded(len) => {
                out.extend_from_slice(text.as_bytes());
                out.extend(std::iter::repeat_n(b' ', len.saturating_sub(text.chars().count())));
                Written::Text
            }
            Self::Numeric(scale) => known(match (numerics, scale) {
                (Numerics::Text, scale) => number::push_decimal_text(out, text, scale),
                (Numerics::Precise, Some(scale)) => number::push_unscaled(out, text, scale),
                (Numerics::Precise, None) => None,
            }),
            Self::Float4 | Self::Float8 => number::push_special_float(out, text).map_or(Written::Wrong, |()| Written::Text),
            Self::Date => known(moment::push_iso_date(out, text)),
            Self::Time(_) => known(moment::push_iso_time(out, text)),
            Self::Timestamp(_) => known(moment::push_iso_timestamp(out, text, "")),
            Self::TimestampTz => known(moment::push_iso_timestamp(out, text, "+00")),
            Self::Bytea => known(push_bytes(out, text)),
            Self::Opaque => Written::Unknown,
            Self::Bool | Self::Integer => Written::Wrong,
        }
    }

    fn push_nested(self, out: &mut Vec<u8>, json: &str, numerics: Numerics) -> Written {
        match (self, numerics) {
            (Self::Numeric(None), Numerics::Precise) => number::push_scaled(out, json).map_or(Written::Unknown, |()| Written::Text),
            (Self::Numeric(_) | Self::Opaque, _) => Written::Unknown,
            _ => Written::Wrong,
        }
    }
}

/// Appends what Postgres prints for a value that our relay wrote: there it is the text, or a literal that is the same.
pub(super) fn push_verbatim(out: &mut Vec<u8>, json: &str, form: Form) -> Written {
    match json.as_bytes().first() {
        Some(b'n') => return Written::Null,
        Some(b't') => out.push(b't'),
        Some(b'f') => out.push(b'f'),
        Some(b'"') => match text_of(json) {
            Some(text) if text == UNAVAILABLE => return Written::Unknown,
            Some(text) if form == Form::TimestampTz => moment::push_from_iso(out, &text),
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => return Written::Wrong,
        },
        Some(b'{' | b'[') | None => return Written::Wrong,
        Some(_) => out.extend_from_slice(json.as_bytes()),
    }
    Written::Text
}

/// The text of a JSON string.
fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.get(1..json.len().checked_sub(1)?)?;
    if inner.contains('\\') { serde_json::from_str::<String>(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// base64, the connector's default. All of it hexadecimal digits may as well be `binary.handling.mode=hex`, and says nothing.
fn push_bytes(out: &mut Vec<u8>, text: &str) -> Option<()> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    if !text.is_empty() && text.bytes().all(|byte| HEX.contains(&byte)) {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(text).ok().filter(|bytes| bytes != UNAVAILABLE.as_bytes())?;
    out.extend_from_slice(b"\\x");
    out.extend(bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]));
    Some(())
}
