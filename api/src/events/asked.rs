//! What a listener asks for.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use freshline::{coherence::NAME_LEN_MAX, rules::TableName, trail::Filter};
use http::{HeaderMap, HeaderName, request::Parts};

use super::{Events, place::Place};
use crate::{
    extract::Params,
    problem::{Fault, Place as Where, Problem, Subject},
};

/// The header in which a listener that comes back says what it saw last (HTML standard, 9.2.4).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a listener asks for.
#[derive(Debug)]
pub struct Asked {
    /// Which records.
    pub filter: Filter,
    /// Whether to tell which processes run.
    pub processes: bool,
    /// What it saw last, where it comes back.
    pub after: Option<Place>,
}

impl FromRequestParts<Arc<Events>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, events: &Arc<Events>) -> Result<Self, Problem> {
        let mut query = Params::read(&parts.uri, &["key", "table", "processes"]);
        let key = query.take("key", "Send the name of a key or tag, of 1 to 512 bytes.", |text| match text.len() {
            1..=NAME_LEN_MAX => Ok(text.to_owned()),
            len => Err(format!("key has {len} bytes.")),
        });
        let table = query.take("table", "Send a table that has rules, as schema.table.", |text| {
            let table = TableName::parse(text).filter(|table| events.rules.tables().any(|known| known == table));
            table.ok_or("There are no rules about this table.")
        });
        let processes = query.take("processes", "Send true or false.", |text| {
            text.parse::<bool>().map_err(|_| "processes is neither true nor false.")
        });
        query.finish()?;
        let filter = match (key, table) {
            (None, None) => Filter::All,
            (Some(key), None) => Filter::Name(key),
            (None, Some(table)) => Filter::Table(table),
            (Some(_), Some(_)) => {
                let place = Where::Parameter("table".into());
                return Err(refused(Fault::new(place, None, "There are a key and a table.", "Send one of them.")));
            }
        };
        Ok(Self { filter, processes: processes.unwrap_or(false), after: after(&parts.headers)? })
    }
}

/// One that is empty is none: a browser that was told an empty id sends it so.
fn after(headers: &HeaderMap) -> Result<Option<Place>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let shown = String::from_utf8_lossy(value.as_bytes());
    let wrong = |_| {
        let place = Where::Header("Last-Event-ID");
        refused(Fault::new(place, Some(&shown), "This is the id of no event.", "Send the id of the last event, or nothing."))
    };
    shown.parse().map(Some).map_err(wrong)
}

fn refused(fault: Fault) -> Problem {
    Problem::faulty(Subject::Request, vec![fault])
}
