//! Attributes: any JSON object that `jsonb` can store, kept in its own text so that no number loses digits.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Wrong, kind_of};

/// A JSON object that `jsonb` takes, in its own text.
pub(super) fn object(raw: &RawValue) -> Result<Box<RawValue>, Wrong> {
    if kind_of(raw) != "an object" {
        return Err(Wrong::new(format!("is {}, and has to be an object", kind_of(raw)), "Send an object, {} for none."));
    }
    match serde_json::from_str::<Storable>(raw.get()) {
        Ok(Storable) => Ok(raw.to_owned()),
        Err(wrong) => Err(Wrong::new(format!("cannot be stored: {wrong}"), "Send what JSON programs agree on (RFC 7493, I-JSON).")),
    }
}

/// Any JSON without what `jsonb` refuses: the character U+0000, half of a surrogate pair, a number beyond a double's range. The last
/// is stricter than `jsonb`, and keeps from our callers what theirs could not read.
struct Storable;

impl<'de> Deserialize<'de> for Storable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StorableVisitor)
    }
}

struct StorableVisitor;

impl<'de> Visitor<'de> for StorableVisitor {
    type Value = Storable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Storable, E> {
        Ok(Storable)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Storable, E> {
        if text.contains('\0') { Err(E::custom("the character U+0000")) } else { Ok(Storable) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Storable, A::Error> {
        while array.next_element::<Storable>()?.is_some() {}
        Ok(Storable)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Storable, A::Error> {
        while object.next_entry::<Storable, Storable>()?.is_some() {}
        Ok(Storable)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"{"a": [1, 2.5, null, true, "x"], "b": {"c": 123456789012345678901234567890.5}}"#)]
    #[case("{}")]
    fn an_object_is_kept_in_its_own_text(#[case] json: &str) {
        let raw = RawValue::from_string(json.to_owned()).expect("JSON");
        assert_eq!(object(&raw).expect("storable").get(), json);
    }

    #[rstest]
    #[case("[]", "is an array")]
    #[case("\"{}\"", "is a string")]
    #[case(r#"{"a": "\u0000"}"#, "U+0000")]
    #[case(r#"{"\u0000": 1}"#, "U+0000")]
    #[case(r#"{"a": ["\ud800"]}"#, "cannot be stored")]
    #[case(r#"{"a": 1e999}"#, "number out of range")]
    #[case(&format!("{{\"a\": {}{}}}", "[".repeat(200), "]".repeat(200)), "recursion limit")]
    fn what_jsonb_cannot_hold_is_refused(#[case] json: &str, #[case] detail: &str) {
        let raw = RawValue::from_string(json.to_owned()).expect("JSON");
        let wrong = object(&raw).expect_err("not storable");
        assert!(wrong.detail.contains(detail), "{wrong:?}");
    }
}
