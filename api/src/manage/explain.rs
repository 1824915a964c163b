//! All that is known of one key, as `freshline explain` tells it.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
};
use freshline::{
    cache::ExplainedEntry,
    catalog::keys,
    coherence::CacheKey,
    explain::{Explained, Row, RowUnread},
    fault::in_full,
};
use tokio::time::timeout;

use super::{Manager, away, check_name};
use crate::{
    extract::NoQuery,
    openapi::{KeyName, OfManagement},
    problem::Problem,
};

/// How long Postgres may take; the answer is given without it then.
const ROW_WITHIN: Duration = Duration::from_secs(2);

/// Explain a key
///
/// What a reader would find under it now and why, down to the rule that decides; its fences and lease; and what Postgres holds. Nothing
/// is leased or filled by asking.
#[utoipa::path(
    get,
    path = "/cache/explain/{key}",
    tag = "management",
    params(KeyName),
    responses((status = 200, description = "All that is known of it.", body = Explained), OfManagement),
    security(("token" = []))
)]
pub async fn explain(
    State(manager): State<Arc<Manager>>,
    Path(name): Path<String>,
    _: NoQuery,
) -> Result<Json<Explained>, Problem> {
    check_name("key", &name)?;
    let (link, key) = (manager.link()?, CacheKey::new(name.as_str()));
    let (cache, tags) = (&manager.services.cache, keys::tags_of(&key));
    let looked = Explained::look(cache, &link, manager.stripes(), &key, &tags).await;
    let mut explained = looked.map_err(|error| away(&error))?;
    explained.look.answered_by(&manager.services.process);
    match manager.row(&name, explained.look.entry.as_ref()).await {
        Ok(row) => explained.row = row,
        Err(unread) => explained.unseen.push(in_full(&unread)),
    }
    Ok(Json(explained))
}

impl Manager {
    async fn row(&self, key: &str, entry: Option<&ExplainedEntry>) -> Result<Option<Row>, RowUnread> {
        let reading = async {
            let mut connection = self.pool.acquire().await?;
            Row::read(&mut connection, &self.rules, &self.publication, key, entry).await
        };
        timeout(ROW_WITHIN, reading).await.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into()).into()))
    }
}
