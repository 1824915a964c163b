//! The members of a JSON object, each still in its own text.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{error::Category, value::RawValue};

use super::{FIELDS, READ_ONLY, pointer};
use crate::problem::{Fault, Place, Problem, Subject};

/// The members of a body, in its order.
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads a body that has to be one JSON object.
    ///
    /// # Errors
    /// [`Subject::Malformed`] where it is no JSON at all, [`Subject::Invalid`] where it is no object.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Problem> {
        let whole = |subject, detail, remedy| {
            let shown = String::from_utf8_lossy(body);
            Problem::faulty(subject, vec![Fault::new(Place::Pointer(String::new()), Some(&shown), detail, remedy)])
        };
        let text = std::str::from_utf8(body).map_err(|wrong| {
            let detail = format!("The body is not UTF-8 from byte {} on.", wrong.valid_up_to());
            whole(Subject::Malformed, detail, "Send JSON in UTF-8.")
        })?;
        serde_json::from_str(text).map_err(|wrong| match wrong.classify() {
            Category::Data => whole(Subject::Invalid, "The body is not an object.".to_owned(), "Send one JSON object."),
            Category::Syntax | Category::Eof | Category::Io => {
                whole(Subject::Malformed, format!("The body is not JSON: {wrong}."), "Send one JSON object.")
            }
        })
    }

    /// The value of a member; the last where there are several, which [`Members::unexpected`] tells.
    pub(super) fn get(&self, field: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(name, _)| name == field).map(|(_, raw)| *raw)
    }

    /// A fault for each member that no product has, that callers may not set, or that is there twice.
    pub(super) fn unexpected(&self) -> impl Iterator<Item = Fault> {
        self.0.iter().enumerate().filter_map(|(n, (name, raw))| {
            let fault = |detail: String, remedy: String| Some(Fault::new(pointer(name), Some(raw.get()), detail, remedy));
            if self.0[..n].iter().any(|(earlier, _)| earlier == name) {
                fault(format!("{name} is there twice."), "Send it once.".to_owned())
            } else if READ_ONLY.contains(&name.as_ref()) {
                fault(format!("{name} is kept by the catalogue."), "Leave it out.".to_owned())
            } else if !FIELDS.contains(&name.as_ref()) {
                fault("No product has a field of this name.".to_owned(), format!("Use some of {}.", FIELDS.join(", ")))
            } else {
                None
            }
        })
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
