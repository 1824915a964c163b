//! Writes: to Postgres only. No cache is told; the change stream tells it.
//!
//! Each is one statement, which is one transaction, and answers with the row and the transaction's id. One that is to happen only if the
//! product is still what its writer has seen is two: the first locks the row and looks.
//! When it has returned, and so
//! is committed, the same session is asked for the log's insert position: the commit lies below it.
//!
//! A write that is traced says so in its own transaction, for the invalidator: see [`trace`].

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::value::RawValue;
use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPool};
use tokio::time::timeout;
use uuid::Uuid;

use super::error::{DatabaseError, WriteError};
use super::price::Price;
use super::product::{Product, Texts, texts};
use super::refusal::{refused, without_nul};
use crate::breaker::{Barred, Breaker};
use crate::coherence::{ETag, Token, Xid};
use crate::places::Places;
use crate::telemetry::trace::{self, SpanKind};

/// Writes products, on sessions of [`write_pool`](super::write_pool).
#[derive(Debug, Clone)]
pub struct Writes {
    pool: PgPool,
    deadline: Duration,
    /// As many as there are sessions, each waited for as long as a session is: then a session that cannot be had is one that
    /// cannot be made, and not one that others have.
    places: Arc<Places>,
    breaker: Option<Breaker>,
}

/// All of a product that a client chooses.
#[derive(Debug, Clone)]
pub struct NewProduct {
    /// The shop's own name for it, unique.
    pub sku: String,
    /// What customers read.
    pub name: String,
    /// More of it.
    pub description: Option<String>,
    /// Where it is shelved.
    pub category: String,
    /// What it costs.
    pub price: Price,
    /// How many there are, not negative.
    pub stock_quantity: i32,
    /// A JSON object.
    pub attributes: Box<RawValue>,
}

/// What a patch changes; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ProductPatch {
    /// See [`NewProduct::sku`].
    pub sku: Option<String>,
    /// See [`NewProduct::name`].
    pub name: Option<String>,
    /// See [`NewProduct::description`]; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// See [`NewProduct::category`].
    pub category: Option<String>,
    /// See [`NewProduct::price`].
    pub price: Option<Price>,
    /// See [`NewProduct::stock_quantity`].
    pub stock_quantity: Option<i32>,
    /// Itself a JSON merge patch (RFC 7396) of the attributes.
    pub attributes: Option<Box<RawValue>>,
}

/// The validators of the product of which its writer has seen one; `None` where any is as good.
pub type Seen<'a> = Option<&'a [ETag]>;

/// A write that is committed.
#[derive(Debug)]
pub struct Written {
    /// The product as it is now, or as it was before it was deleted.
    pub product: Product,
    /// When Postgres had confirmed its commit, by this process's clock.
    pub committed: SystemTime,
    /// What a reader has to see in order to see this write; or why nobody could be asked, after the commit.
    pub token: Result<Token, DatabaseError>,
}

/// What a write's statement answers with.
struct WrittenRow {
    xid: String,
    row: Texts,
}

/// A statement that ends in `returning`, answering with the transaction and the columns of [`Texts`]. Its last argument, named apart, is
/// the traceparent: null where the write is not traced, and then the function, which is strict, does nothing.
macro_rules! returning {
    ($statement:literal, $($argument:expr),*; $traceparent:literal) => {
        sqlx::query!(
            $statement + r#" returning pg_current_xact_id()::text as "xid!",
                pg_logical_emit_message(true, 'freshline.trace', "# + $traceparent + r#"::text)::text as traced,
                id::text as "id?", sku::text as "sku?", name::text as "name?", description::text as "description?",
                category::text as "category?", price::text as "price?", stock_quantity::text as "stock_quantity?", attributes::text as "attributes?",
                created_at::text as "created_at?", updated_at::text as "updated_at?""#,
            $($argument,)*
            trace::traceparent()
        )
        .map(|row| WrittenRow { xid: row.xid, row: texts!(row) })
    };
}

impl Writes {
    /// Writes on this pool, each call within `deadline`, waiting for a session included.
    pub fn new(pool: PgPool, deadline: Duration) -> Self {
        let places = Places::new(pool.options().get_max_connections() as usize, pool.options().get_acquire_timeout());
        Self { pool, deadline, places: Arc::new(places), breaker: None }
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

    /// Makes a product, with an id of its own.
    ///
    /// # Errors
    /// If a field is invalid, the sku is taken, or Postgres does not carry it out. After [`DatabaseError::Silent`] and
    /// [`DatabaseError::Unavailable`] it may have been made all the same.
    pub async fn insert(&self, new: &NewProduct) -> Result<Written, WriteError> {
        new.check()?;
        let price = new.price.to_string();
        let statement = returning!(
            "insert into public.products (sku, name, description, category, price, stock_quantity, attributes)
             values ($1, $2, $3, $4, $5::text::numeric, $6, $7::text::jsonb)",
            new.sku,
            new.name,
            new.description.as_deref(),
            new.category,
            price,
            new.stock_quantity,
            new.attributes.get(); "$8"
        );
        let written = self.write(Some(&new.sku), None, async |session| statement.fetch_all(session).await).await?;
        written.ok_or_else(|| DatabaseError::Unexpected("an insert without a row".into()).into())
    }

    /// Replaces all of a product that a client chooses, if its validator is still one of `seen`; `None` where there is no such product.
    ///
    /// # Errors
    /// As [`Writes::insert`]; [`WriteError::Changed`].
    pub async fn update(&self, id: Uuid, new: &NewProduct, seen: Seen<'_>) -> Result<Option<Written>, WriteError> {
        new.check()?;
        let price = new.price.to_string();
        let statement = returning!(
            "update public.products set sku = $2, name = $3, description = $4, category = $5, price = $6::text::numeric,
                 stock_quantity = $7, attributes = $8::text::jsonb
             where id = $1",
            id,
            new.sku,
            new.name,
            new.description.as_deref(),
            new.category,
            price,
            new.stock_quantity,
            new.attributes.get(); "$9"
        );
        self.write(Some(&new.sku), still(id, seen), async |session| statement.fetch_all(session).await).await
    }

    /// Changes the fields that the patch has, if the product's validator is still one of `seen`; `None` where there is no such product.
    ///
    /// # Errors
    /// As [`Writes::update`].
    pub async fn patch(&self, id: Uuid, patch: &ProductPatch, seen: Seen<'_>) -> Result<Option<Written>, WriteError> {
        patch.check()?;
        let price = patch.price.map(|price| price.to_string());
        let statement = returning!(
            "update public.products set sku = coalesce($2, sku), name = coalesce($3, name),
                 description = case when $4 then $5 else description end,
                 category = coalesce($6, category), price = coalesce($7::text::numeric, price),
                 stock_quantity = coalesce($8, stock_quantity),
                 attributes = case when $9::text is null then attributes else freshline.merge_patch(attributes, $9::text::jsonb) end
             where id = $1",
            id,
            patch.sku.as_deref(),
            patch.name.as_deref(),
            patch.description.is_some(),
            patch.description.as_ref().and_then(Option::as_deref),
            patch.category.as_deref(),
            price,
            patch.stock_quantity,
            patch.attributes.as_deref().map(RawValue::get); "$10"
        );
        self.write(patch.sku.as_deref(), still(id, seen), async |session| statement.fetch_all(session).await).await
    }

    /// Deletes a product, if its validator is still one of `seen`; `None` where there is no such product.
    ///
    /// # Errors
    /// As [`Writes::update`].
    pub async fn delete(&self, id: Uuid, seen: Seen<'_>) -> Result<Option<Written>, WriteError> {
        let statement = returning!("delete from public.products where id = $1", id; "$2");
        self.write(None, still(id, seen), async |session| statement.fetch_all(session).await).await
    }

    /// Runs a statement, then asks for its proof. `sku` is the one that it would store.
    ///
    /// The statement has to fetch *all* its rows: only then has the answer to its commit been read, and a commit may fail.
    async fn write(
        &self,
        sku: Option<&str>,
        still: Option<(Uuid, &[ETag])>,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<Vec<WrittenRow>>,
    ) -> Result<Option<Written>, WriteError> {
        let _place = self.places.take().await.ok_or(WriteError::NotBegun(DatabaseError::Overloaded))?;
        let write = async {
            let mut session = self.pool.acquire().await.map_err(|error| WriteError::NotBegun(error.into()))?;
            let rows = match still {
                None => statement(&mut session).await.map_err(|error| refused(error, sku))?,
                Some((id, seen)) => {
                    let mut transaction = session.begin().await.map_err(|error| WriteError::NotBegun(error.into()))?;
                    unchanged(&mut transaction, id, seen).await?;
                    let rows = statement(&mut transaction).await.map_err(|error| refused(error, sku))?;
                    transaction.commit().await.map_err(|error| refused(error, sku))?;
                    rows
                }
            };
            Ok::<_, WriteError>((session, rows))
        };
        let write = trace::step("product.write", SpanKind::Client, timeout(self.deadline, write));
        let write = async { write.await.map_err(|_| DatabaseError::Silent(self.deadline))? };
        let (mut session, rows) = match &self.breaker {
            Some(breaker) => {
                let written = breaker.call(write, WriteError::is_silence).await;
                written.map_err(|Barred| WriteError::NotBegun(DatabaseError::Barred))??
            }
            None => write.await?,
        };
        let committed = SystemTime::now();
        let Some(written) = rows.into_iter().next() else { return Ok(None) };
        let token = timeout(self.deadline, prove(&mut session, &written.xid)).await;
        let product = written.row.product().map_err(unexpected)?.ok_or_else(|| unexpected("a write without a row"))?;
        Ok(Some(Written { product, committed, token: token.unwrap_or(Err(DatabaseError::Silent(self.deadline))) }))
    }
}

fn still(id: Uuid, seen: Seen<'_>) -> Option<(Uuid, &[ETag])> {
    Some((id, seen?))
}

/// Locks a product, if there is one, and compares it with what its writer has seen.
async fn unchanged(session: &mut PgConnection, id: Uuid, seen: &[ETag]) -> Result<(), WriteError> {
    // not cached: it is compared, and forgotten.
    let found = sqlx::query!(
        r#"select id::text as "id?", sku::text as "sku?", name::text as "name?", description::text as "description?",
               category::text as "category?", price::text as "price?", stock_quantity::text as "stock_quantity?", attributes::text as "attributes?",
               created_at::text as "created_at?", updated_at::text as "updated_at?"
           from public.products where id = $1 for update"#,
        id
    );
    let found = found.fetch_optional(session).await.map_err(|error| WriteError::NotBegun(error.into()))?;
    let Some(product) = found.map(|row| texts!(row).product()).transpose().map_err(unexpected)?.flatten() else { return Ok(()) };
    let now = ETag::of(&product.body);
    if seen.contains(&now) { Ok(()) } else { Err(WriteError::Changed { now }) }
}

/// What a reader has to see in order to see the transaction that this session has just committed.
async fn prove(session: &mut PgConnection, xid: &str) -> Result<Token, DatabaseError> {
    // not cached: it is the proof of a write.
    let after = sqlx::query!(r#"select pg_current_wal_insert_lsn()::text as "lsn!", freshline.source() as source"#);
    let after = after.fetch_one(session).await?;
    Ok(Token {
        source: after.source.ok_or(DatabaseError::Nameless)?.parse().map_err(unexpected)?,
        xid: xid.parse().ok().and_then(Xid::new).ok_or_else(|| unexpected("a transaction id above 2^53"))?,
        lsn: after.lsn.parse().map_err(unexpected)?,
    })
}

fn unexpected(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DatabaseError {
    DatabaseError::Unexpected(error.into())
}

impl NewProduct {
    fn check(&self) -> Result<(), WriteError> {
        without_nul([
            ("sku", Some(&*self.sku)),
            ("name", Some(&*self.name)),
            ("description", self.description.as_deref()),
            ("category", Some(&*self.category)),
        ])
    }
}

impl ProductPatch {
    fn check(&self) -> Result<(), WriteError> {
        without_nul([
            ("sku", self.sku.as_deref()),
            ("name", self.name.as_deref()),
            ("description", self.description.as_ref().and_then(Option::as_deref)),
            ("category", self.category.as_deref()),
        ])
    }
}
