//! The JSON of messages, as serde reads it: borrowed from the message, rows left as they are.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use serde_json::value::RawValue;

use crate::coherence::Source;

/// A text, borrowed where nothing in it is escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text<'a>(pub Cow<'a, str>);

/// Every field of every kind of message that is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    /// Where the message carries its schema, this is the message.
    #[serde(borrow)]
    pub payload: Option<&'a RawValue>,
    #[serde(borrow)]
    pub op: Option<Text<'a>>,
    #[serde(borrow)]
    pub before: Option<&'a RawValue>,
    #[serde(borrow)]
    pub after: Option<&'a RawValue>,
    #[serde(borrow)]
    pub source: Option<Origin<'a>>,
    pub transaction: Option<Transaction>,
    #[serde(borrow)]
    pub message: Option<Logical<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    pub event_count: Option<u64>,
    pub ts_ms: Option<i64>,
    pub position: Option<u64>,
    pub xid: Option<u64>,
    #[serde(borrow)]
    pub hole: Option<Hole<'a>>,
    #[serde(deserialize_with = "parsed")]
    pub history: Option<Source>,
}

/// `source`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Origin<'a> {
    #[serde(borrow)]
    pub schema: Option<Text<'a>>,
    #[serde(borrow)]
    pub table: Option<Text<'a>>,
    #[serde(rename = "txId")]
    pub tx_id: Option<u64>,
    pub lsn: Option<u64>,
    #[serde(borrow)]
    pub sequence: Option<Text<'a>>,
    pub ts_us: Option<i64>,
    /// A word, or in old versions true and false.
    #[serde(borrow)]
    pub snapshot: Option<&'a RawValue>,
    pub xid: Option<u64>,
    pub end: Option<u64>,
    pub ordinal: Option<u64>,
    pub last: bool,
    #[serde(deserialize_with = "parsed")]
    pub history: Option<Source>,
}

/// `transaction` of a change.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Transaction {
    pub total_order: Option<u64>,
}

/// `message` of a logical message.
#[derive(Debug, Deserialize)]
pub(super) struct Logical<'a> {
    #[serde(borrow)]
    pub prefix: Text<'a>,
    #[serde(borrow)]
    pub content: Text<'a>,
}

/// `hole`, which only we write.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Hole<'a> {
    #[serde(borrow)]
    pub snapshot: Option<Text<'a>>,
    pub over: Option<u64>,
}

/// As much of a message as is read where the rest does not fit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Salvage<'a> {
    #[serde(borrow)]
    pub payload: Option<&'a RawValue>,
    #[serde(borrow)]
    pub source: Option<&'a RawValue>,
}

/// As much of `source` as is read where the rest does not fit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SalvageOrigin<'a> {
    #[serde(borrow)]
    pub schema: Option<&'a RawValue>,
    #[serde(borrow)]
    pub table: Option<&'a RawValue>,
    #[serde(borrow, rename = "txId")]
    pub tx_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub xid: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Borrow)
    }
}

/// An identity in its text.
fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(from: D) -> Result<Option<T>, D::Error> {
    let text: Option<Text<'de>> = Option::deserialize(from)?;
    text.map(|text| text.0.parse().map_err(D::Error::custom)).transpose()
}
