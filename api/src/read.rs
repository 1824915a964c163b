//! Reads: from the cache, else from Postgres. What the cache holds goes out as it lies there, byte for byte.
//!
//! With `?explain=true` the answer also says how it came about. That is another representation, made for people: a product is then
//! wrapped in `{"product": …, "explanation": …}`, so that without it no byte is looked at, and lists get one member more.

mod answer;
mod asked;
mod load;

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use freshline::{
    cache::Found,
    catalog::{Page, keys},
};
use http::StatusCode;
use uuid::Uuid;

use self::{
    answer::{Items, json, wrapped},
    asked::{AskedBatch, AskedList},
    load::unread,
};
use crate::{
    app::Services,
    extract::{Asked, Id},
    headers::{Provenance, is_known},
    page::CachedPage,
    problem::{Problem, Subject},
};

/// `GET /products/{id}`.
pub async fn product(State(services): State<Arc<Services>>, Id(id): Id, asked: Asked) -> Result<Response, Problem> {
    let found = services.cache.get(&keys::product(id), &asked.want, || services.load_product(id)).await;
    let found: Found<Bytes> = found.map_err(unread)?;
    let provenance = Provenance::of(&found);
    let Some(body) = found.value else {
        let problem = Problem::new(Subject::NoProduct, format!("No product has the id {id}."));
        let problem = problem.with_headers(provenance.headers(None, &asked.want));
        return Err(problem.with_explanation(found.explanation.as_deref().map(answer::raw)));
    };
    if let Some(explanation) = found.explanation {
        return Ok(json(wrapped(&body, &explanation), provenance.headers(None, &asked.want)));
    }
    let headers = provenance.headers(Some(found.etag), &asked.want);
    if is_known(asked.if_none_match.as_ref(), found.etag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok(json(body, headers))
}

/// `GET /products`: a page. Its ids are cached under the tag of its order; its rows are entries of their own, fetched together.
pub async fn list(State(services): State<Arc<Services>>, AskedList { list, asked }: AskedList) -> Result<Response, Problem> {
    let (key, tags) = (keys::page(&list), [keys::page_tag(&list)]);
    let found = services.cache.get_tagged(&key, &tags, &asked.want, || services.load_page(&list)).await;
    let mut found: Found<CachedPage> = found.map_err(unread)?;
    let CachedPage(Page { ids, next }) = found.value.take().unwrap_or(CachedPage(Page { ids: Vec::new(), next: None }));
    let rows = services.rows(&ids, &asked).await?;

    let mut items = Items::new(&rows);
    items.push_next(next.as_ref());
    items.push_explanations(found.explanation.as_deref(), &rows);
    let mut headers = Provenance::of(&found).and(&rows).headers(None, &asked.want);
    answer::link_next(&mut headers, &list, next.as_ref());
    Ok(items.into_response(headers, asked.if_none_match.as_ref()))
}

/// `GET /products/batch`: those of these ids that there are, and the ids of which there is none.
pub async fn batch(State(services): State<Arc<Services>>, AskedBatch { ids, asked }: AskedBatch) -> Result<Response, Problem> {
    let rows = services.rows(&ids, &asked).await?;
    let mut items = Items::new(&rows);
    items.push_missing(&ids, &rows);
    items.push_explanations(None, &rows);
    let headers = Provenance::none().and(&rows).headers(None, &asked.want);
    Ok(items.into_response(headers, asked.if_none_match.as_ref()))
}

impl Services {
    /// The rows of these ids, in their order.
    async fn rows(&self, ids: &[Uuid], asked: &Asked) -> Result<Vec<Found<Bytes>>, Problem> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = ids.iter().map(|id| keys::product(*id)).collect();
        let load = |missing: Vec<usize>| self.load_products(missing.into_iter().filter_map(|at| ids.get(at).copied()).collect());
        self.cache.get_many(&keys, &asked.want, load).await.map_err(unread)
    }
}
