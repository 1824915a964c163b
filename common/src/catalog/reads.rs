//! Reads whose answers may be cached: each tells, in the statement that reads, what it has seen.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

use super::categories::{Categories, category_rows};
use super::cursor::Cursor;
use super::error::DatabaseError;
use super::list::{List, Page};
use super::page_rows::page_rows;
use super::product::{Product, Texts, texts};
use crate::breaker::{Barred, Breaker};
use crate::cache::{Loaded, ReadProof};

/// Reads products, on sessions of [`read_pool`](super::read_pool). What it answers was read after the call began.
#[derive(Debug, Clone)]
pub struct Reads {
    pool: PgPool,
    deadline: Duration,
    breaker: Option<Breaker>,
}

/// A row of a statement that feeds the cache. The rows repeat the statement's proof, and there is one at least: what is
/// not there needs a proof, too.
///
/// The statements begin with `values (true)` for that, and all that is read is joined to it. The proof's functions stand in the
/// outermost select: inside a function they would tell another snapshot than that which the rows were read under (seen).
pub(super) struct ProvenRow<T> {
    pub snapshot: String,
    pub source: Option<String>,
    pub row: T,
}

/// A statement whose answer is a proof and the columns of [`Texts`], all as text.
macro_rules! products {
    ($from:literal, $($argument:expr),*) => {
        sqlx::query!(
            r#"select pg_current_snapshot()::text as "snapshot!", current_setting('freshline.source', true) as source,
                      p.id::text as "id?", p.sku::text as "sku?", p.name::text as "name?", p.description::text as "description?",
                      p.category::text as "category?", p.price::text as "price?", p.stock_quantity::text as "stock_quantity?", p.attributes::text as "attributes?",
                      p.created_at::text as "created_at?", p.updated_at::text as "updated_at?"
               from (values (true)) as one (row) "# + $from,
            $($argument),*
        )
        .map(|row| ProvenRow { snapshot: row.snapshot, source: row.source, row: texts!(row) })
    };
}

impl Reads {
    /// Reads on this pool, each call within `deadline`, waiting for a session included.
    pub fn new(pool: PgPool, deadline: Duration) -> Self {
        Self { pool, deadline, breaker: None }
    }

    /// The same, behind a breaker: while Postgres does not answer, a call fails at once with [`DatabaseError::Barred`].
    #[must_use]
    pub fn behind(self, breaker: Breaker) -> Self {
        Self { breaker: Some(breaker), ..self }
    }

    /// What stands before its calls.
    pub fn breaker(&self) -> Option<&Breaker> {
        self.breaker.as_ref()
    }

    /// The product with this id, or that there is none.
    ///
    /// # Errors
    /// If Postgres does not answer, or not in time.
    pub async fn product(&self, id: Uuid) -> Result<Loaded<Option<Product>>, DatabaseError> {
        let query = products!("left join public.products p on p.id = $1", id);
        let (rows, proof) = self.proven(query.fetch_all(&self.pool)).await?;
        let product = rows.first().map_or(Ok(None), Texts::product).map_err(unexpected)?;
        Ok(Loaded { value: product, proof })
    }

    /// The products with these ids, in their order, in one statement; `None` where there is none.
    ///
    /// # Errors
    /// If Postgres does not answer, or not in time.
    pub async fn products(&self, ids: &[Uuid]) -> Result<Loaded<Vec<Option<Product>>>, DatabaseError> {
        let query = products!(
            "left join unnest($1::uuid[]) with ordinality as asked (id, place) on true
             left join public.products p on p.id = asked.id
             order by asked.place",
            ids
        );
        let (rows, proof) = self.proven(query.fetch_all(&self.pool)).await?;
        // No ids: the one row is the proof's.
        let products = rows.iter().take(ids.len()).map(Texts::product).collect::<Result<_, _>>().map_err(unexpected)?;
        Ok(Loaded { value: products, proof })
    }

    /// The ids of a page.
    ///
    /// # Errors
    /// If Postgres does not answer, or not in time.
    pub async fn page(&self, list: &List) -> Result<Loaded<Page>, DatabaseError> {
        let (rows, proof) = self.proven(page_rows(&self.pool, list)).await?;
        let mut rows: Vec<(Uuid, String)> = rows.into_iter().flatten().collect();
        let limit = usize::from(list.limit());
        // One row more than the page has was asked for, to see whether there is a next page.
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        let next =
            last.map(|(id, key)| Cursor::of_row(list.sort(), *id, key).ok_or_else(|| unexpected("a row that no cursor can name")));
        Ok(Loaded { value: Page { next: next.transpose()?, ids: rows.into_iter().map(|(id, _)| id).collect() }, proof })
    }

    /// The categories that products are in.
    ///
    /// # Errors
    /// If Postgres does not answer, or not in time.
    pub async fn categories(&self) -> Result<Loaded<Categories>, DatabaseError> {
        let (rows, proof) = self.proven(category_rows(&self.pool)).await?;
        Ok(Loaded { value: Categories::of(rows.into_iter().flatten().collect()), proof })
    }

    /// Awaits a statement's rows and takes their common proof off them.
    async fn proven<T>(
        &self,
        rows: impl Future<Output = sqlx::Result<Vec<ProvenRow<T>>>>,
    ) -> Result<(Vec<T>, ReadProof), DatabaseError> {
        let rows = async { Ok(timeout(self.deadline, rows).await.map_err(|_| DatabaseError::Silent(self.deadline))??) };
        let rows = match &self.breaker {
            Some(breaker) => breaker.call(rows, DatabaseError::is_silence).await.map_err(|Barred| DatabaseError::Barred)??,
            None => rows.await?,
        };
        let first = rows.first().ok_or_else(|| unexpected("a read without a row for its proof"))?;
        let proof = ReadProof::parse(&first.snapshot, first.source.as_deref()).map_err(unexpected)?;
        Ok((rows.into_iter().map(|row| row.row).collect(), proof))
    }
}

fn unexpected(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DatabaseError {
    DatabaseError::Unexpected(error.into())
}
