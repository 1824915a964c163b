//! What the cache does not serve is read from Postgres, each in one statement that says what it has seen.

use bytes::Bytes;
use freshline::{
    cache::{CacheError, Loaded, ReadProof},
    catalog::{DatabaseError, List, Read},
    fault::{Classified, Kind},
};
use uuid::Uuid;

use crate::{
    app::{RETRY_AFTER, Services},
    page::CachedPage,
    problem::{Problem, Subject},
};

impl Services {
    pub(super) async fn load_product(&self, id: Uuid) -> Result<Loaded<Option<Bytes>>, DatabaseError> {
        let read = self.postgres.heard(self.reads.product(id).await)?;
        Ok(loaded(read, |product| product.map(|product| product.body)))
    }

    pub(super) async fn load_products(&self, ids: Vec<Uuid>) -> Result<Loaded<Vec<Option<Bytes>>>, DatabaseError> {
        let read = self.postgres.heard(self.reads.products(&ids).await)?;
        Ok(loaded(read, |products| products.into_iter().map(|product| product.map(|product| product.body)).collect()))
    }

    pub(super) async fn load_page(&self, list: &List) -> Result<Loaded<Option<CachedPage>>, DatabaseError> {
        let read = self.postgres.heard(self.reads.page(list).await)?;
        Ok(loaded(read, |page| Some(CachedPage(page))))
    }

    /// What a caller is told of a read that has no answer.
    pub(super) fn unread(&self, error: CacheError<DatabaseError>) -> Problem {
        match error {
            CacheError::Overloaded => Problem::passing(Subject::Overloaded, "Nothing was read.", RETRY_AFTER),
            CacheError::Load(error) => match error.kind() {
                Kind::Transient => Problem::passing(Subject::Unavailable, "It is not in the cache.", RETRY_AFTER),
                Kind::Permanent | Kind::Bug => Problem::internal(&error),
            },
        }
    }
}

fn loaded<T, V>(read: Read<T>, value: impl FnOnce(T) -> V) -> Loaded<V> {
    // A source that cannot be read proves nothing, and so counts as none.
    let source = read.proof.source.as_deref().and_then(|source| source.parse().ok());
    Loaded { value: value(read.value), proof: ReadProof { snapshot: read.proof.snapshot, source } }
}
