//! The statements behind pages: one for each order, with and without a category.
//!
//! A condition that may be absent (`$1 is null or …`) would cost the index as soon as Postgres keeps a plan for all parameters. So each
//! statement has all of its conditions, always: the first page goes on from a key before all others.
//!
//! Nor does one say `category = $4`: Postgres may then walk along the index of the order alone and throw away what is of other
//! categories. With a plan for all parameters it read a whole table for a category without products (198,001 of 200,000 rows, on
//! 15.18). Bounds on both sides, and an order that begins with the category, leave it the one index that has both.

use sqlx::PgPool;
use uuid::Uuid;

use super::list::{List, Sort};
use super::reads::ProvenRow;

/// Parameters of the statement: `$1` id and `$3` key to go on after, `$2` how many rows, the last one the category.
macro_rules! page_rows {
    ($pool:expr, $column:literal, $condition:literal, $order:literal, $direction:literal, $($argument:expr),*) => {
        sqlx::query!(
            r#"select pg_current_snapshot()::text as "snapshot!", current_setting('freshline.source', true) as source,
                      p.id as "id?", p.key as "key?"
               from (values (true)) as one (row) left join lateral (
                   select id, "# + $column + " as sorted, " + $column + "::text as key from public.products
                   where " + $condition + " order by " + $order + " limit $2
               ) p on true order by p.sorted" + $direction + ", p.id" + $direction,
            $($argument),*
        )
        .map(|row| ProvenRow { snapshot: row.snapshot, source: row.source, row: row.id.zip(row.key) })
        .fetch_all($pool)
        .await
    };
}

type PageRow = ProvenRow<Option<(Uuid, String)>>;

/// Where a page begins: after this id and sort key.
struct Start<'a> {
    id: Uuid,
    key: &'a str,
    /// How many rows are read.
    count: i64,
}

impl<'a> Start<'a> {
    /// At the cursor, or before every row there can be.
    fn of(list: &'a List) -> Self {
        let (id, key) = match list.sort() {
            Sort::Newest => (Uuid::max(), ""),
            Sort::Price => (Uuid::nil(), "-1"),
            Sort::PriceDescending => (Uuid::max(), "Infinity"),
            Sort::Name => (Uuid::nil(), ""),
        };
        let (id, key) = list.cursor().map_or((id, key), |cursor| (cursor.id(), cursor.key()));
        Self { id, key, count: i64::from(list.limit()) + 1 }
    }
}

/// The rows of a page and one more, which tells whether there is a next page: their ids, and what they are sorted by.
pub(super) async fn page_rows(pool: &PgPool, list: &List) -> sqlx::Result<Vec<PageRow>> {
    let start = Start::of(list);
    match list.category() {
        None => in_all(pool, list.sort(), start).await,
        Some(category) => in_category(pool, list.sort(), start, category).await,
    }
}

async fn in_all(pool: &PgPool, sort: Sort, Start { id, key, count }: Start<'_>) -> sqlx::Result<Vec<PageRow>> {
    match sort {
        Sort::Newest => page_rows!(pool, "id", "id < $1", "id desc", " desc", id, count),
        Sort::Price => page_rows!(pool, "price", "(price, id) > ($3::text::numeric, $1)", "price, id", "", id, count, key),
        Sort::PriceDescending => {
            page_rows!(pool, "price", "(price, id) < ($3::text::numeric, $1)", "price desc, id desc", " desc", id, count, key)
        }
        Sort::Name => page_rows!(pool, "name", "(name, id) > ($3, $1)", "name, id", "", id, count, key),
    }
}

async fn in_category(pool: &PgPool, sort: Sort, start: Start<'_>, category: &str) -> sqlx::Result<Vec<PageRow>> {
    let Start { id, key, count } = start;
    match sort {
        Sort::Newest => page_rows!(
            pool,
            "id",
            "(category, id) < ($3, $1) and category >= $3 and category <= $3",
            "category desc, id desc",
            " desc",
            id,
            count,
            category
        ),
        Sort::Price => page_rows!(
            pool,
            "price",
            "(category, price, id) > ($4, $3::text::numeric, $1) and category >= $4 and category <= $4",
            "category, price, id",
            "",
            id,
            count,
            key,
            category
        ),
        Sort::PriceDescending => page_rows!(
            pool,
            "price",
            "(category, price, id) < ($4, $3::text::numeric, $1) and category >= $4 and category <= $4",
            "category desc, price desc, id desc",
            " desc",
            id,
            count,
            key,
            category
        ),
        Sort::Name => page_rows!(
            pool,
            "name",
            "(category, name, id) > ($4, $3, $1) and category >= $4 and category <= $4",
            "category, name, id",
            "",
            id,
            count,
            key,
            category
        ),
    }
}
