//! Bodies: JSON objects, small, there within a deadline, read member by member so that everything wrong with one is told at once.

use std::{borrow::Cow, ops::RangeInclusive, time::Duration};

use axum::extract::Request;
use freshline::{
    catalog::Price,
    problem::{Fault, Place},
};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;
use uuid::Uuid;

use crate::problem::{Problem, Subject};

/// More than any body here has.
const BODY_LEN_MAX: usize = 4_096;

/// How long a body may take to come.
const BODY_MAX: Duration = Duration::from_secs(5);

/// Why a value cannot be used, and what to send instead.
pub type Wrong = (String, Cow<'static, str>);

/// The members of a body, and what was found wrong with them.
#[derive(Debug)]
pub struct Form {
    members: Map<String, Value>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Form {
    /// Reads the body of a request.
    pub async fn read(request: Request) -> Result<Self, Problem> {
        check_type(request.headers())?;
        let body = Limited::new(request.into_body(), BODY_LEN_MAX).collect();
        let body = timeout(BODY_MAX, body).await.map_err(|_| Problem::new(Subject::Slow, "It was not there in time."))?;
        let body = body.map_err(|error| Problem::new(Subject::TooLarge, format!("It may have {BODY_LEN_MAX} bytes: {error}.")))?;
        Self::parse(&body.to_bytes())
    }

    fn parse(body: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self { members, known: Vec::new(), faults: Vec::new() }),
            Ok(other) => {
                let whole = Place::Pointer(String::new());
                Err(Problem::faulty(vec![Fault::new(whole, Some(&shown(&other)), "The body is not an object.", "Send an object.")]))
            }
            Err(error) => Err(Problem::new(Subject::Malformed, format!("{error}."))),
        }
    }

    /// A member that may be left out; `None` where it is or, which is noted, cannot be used.
    pub fn given<T>(&mut self, name: &'static str, parse: impl FnOnce(&Value) -> Result<T, Wrong>) -> Option<T> {
        self.known.push(name);
        let value = self.members.remove(name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err((detail, remedy)) => {
                self.fault(name, Some(&value), format!("{name} {detail}."), remedy);
                None
            }
        }
    }

    /// A member that has to be there.
    pub fn needed<T>(&mut self, name: &'static str, parse: impl FnOnce(&Value) -> Result<T, Wrong>) -> Option<T> {
        if !self.members.contains_key(name) {
            self.fault(name, None, format!("{name} is missing."), "Send it.".into());
        }
        self.given(name, parse)
    }

    /// Notes that a member, or what is missing in its place, cannot be used.
    pub fn fault(&mut self, name: &str, value: Option<&Value>, detail: String, remedy: Cow<'static, str>) {
        self.faults.push(Fault::new(Place::Pointer(format!("/{name}")), value.map(shown).as_deref(), detail, remedy));
    }

    /// What was read. Members that nobody asked for are faults too.
    ///
    /// # Errors
    /// Every fault.
    pub fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        let remedy = format!("Send some of {}.", self.known.join(", "));
        for (name, value) in std::mem::take(&mut self.members) {
            self.fault(&name, Some(&value), format!("There is no member {name} here."), remedy.clone().into());
        }
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            _ => Err(Problem::faulty(self.faults)),
        }
    }
}

/// A value, as a fault shows it.
fn shown(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Into::into)
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let media_type = given.as_deref().and_then(|given| given.split(';').next()).unwrap_or_default();
    if media_type.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    // A page of somebody else may send plain text without asking first; JSON it may not.
    Err(Problem::new(Subject::MediaType, "Send application/json."))
}

/// The id of a product.
pub fn id(value: &Value) -> Result<Uuid, Wrong> {
    let id = value.as_str().filter(|text| text.len() == uuid::fmt::Hyphenated::LENGTH).and_then(|text| Uuid::try_parse(text).ok());
    id.ok_or(("is not the id of a product".to_owned(), "Send an id such as 0190b5a0-0000-7000-8000-000000000000.".into()))
}

/// A price, as text: a number would pass through a float.
pub fn price(value: &Value) -> Result<Price, Wrong> {
    let remedy = "Send a text from \"0.00\" to \"9999999999.99\" with at most two decimals.";
    let text = value.as_str().ok_or_else(|| ("is no text".to_owned(), remedy.into()))?;
    text.parse().map_err(|error| (format!("cannot be used: {error}"), remedy.into()))
}

/// A whole number in a range.
pub fn whole<T: TryFrom<u64>>(value: &Value, range: RangeInclusive<u64>) -> Result<T, Wrong> {
    let number = value.as_u64().filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
    let (min, max) = range.into_inner();
    number.ok_or_else(|| (format!("is no whole number from {min} to {max}"), format!("Send a number from {min} to {max}.").into()))
}

/// A length of time in ms, in a range.
pub fn millis(value: &Value, range: RangeInclusive<u64>) -> Result<Duration, Wrong> {
    whole(value, range).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_with_a_body_is_told_at_once_by_name() {
        let mut form = Form::parse(br#"{"price": 12.5, "hold_ms": 9000, "other": 1}"#).expect("an object");
        let id = form.needed("id", id);
        form.given("price", price);
        form.given("hold_ms", |value| millis(value, 0..=3000));
        let told = format!("{:?}", form.finish(id).expect_err("it is refused"));
        for part in
            ["id is missing", "price is no text", "hold_ms is no whole number from 0 to 3000", "no member other", "Send some of"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn a_good_body_is_taken_as_it_is() {
        let mut form = Form::parse(br#"{"id": "0190b5a0-0000-7000-8000-000000000000", "price": "12.5"}"#).expect("an object");
        let (id, price) = (form.needed("id", id), form.given("price", price));
        let (_, price) = form.finish(id.zip(price)).expect("a good body");
        assert_eq!(price.to_string(), "12.50");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(Form::parse(b"{").is_err() && Form::parse(b"[]").is_err() && Form::parse(b"").is_err());
    }
}
