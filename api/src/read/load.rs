//! What the cache does not serve is read from Postgres, each in one statement that says what it has seen.

use bytes::Bytes;
use freshline::{
    cache::{CacheError, Loaded},
    catalog::{DatabaseError, List},
    fault::{Classified, Kind},
};
use uuid::Uuid;

use crate::{
    page::CachedPage,
    problem::{Problem, Subject},
    services::Services,
};

impl Services {
    pub async fn load_product(&self, id: Uuid) -> Result<Loaded<Option<Bytes>>, DatabaseError> {
        let read = self.postgres.heard(self.reads.product(id).await)?;
        Ok(read.map(|product| product.map(|product| product.body)))
    }

    pub(super) async fn load_products(&self, ids: Vec<Uuid>) -> Result<Loaded<Vec<Option<Bytes>>>, DatabaseError> {
        let read = self.postgres.heard(self.reads.products(&ids).await)?;
        Ok(read.map(|products| products.into_iter().map(|product| product.map(|product| product.body)).collect()))
    }

    /// As the JSON that callers get.
    pub(super) async fn load_categories(&self) -> Result<Loaded<Option<Bytes>>, DatabaseError> {
        let read = self.postgres.heard(self.reads.categories().await)?;
        let body = serde_json::to_vec(&read.value).map_err(|error| DatabaseError::Unexpected(error.into()))?;
        Ok(read.map(|_| Some(body.into())))
    }

    pub(super) async fn load_page(&self, list: &List) -> Result<Loaded<Option<CachedPage>>, DatabaseError> {
        let read = self.postgres.heard(self.reads.page(list).await)?;
        Ok(read.map(|page| Some(CachedPage(page))))
    }
}

/// What a caller is told of a read that has no answer.
pub fn unread(error: CacheError<DatabaseError>) -> Problem {
    match error {
        CacheError::Load(error) => match error.kind() {
            Kind::Transient => Problem::passing(Subject::Unavailable, "It is not in the cache.", &error),
            Kind::Permanent | Kind::Bug => Problem::internal(&error),
        },
        overloaded @ CacheError::Overloaded => Problem::passing(Subject::Overloaded, "Nothing was read.", &overloaded),
    }
}
