//! The categories that products are in.

use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::reads::ProvenRow;

/// The most categories that are told. Whoever has more looks for them by name.
pub const CATEGORIES_MAX: usize = 1000;

/// The categories that at least one product is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Categories {
    /// Their names, in the database's order; the first 1000 of them.
    pub categories: Vec<String>,
    /// Whether there are more than are told.
    pub more: bool,
}

impl Categories {
    /// Of names of which one too many was read.
    pub(super) fn of(mut names: Vec<String>) -> Self {
        let more = names.len() > CATEGORIES_MAX;
        names.truncate(CATEGORIES_MAX);
        Self { categories: names, more }
    }
}

/// The names, and one more than are told. From one name to the next along an index: `select distinct` would read the whole table,
/// again after each product that comes or goes.
pub(super) async fn category_rows(pool: &PgPool) -> sqlx::Result<Vec<ProvenRow<Option<String>>>> {
    sqlx::query!(
        r#"with recursive found (category) as (
               (select category from public.products order by category limit 1)
               union all
               select (select p.category from public.products p where p.category > found.category order by p.category limit 1)
               from found where found.category is not null
           )
           select pg_current_snapshot()::text as "snapshot!", current_setting('freshline.source', true) as source,
                  c.category as "category?"
           from (values (true)) as one (row)
           left join (select category from found where category is not null limit $1) c on true
           order by c.category"#,
        CATEGORIES_MAX as i64 + 1
    )
    .map(|row| ProvenRow { snapshot: row.snapshot, source: row.source, row: row.category })
    .fetch_all(pool)
    .await
}
