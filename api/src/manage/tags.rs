//! Emptying what depends on a tag: the tag is given another version, as any change of it would.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use freshline::coherence::{Scripts, Tag};
use serde::Serialize;
use tracing::info;
use utoipa::ToSchema;

use super::{Manager, away, check_name};
use crate::{
    extract::NoQuery,
    openapi::{OfManagement, TagName},
    problem::Problem,
};

/// What became of a tag.
#[derive(Debug, Serialize, ToSchema)]
pub struct Removed {
    /// Its name.
    tag: String,
    /// Whether anything that is cached can have depended on it.
    was_there: bool,
}

/// Empty what depends on a tag
///
/// Every list under the tag is read anew; rows stay, for they are entries of their own. The catalogue's tags are `products:newest`,
/// `products:by-price`, `products:by-name`, each of them also with `:category=…`, `products:category=…` and `products:categories`.
#[utoipa::path(
    delete,
    path = "/cache/tags/{tag}",
    tag = "management",
    params(TagName),
    responses((status = 200, description = "Nothing that depended on it is served any more.", body = Removed), OfManagement),
    security(("token" = []))
)]
pub async fn remove(State(manager): State<Arc<Manager>>, Path(name): Path<String>, _: NoQuery) -> Result<Json<Removed>, Problem> {
    check_name("tag", &name)?;
    let (link, tag) = (manager.link()?, Tag::new(name.as_str()));
    let mut exists = redis::cmd("EXISTS");
    exists.arg(manager.stripes().tag(&tag));
    let was_there = link.call::<u64>(&exists).await.map_err(|error| away(&error))? > 0;
    Scripts::new(&link, manager.stripes()).renew(&[&tag]).await.map_err(|error| away(&error))?;
    info!(cache.tag = %tag, "what depends on {tag} was emptied");
    Ok(Json(Removed { tag: name, was_there }))
}
