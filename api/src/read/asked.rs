//! What a list and a batch may be asked for.

use axum::extract::FromRequestParts;
use freshline::catalog::{Cursor, CursorSyntax, LIST_LIMIT_MAX, List, Sort};
use http::request::Parts;
use uuid::Uuid;

use crate::{
    extract::{Asked, Params, parse_id},
    problem::Problem,
    product::CATEGORY,
};

/// How many rows a page has unless it is asked for.
const LIMIT: u16 = 20;

/// The most ids of a batch: as many as a page has rows, for the same statement and the same MGET.
const IDS_MAX: usize = LIST_LIMIT_MAX as usize;

/// A page of a list.
pub struct AskedList {
    pub list: List,
    pub asked: Asked,
}

impl<S: Sync> FromRequestParts<S> for AskedList {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Params::read(&parts.uri, &["limit", "cursor", "category", "sort", "explain"]);
        let asked = Asked::read(&parts.headers, &mut query)?;
        let sort = query.take("sort", "Send newest, price, -price or name.", sort).unwrap_or_default();
        let limit = query.take("limit", "Send a whole number from 1 to 100.", limit).unwrap_or(LIMIT);
        let category = query.take("category", "Send 1 to 64 characters, not all of them blank.", |text| {
            CATEGORY.check(text).map(|()| text.to_owned()).map_err(|why| format!("category {why}."))
        });
        let cursor = query.take("cursor", "Send `next` of the page before, unchanged, or nothing.", |text| cursor(text, sort));
        query.finish()?;
        Ok(Self {
            list: list(sort, limit, category, cursor).ok_or_else(|| Problem::failure("a list that was checked is none"))?,
            asked,
        })
    }
}

fn list(sort: Sort, limit: u16, category: Option<String>, cursor: Option<Cursor>) -> Option<List> {
    let list = List::new(sort, limit)?;
    let list = if let Some(category) = category { list.in_category(category)? } else { list };
    if let Some(cursor) = cursor { list.after(cursor) } else { Some(list) }
}

fn sort(text: &str) -> Result<Sort, &'static str> {
    text.parse().map_err(|_| "sort is no order.")
}

fn cursor(text: &str, sort: Sort) -> Result<Cursor, String> {
    Cursor::parse(text, sort).map_err(|syntax| match syntax {
        CursorSyntax::Malformed => "cursor is none that was made here.".to_owned(),
        CursorSyntax::OtherSort { made_for } => format!("cursor goes on a list sorted by {made_for}, and {sort} is asked for."),
    })
}

fn limit(text: &str) -> Result<u16, &'static str> {
    let limit = text.parse().ok().filter(|limit| (1..=LIST_LIMIT_MAX).contains(limit) && !text.starts_with('+'));
    limit.ok_or("limit is not a whole number from 1 to 100.")
}

/// The first page of the newest: what `/products` answers with where nothing else is asked for, and the same entry of the cache.
pub struct AskedLatest {
    pub list: List,
    pub asked: Asked,
}

impl<S: Sync> FromRequestParts<S> for AskedLatest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Asked::from_request_parts(parts, state).await?;
        let list = List::new(Sort::Newest, LIMIT).ok_or_else(|| Problem::failure("a list of the newest is none"))?;
        Ok(Self { list, asked })
    }
}

/// Several products.
pub struct AskedBatch {
    /// Each once, in the order that they were first named.
    pub ids: Vec<Uuid>,
    pub asked: Asked,
}

impl<S: Sync> FromRequestParts<S> for AskedBatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        const REMEDY: &str = "Send 1 to 100 ids with commas between them.";
        let mut query = Params::read(&parts.uri, &["ids", "explain"]);
        let asked = Asked::read(&parts.headers, &mut query)?;
        let ids = query.needed("ids", REMEDY, ids);
        query.finish()?;
        Ok(Self { ids: ids.unwrap_or_default(), asked })
    }
}

fn ids(text: &str) -> Result<Vec<Uuid>, String> {
    let named = text.split(',').take(IDS_MAX + 1).map(|id| parse_id(id).map_err(|_| format!("{id:.60} is not a uuid.")));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    if named.len() > IDS_MAX {
        return Err(format!("ids has more than {IDS_MAX} of them."));
    }
    let mut seen = std::collections::HashSet::with_capacity(named.len());
    Ok(named.into_iter().filter(|id| seen.insert(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190b5a0-0000-7000-8000-000000000000";

    #[test]
    fn an_id_that_is_named_twice_is_asked_for_once() {
        let other = ID.replace("0000-7000", "0001-7000");
        let asked = ids(&format!("{ID},{other},{}", ID.to_uppercase())).expect("three ids");
        assert_eq!(asked.iter().map(ToString::to_string).collect::<Vec<_>>(), [ID, other.as_str()]);
    }

    #[test]
    fn a_batch_is_bounded() {
        assert_eq!(ids(&vec![ID; 100].join(",")).map(|ids| ids.len()), Ok(1));
        for wrong in ["", ",", "x", &format!("{ID},"), &vec![ID; 101].join(","), &ID.replace('-', "")] {
            assert!(ids(wrong).is_err(), "{wrong:.40}");
        }
    }
}
