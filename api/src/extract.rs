//! What a request asks for, read from its path, query and headers. What cannot be read is refused by name, never ignored: a misspelt
//! parameter would otherwise quietly answer another question.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, Query};
use freshline::{cache::Want, coherence::Token};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts};
use uuid::Uuid;

use crate::problem::{Fault, Place, Problem, Subject};

/// The header that a write answers with, and that a read may carry.
pub const TOKEN: HeaderName = HeaderName::from_static("freshline-token");

/// The id of a product, from the path.
#[derive(Debug, Clone, Copy)]
pub struct Id(pub Uuid);

impl<S: Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = parts.uri.path().rsplit('/').next().unwrap_or_default();
        parse_id(text).map(Self).map_err(|detail| refused(Fault::new(parameter("id"), Some(text), detail, ID_REMEDY)))
    }
}

const ID_REMEDY: &str = "Send an id as the catalogue writes it, such as 0190b5a0-0000-7000-8000-000000000000.";

/// An id in the one form that the catalogue writes: so that one product has one path.
pub fn parse_id(text: &str) -> Result<Uuid, &'static str> {
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH);
    id.ok_or("The id is not a uuid.")
}

/// What any read may ask for: a token that its answer has to include, an explanation.
#[derive(Debug, Default)]
pub struct Asked {
    /// For the cache.
    pub want: Want,
    /// What the caller has already.
    pub if_none_match: Option<HeaderValue>,
    /// Which codings the caller takes.
    pub accept_encoding: Option<HeaderValue>,
}

impl Asked {
    /// Reads the token of the headers and `explain` of the query.
    pub fn read(headers: &HeaderMap, query: &mut Params) -> Result<Self, Problem> {
        let token = token(headers)?;
        let want = Want { token, explain: explain(query), max_staleness: None };
        let given = |name| headers.get(name).cloned();
        Ok(Self { want, if_none_match: given(header::IF_NONE_MATCH), accept_encoding: given(header::ACCEPT_ENCODING) })
    }
}

/// For a read that takes no parameters of its own.
impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Params::read(&parts.uri, &["explain"]);
        let asked = Self::read(&parts.headers, &mut query)?;
        query.finish()?;
        Ok(asked)
    }
}

/// Whether a write is to be explained. It takes no other parameter.
#[derive(Debug, Clone, Copy)]
pub struct Explain(pub bool);

impl<S: Sync> FromRequestParts<S> for Explain {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Params::read(&parts.uri, &["explain"]);
        let explain = explain(&mut query);
        query.finish().map(|()| Self(explain))
    }
}

fn explain(query: &mut Params) -> bool {
    let explain = query.take("explain", "Send true or false.", |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("explain is neither true nor false."),
    });
    explain.unwrap_or(false)
}

/// That a request has no parameters, where none is taken.
#[derive(Debug)]
pub struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::read(&parts.uri, &[]).finish().map(|()| Self)
    }
}

fn token(headers: &HeaderMap) -> Result<Option<Token>, Problem> {
    let mut values = headers.get_all(TOKEN).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = |detail: String| {
        let shown = String::from_utf8_lossy(value.as_bytes());
        let remedy = "Send what a write answered in Freshline-Token, unchanged, or nothing.";
        refused(Fault::new(Place::Header("Freshline-Token"), Some(&shown), detail, remedy))
    };
    if values.next().is_some() {
        return Err(wrong("There are several tokens.".to_owned()));
    }
    let text = value.to_str().map_err(|_| wrong("This is not a token.".to_owned()))?;
    text.parse().map(Some).map_err(|_| wrong("This is not a token.".to_owned()))
}

/// The parameters of a query, each to be taken once.
pub struct Params {
    pairs: Vec<(String, String)>,
    known: &'static [&'static str],
    faults: Vec<Fault>,
}

impl Params {
    /// The parameters of this address, of which these are known.
    pub fn read(uri: &Uri, known: &'static [&'static str]) -> Self {
        let (mut pairs, mut faults) = (Vec::new(), Vec::new());
        if let Some(query) = uri.query() {
            match Query::try_from_uri(uri) {
                Ok(Query(read)) => pairs = read,
                Err(_) => faults.push(Fault::new(parameter("?"), Some(query), "The query cannot be read.", remedy(known))),
            }
        }
        Self { pairs, known, faults }
    }

    /// Takes a parameter; `None` where it is left out or, which is noted as a fault, cannot be read.
    pub fn take<T, E: Into<Cow<'static, str>>>(
        &mut self,
        name: &'static str,
        remedy: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let at = self.pairs.iter().position(|(given, _)| given == name)?;
        let (_, text) = self.pairs.remove(at);
        parse(&text).map_err(|why| self.faults.push(Fault::new(parameter(name), Some(&text), why, remedy))).ok()
    }

    /// The same, of one that has to be there.
    pub fn needed<T, E: Into<Cow<'static, str>>>(
        &mut self,
        name: &'static str,
        remedy: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if self.pairs.iter().all(|(given, _)| given != name) {
            self.faults.push(Fault::new(parameter(name), None, format!("{name} is missing."), remedy));
        }
        self.take(name, remedy, parse)
    }

    /// Ends the reading. What was not taken is unknown, or there twice.
    ///
    /// # Errors
    /// Every fault.
    pub fn finish(mut self) -> Result<(), Problem> {
        for (name, text) in self.pairs {
            let (detail, remedy) = if self.known.contains(&name.as_str()) {
                (format!("{name} is there twice."), "Send it once.".to_owned())
            } else {
                ("There is no such parameter here.".to_owned(), remedy(self.known))
            };
            self.faults.push(Fault::new(Place::Parameter(name.into()), Some(&text), detail, remedy));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::faulty(Subject::Request, self.faults)) }
    }
}

fn remedy(known: &[&str]) -> String {
    if known.is_empty() { "Leave it out.".to_owned() } else { format!("Use some of {}.", known.join(", ")) }
}

fn parameter(name: &'static str) -> Place {
    Place::Parameter(name.into())
}

fn refused(fault: Fault) -> Problem {
    Problem::faulty(Subject::Request, vec![fault])
}
