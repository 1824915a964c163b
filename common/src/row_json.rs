//! The one encoder that makes a row's JSON, from a query and from the change stream alike, so that bytes and ETag agree.
//!
//! Its input is the text that Postgres prints. The stream prints with a type's output function, a query with a cast to `text`; where
//! the two differ (`boolean`, `character(n)`, `inet`) both are taken and one form is written. Dates, intervals and `bytea` are
//! printed by settings of the session, which have to be the same on both ways: ISO dates, hexadecimal `bytea`.
//!
//! A domain has a type id of its own and counts as an unknown type: its values are strings, as printed.

mod text;
mod timestamp;

use crate::change::Datum;
use text::is_json;
pub(crate) use text::{is_integer, is_number, push_string};
pub(crate) use timestamp::date_of;

/// Makes the JSON of the rows of one list of columns. Made once for a list, used for many rows.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    columns: Box<[Encoded]>,
}

/// A column as the encoder needs it.
#[derive(Debug, Clone)]
struct Encoded {
    /// `,"name":`, or `{"name":` for the first.
    opening: Box<[u8]>,
    form: Form,
}

/// What a column's type becomes in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bool,
    Integer,
    Float,
    Json,
    TimestampTz,
    PaddedText,
    Inet,
    Text,
}

/// Why a row has no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoImage {
    /// The stream left out this column's value, because the update did not change it.
    #[error("column {column} of the row was left out of the stream: it is large and unchanged")]
    Unchanged {
        /// The column, by its place in the encoder's list.
        column: usize,
    },
    /// The row has another number of values than the encoder has columns.
    #[error("the row does not have the {columns} columns that were expected")]
    OtherColumns {
        /// How many were expected.
        columns: usize,
    },
}

impl RowEncoder {
    /// An encoder for these columns: name, and object id of the type (`pg_type.oid`).
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let encoded = |(place, (name, type_id)): (usize, (&str, u32))| {
            let mut opening = vec![if place == 0 { b'{' } else { b',' }];
            push_string(&mut opening, name);
            opening.push(b':');
            Encoded { opening: opening.into(), form: Form::of(type_id) }
        };
        Self { columns: columns.into_iter().enumerate().map(encoded).collect() }
    }

    /// Appends the JSON object of one row to `out`. Where there is none, `out` is left as it was.
    pub fn push<'a>(&self, out: &mut Vec<u8>, values: impl IntoIterator<Item = Datum<'a>>) -> Result<(), NoImage> {
        let begin = out.len();
        let pushed = self.push_columns(out, values);
        if pushed.is_err() {
            out.truncate(begin);
        }
        pushed
    }

    fn push_columns<'a>(&self, out: &mut Vec<u8>, values: impl IntoIterator<Item = Datum<'a>>) -> Result<(), NoImage> {
        let other = NoImage::OtherColumns { columns: self.columns.len() };
        let mut values = values.into_iter();
        for (place, column) in self.columns.iter().enumerate() {
            out.extend_from_slice(&column.opening);
            match values.next().ok_or(other)? {
                Datum::Null => out.extend_from_slice(b"null"),
                Datum::Text(text) => column.form.push(out, text),
                Datum::Unchanged => return Err(NoImage::Unchanged { column: place }),
            }
        }
        out.extend_from_slice(if self.columns.is_empty() { b"{}" } else { b"}" });
        values.next().map_or(Ok(()), |_| Err(other))
    }
}

impl Form {
    /// By `pg_type.oid`; these of the built-in types never change.
    fn of(type_id: u32) -> Self {
        match type_id {
            16 => Self::Bool,
            20 | 21 | 23 | 26 => Self::Integer,
            700 | 701 => Self::Float,
            114 | 3802 => Self::Json,
            1184 => Self::TimestampTz,
            1042 => Self::PaddedText,
            869 => Self::Inet,
            _ => Self::Text,
        }
    }

    /// Appends a value. A text that its type would not print is written as a string: the object stays JSON whatever comes.
    fn push(self, out: &mut Vec<u8>, text: &str) {
        match self {
            Self::Bool if matches!(text, "t" | "true") => out.extend_from_slice(b"true"),
            Self::Bool if matches!(text, "f" | "false") => out.extend_from_slice(b"false"),
            Self::Integer if is_integer(text) => out.extend_from_slice(text.as_bytes()),
            // Not a number of JSON: NaN, Infinity, -Infinity.
            Self::Float if is_number(text) => out.extend_from_slice(text.as_bytes()),
            Self::Json if is_json(text) => out.extend_from_slice(text.as_bytes()),
            Self::TimestampTz => timestamp::push_utc(out, text),
            // The cast to text strips the padding, the output function does not.
            Self::PaddedText => push_string(out, text.trim_end_matches(' ')),
            Self::Inet => push_string(out, without_host_mask(text)),
            Self::Bool | Self::Integer | Self::Float | Self::Json | Self::Text => push_string(out, text),
        }
    }
}

/// The cast to text shows the mask of a single host, the output function does not.
fn without_host_mask(text: &str) -> &str {
    let mask = if text.contains(':') { "/128" } else { "/32" };
    text.strip_suffix(mask).unwrap_or(text)
}

#[cfg(test)]
mod tests;
