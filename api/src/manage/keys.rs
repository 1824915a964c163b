//! What is cached under names that begin alike, page by page: by SCAN, which never holds Redis up for long, and never by KEYS.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    extract::{FromRequestParts, State},
};
use freshline::coherence::{Link, LinkError, NAME_LEN_MAX, Stripes};
use http::request::Parts;
use redis::{FromRedisValue, Value};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Manager, away};
use crate::{
    extract::Params,
    openapi::{KeysParams, OfManagement},
    problem::Problem,
};

/// How many places of its table one SCAN looks at: some 20 µs of Redis.
const PLACES: usize = 200;
/// How many SCANs a call may make.
const SCANS_MAX: usize = 25;
/// From how many keys on a page is full. The last SCAN may bring a little more.
const FULL_FROM: usize = 100;

/// Which keys, and from where on.
#[derive(Debug)]
pub struct Asked {
    prefix: String,
    cursor: u64,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Params::read(&parts.uri, &["prefix", "cursor"]);
        let prefix = query.take("prefix", "Send up to 512 bytes, or leave it out.", |text| {
            if text.len() <= NAME_LEN_MAX { Ok(text.to_owned()) } else { Err(format!("prefix has {} bytes.", text.len())) }
        });
        let cursor = query.take("cursor", "Send `next` of the page before, unchanged, or leave it out.", |text| {
            text.parse::<u64>().ok().filter(|cursor| cursor.to_string() == text).ok_or("cursor is none that was made here.")
        });
        query.finish()?;
        Ok(Self { prefix: prefix.unwrap_or_default(), cursor: cursor.unwrap_or(0) })
    }
}

/// Some of the keys that there are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Keys {
    /// Those that were found, sorted by name.
    keys: Vec<Key>,
    /// Where to go on; none where all have been looked at. A page without keys may have one.
    next: Option<String>,
}

/// A key that something is cached under.
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    /// Its name, as `/cache/explain/{key}` takes it.
    key: String,
    /// The size of what is cached, proof and all.
    bytes: u64,
    /// When it runs out.
    ttl_ms: u64,
}

/// List cached keys
///
/// A page of at least 100 keys while there are as many, in no order. A key that is cached all the while is on one of the pages; one
/// may be on two. What was cleared is listed until it runs out: `/cache/explain/{key}` tells whether it is served.
#[utoipa::path(
    get,
    path = "/cache/keys",
    tag = "management",
    params(KeysParams),
    responses((status = 200, description = "Some of them, and where to go on.", body = Keys), OfManagement),
    security(("token" = []))
)]
pub async fn keys(State(manager): State<Arc<Manager>>, asked: Asked) -> Result<Json<Keys>, Problem> {
    let link = manager.link()?;
    page(&link, manager.stripes(), &asked).await.map(Json).map_err(|error| away(&error))
}

async fn page(link: &Link, stripes: &Stripes, asked: &Asked) -> Result<Keys, LinkError> {
    let pattern = pattern(stripes.namespace(), &asked.prefix);
    let (mut cursor, mut found) = (asked.cursor, BTreeSet::new());
    for _ in 0..SCANS_MAX {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PLACES);
        let (next, names): (u64, Vec<Vec<u8>>) = link.call(&scan).await?;
        found.extend(names.into_iter().filter_map(|name| String::from_utf8(name).ok()));
        cursor = next;
        if cursor == 0 || found.len() >= FULL_FROM {
            break;
        }
    }
    let keys = described(link, found.into_iter().collect()).await?;
    Ok(Keys { keys, next: (cursor > 0).then(|| cursor.to_string()) })
}

/// The names of entries that begin so, as a pattern of Redis's. Braces mean nothing in one.
fn pattern(namespace: &str, prefix: &str) -> String {
    let mut pattern = format!("{{{namespace}.*}}v:");
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

/// How large each is, and how long it stays. One that is gone by now is left out.
async fn described(link: &Link, names: Vec<String>) -> Result<Vec<Key>, LinkError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::Pipeline::with_capacity(names.len() * 2);
    for name in &names {
        pipeline.cmd("STRLEN").arg(name).cmd("PTTL").arg(name);
    }
    let replies = link.call_all(&pipeline, names.len() * 2).await?;
    let numbers = replies.into_iter().map(|reply: Value| i64::from_redis_value(reply).ok()).collect::<Vec<_>>();
    let described = names.iter().zip(numbers.chunks(2)).filter_map(|(name, numbers)| {
        let [Some(bytes), Some(ttl_ms)] = numbers else { return None };
        let (_, key) = name.split_once("}v:")?;
        Some(Key { key: key.to_owned(), bytes: u64::try_from(*bytes).ok()?, ttl_ms: u64::try_from(*ttl_ms).ok()? })
    });
    Ok(described.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_as_it_is_written() {
        assert_eq!(pattern("shop", "products:4"), "{shop.*}v:products:4*");
        assert_eq!(pattern("shop", r"a*b[c]?\"), r"{shop.*}v:a\*b\[c\]\?\\*");
    }
}
