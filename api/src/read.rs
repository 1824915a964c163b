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
    cache::{CacheError, Found},
    catalog::{DatabaseError, List, Page, keys},
    coherence::Tag,
};
use uuid::Uuid;

pub use self::load::unread;
use self::{
    answer::{Items, json, represented, wrapped},
    asked::{AskedBatch, AskedLatest, AskedList},
};
use crate::{
    extract::{Asked, Id},
    headers::Provenance,
    openapi::{
        BatchParams, BatchRead, CategoriesRead, LatestRead, ListParams, ListRead, OfRead, OfRow, ProductId, ProductRead, ReadParams,
    },
    page::CachedPage,
    problem::{Problem, Subject},
    services::Services,
    tally::Kind,
};

/// Read a product
///
/// With `explain=true` the answer also says how the cache came to it: another representation, made for people.
#[utoipa::path(get, path = "/products/{id}", tag = "products", params(ProductId, ReadParams), responses(ProductRead, OfRow))]
pub async fn product(State(services): State<Arc<Services>>, Id(id): Id, asked: Asked) -> Result<Response, Problem> {
    let found = services.cache.get(&keys::product(id), &asked.want, || services.load_product(id)).await;
    let found: Found<Bytes> = services.noted(Kind::Product, found)?;
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

/// List products
///
/// A page of them, in the order asked for. `next` and the header `Link` say where the next page begins.
#[utoipa::path(get, path = "/products", tag = "products", params(ListParams, ReadParams), responses(ListRead, OfRead))]
pub async fn list(State(services): State<Arc<Services>>, AskedList { list, asked }: AskedList) -> Result<Response, Problem> {
    services.list(&list, &asked).await
}

/// The latest products
///
/// The 20 that were made last, newest first: the first page of `/products`, for those who want no more.
#[utoipa::path(get, path = "/products/latest", tag = "products", params(ReadParams), responses(LatestRead, OfRead))]
pub async fn latest(State(services): State<Arc<Services>>, AskedLatest { list, asked }: AskedLatest) -> Result<Response, Problem> {
    services.list(&list, &asked).await
}

/// List categories
///
/// Those that at least one product is in, by name; 1000 at most.
#[utoipa::path(get, path = "/categories", tag = "products", params(ReadParams), responses(CategoriesRead, OfRead))]
pub async fn categories(State(services): State<Arc<Services>>, asked: Asked) -> Result<Response, Problem> {
    let (key, tags) = (keys::categories(), [keys::categories_tag()]);
    let found = services.cache.get_tagged(&key, &tags, &asked.want, || services.load_categories()).await;
    let mut found: Found<Bytes> = services.noted(Kind::Categories, found)?;
    let mut headers = Provenance::of(&found).headers();
    services.caching.list.tell(&asked, names(tags.first(), &[]), &mut headers);
    let body = found.value.take().unwrap_or_default();
    Ok(match found.explanation {
        Some(explanation) => json(answer::explained(&body, &explanation), headers),
        None => represented(body, found.etag, &asked, headers),
    })
}

/// Read several products
///
/// Those of these ids that there are, in the order asked for, and the ids of which there is none.
#[utoipa::path(get, path = "/products/batch", tag = "products", params(BatchParams, ReadParams), responses(BatchRead, OfRead))]
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
    /// A page. Its ids are cached under the tag of its order; its rows are entries of their own, fetched together.
    async fn list(&self, list: &List, asked: &Asked) -> Result<Response, Problem> {
        let (key, tags) = (keys::page(list), [keys::page_tag(list)]);
        let found = self.cache.get_tagged(&key, &tags, &asked.want, || self.load_page(list)).await;
        let mut found: Found<CachedPage> = self.noted(Kind::Page, found)?;
        let CachedPage(Page { ids, next }) = found.value.take().unwrap_or(CachedPage(Page { ids: Vec::new(), next: None }));
        let rows = self.rows(&ids, asked).await?;

        let mut items = Items::new(&rows);
        items.push_next(next.as_ref());
        items.push_explanations(found.explanation.as_deref(), &rows);
        let mut headers = Provenance::of(&found).and(&rows).headers();
        self.caching.list.tell(asked, names(tags.first(), &ids), &mut headers);
        answer::link_next(&mut headers, list, next.as_ref());
        Ok(items.into_response(asked, headers))
    }

    /// What was read, counted; or what a caller is told of a read that has no answer.
    fn noted<V>(&self, kind: Kind, found: Result<Found<V>, CacheError<DatabaseError>>) -> Result<Found<V>, Problem> {
        match found {
            Ok(mut found) => {
                self.tally.read(kind, &found);
                self.sign(&mut found);
                Ok(found)
            }
            Err(error) => {
                self.tally.unread(kind);
                Err(unread(error))
            }
        }
    }

    /// The rows of these ids, in their order.
    async fn rows(&self, ids: &[Uuid], asked: &Asked) -> Result<Vec<Found<Bytes>>, Problem> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = ids.iter().map(|id| keys::product(*id)).collect();
        let load = |missing: Vec<usize>| self.load_products(missing.into_iter().filter_map(|at| ids.get(at).copied()).collect());
        let rows = self.cache.get_many(&keys, &asked.want, load).await;
        let mut rows = rows.inspect_err(|_| self.tally.unread(Kind::Product)).map_err(unread)?;
        for row in &mut rows {
            self.tally.read(Kind::Product, row);
            self.sign(row);
        }
        Ok(rows)
    }

    /// Says in an explanation, where there is one, that it is this process's.
    fn sign<V>(&self, found: &mut Found<V>) {
        if let Some(explanation) = &mut found.explanation {
            explanation.answered_by(&self.process);
        }
    }
}
