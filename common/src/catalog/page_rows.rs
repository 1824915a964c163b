//! The statements behind pages: one for each order, with and without a category.
//!
//! A condition that may be absent (`$1 is null or …`) would cost the index as soon as Postgres keeps a plan for all parameters. So each
//! statement has all of its conditions, always: the first page goes on from a key before all others.

use sqlx::PgPool;
use uuid::Uuid;

use super::cursor::Cursor;
use super::list::{List, Sort};
use super::reads::ProvenRow;

/// Statement parameters: `$1` id and `$3` key to go on after, `$2` how many rows, `$4` category.
macro_rules! page_rows {
    ($pool:expr, $column:literal, $direction:literal, $condition:literal, $($argument:expr),*) => {
        sqlx::query!(
            r#"select pg_current_snapshot()::text as "snapshot!", current_setting('freshline.source', true) as source,
                      p.id as "id?", p.key as "key?"
               from (values (true)) as one (row) left join lateral (
                   select id, "# + $column + " as sorted, " + $column + "::text as key from public.products where " + $condition + "
                   order by " + $column + $direction + ", id" + $direction + " limit $2
               ) p on true order by p.sorted" + $direction + ", p.id" + $direction,
            $($argument),*
        )
        .map(|row| ProvenRow { snapshot: row.snapshot, source: row.source, row: row.id.zip(row.key) })
        .fetch_all($pool)
        .await
    };
}

/// The rows of a page and one more, which tells whether there is a next page: their ids, and what they are sorted by.
pub(super) async fn page_rows(pool: &PgPool, list: &List) -> sqlx::Result<Vec<ProvenRow<Option<(Uuid, String)>>>> {
    let count = i64::from(list.limit()) + 1;
    let (id, key) = (list.cursor().map(Cursor::id), list.cursor().map(Cursor::key));
    let (lowest, highest) = (id.unwrap_or(Uuid::nil()), id.unwrap_or(Uuid::max()));
    match (list.sort(), list.category()) {
        (Sort::Newest, None) => page_rows!(pool, "id", " desc", "id < $1", highest, count),
        (Sort::Newest, Some(category)) => {
            page_rows!(pool, "id", " desc", "category = $3 and id < $1", highest, count, category)
        }
        (Sort::Price, None) => {
            page_rows!(pool, "price", "", "(price, id) > ($3::text::numeric, $1)", lowest, count, key.unwrap_or("-1"))
        }
        (Sort::Price, Some(category)) => {
            let key = key.unwrap_or("-1");
            page_rows!(pool, "price", "", "category = $4 and (price, id) > ($3::text::numeric, $1)", lowest, count, key, category)
        }
        (Sort::PriceDescending, None) => {
            page_rows!(pool, "price", " desc", "(price, id) < ($3::text::numeric, $1)", highest, count, key.unwrap_or("Infinity"))
        }
        (Sort::PriceDescending, Some(category)) => {
            let key = key.unwrap_or("Infinity");
            page_rows!(
                pool,
                "price",
                " desc",
                "category = $4 and (price, id) < ($3::text::numeric, $1)",
                highest,
                count,
                key,
                category
            )
        }
        (Sort::Name, None) => {
            page_rows!(pool, "name", "", "(name, id) > ($3, $1)", lowest, count, key.unwrap_or_default())
        }
        (Sort::Name, Some(category)) => {
            let key = key.unwrap_or_default();
            page_rows!(pool, "name", "", "category = $4 and (name, id) > ($3, $1)", lowest, count, key, category)
        }
    }
}
