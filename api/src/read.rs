//! Reads: from the cache, else from Postgres. What the cache holds goes out as it lies there, byte for byte.
//!
//! With `?explain=true` the answer also says how it came about. That is another representation, made for people: a product is then
//! wrapped in `{"product": …, "explanation": …}`, so that without it no byte is looked at, and lists get one member more.

mod answer;
mod asked;
mod load;

use std::sync::Arc;

use axum::{extract::State, response::Response};
use bytes::Bytes;
use freshline::{
    cache::Found,
    catalog::{Page, keys},
    coherence::Tag,
};
use uuid::Uuid;

use self::{
    answer::{Items, json, represented, wrapped},
    asked::{AskedBatch, AskedList},
    load::unread,
};
use crate::{
    app::Services,
    extract::{Asked, Id},
    headers::Provenance,
    page::CachedPage,
    problem::{Problem, Subject},
};

/// `GET /products/{id}`.
pub async fn product(State(services): State<Arc<Services>>, Id(id): Id, asked: Asked) -> Result<Response, Problem> {
    let found = services.cache.get(&keys::product(id), &asked.want, || services.load_product(id)).await;
    let found: Found<Bytes> = found.map_err(unread)?;
    let provenance = Provenance::of(&found);
    let mut headers = provenance.headers();
    services.caching.product.tell(&asked, names(None, &[id]), &mut headers);
    let Some(body) = found.value else {
        let problem = Problem::new(Subject::NoProduct, format!("No product has the id {id}."));
        return Err(problem.with_headers(headers).with_explanation(found.explanation.as_deref().map(answer::raw)));
    };
    if let Some(explanation) = found.explanation {
        return Ok(json(wrapped(&body, &explanation), headers));
    }
    Ok(represented(body, found.etag, &asked, headers))
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
    let mut headers = Provenance::of(&found).and(&rows).headers();
    services.caching.list.tell(&asked, names(tags.first(), &ids), &mut headers);
    answer::link_next(&mut headers, &list, next.as_ref());
    Ok(items.into_response(&asked, headers))
}

/// `GET /products/batch`: those of these ids that there are, and the ids of which there is none.
pub async fn batch(State(services): State<Arc<Services>>, AskedBatch { ids, asked }: AskedBatch) -> Result<Response, Problem> {
    let rows = services.rows(&ids, &asked).await?;
    let mut items = Items::new(&rows);
    items.push_missing(&ids, &rows);
    items.push_explanations(None, &rows);
    let mut headers = Provenance::none().and(&rows).headers();
    services.caching.list.tell(&asked, names(None, &ids), &mut headers);
    Ok(items.into_response(&asked, headers))
}

/// What an answer depends on: the tag of a page, and each row.
fn names(page: Option<&Tag>, ids: &[Uuid]) -> impl Iterator<Item = String> {
    page.into_iter().map(|tag| tag.as_str().to_owned()).chain(ids.iter().map(|id| keys::product(*id).as_str().to_owned()))
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
