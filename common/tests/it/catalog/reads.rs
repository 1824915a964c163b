//! Reads that feed the cache.

use std::collections::BTreeMap;

use freshline::catalog::{CATEGORIES_MAX, Cursor, List, Page, Reads, Sort, read_pool};
use freshline::fault::{Classified, Kind};
use serde_json::{Value, json};
use stage::servers::Shutdown;
use stage::{Login, Stage};
use uuid::Uuid;

use super::{DEADLINE, options, reads, session_options, writes};

#[tokio::test]
async fn a_product_is_served_with_every_column_in_order() {
    let stage = Stage::new().await;
    stage
        .sql(
            r#"insert into products values ('0194214e-cd00-7000-8000-000000000001', 'A "1"', E'Lämp\n', null, 'light', 12.5, 3,
                   '{"b": [1, 2.50], "a": null}', '2025-01-02 03:04:05.678+00', '2025-01-02 04:04:05+01')"#,
        )
        .await;
    let id = "0194214e-cd00-7000-8000-000000000001".parse().expect("a uuid");
    let read = reads(&stage).product(id).await.expect("a read").value.expect("a product");
    assert_eq!(read.id, id);
    let served = concat!(
        r#"{"id":"0194214e-cd00-7000-8000-000000000001","sku":"A \"1\"","name":"Lämp\n","description":null,"category":"light","#,
        r#""price":"12.50","stock_quantity":3,"attributes":{"a": null, "b": [1, 2.50]},"#,
        r#""created_at":"2025-01-02T03:04:05.678Z","updated_at":"#
    );
    let body = std::str::from_utf8(&read.body).expect("text");
    assert!(body.starts_with(served), "{body}");
}

#[tokio::test]
async fn a_product_that_is_not_there_is_read_with_a_proof() {
    let stage = Stage::new().await;
    let read = reads(&stage).product(Uuid::nil()).await.expect("a read");
    assert_eq!(read.value, None);
    assert_eq!(read.proof.source.map(|source| source.to_string()), stage.value("select freshline.source()").await);
}

#[tokio::test]
async fn many_products_come_in_the_order_they_were_asked_for() {
    let stage = Stage::new().await;
    stage
        .sql("insert into products (sku, name, category, price) select 'S' || n, 'n', 'c', n from generate_series(1, 5) as n")
        .await;
    let there: Vec<Uuid> = sqlx::query_scalar("select id from products order by sku").fetch_all(stage.pool()).await.expect("ids");
    let reads = reads(&stage);
    let asked = [there[3], Uuid::nil(), there[0], there[3]];
    let read = reads.products(&asked).await.expect("a read");
    let ids: Vec<Option<Uuid>> = read.value.iter().map(|product| product.as_ref().map(|product| product.id)).collect();
    assert_eq!(ids, [Some(there[3]), None, Some(there[0]), Some(there[3])]);
    assert!(read.proof.source.is_some());

    let none = reads.products(&[]).await.expect("a read");
    assert_eq!(none.value, []);
    assert!(none.proof.source.is_some(), "a read of nothing has a proof as well");
    let one = reads.product(there[2]).await.expect("a read").value;
    assert_eq!(reads.products(&there).await.expect("a read").value[2], one, "one and many are served alike");
}

#[tokio::test]
async fn the_categories_are_those_of_plain_sql_up_to_their_bound() {
    let stage = Stage::new().await;
    let reads = reads(&stage);
    let none = reads.categories().await.expect("a read");
    assert!(none.value.categories.is_empty() && none.proof.source.is_some(), "a read of nothing has a proof as well");
    let insert = |from: usize, to: usize| {
        format!(
            "insert into products (sku, name, category, price)
             select 'S' || n || '-' || m, 'n', case n when 1 then 'Zoë''s' else 'c ' || n end, 1
             from generate_series({from}, {to}) n, generate_series(1, 2) m"
        )
    };
    stage.sql(&insert(1, CATEGORIES_MAX)).await;
    let all: Vec<String> = sqlx::query_scalar("select distinct category from products order by category")
        .fetch_all(stage.pool())
        .await
        .expect("names");
    let read = reads.categories().await.expect("a read").value;
    assert_eq!((read.categories, read.more), (all.clone(), false));
    stage.sql(&insert(CATEGORIES_MAX + 1, CATEGORIES_MAX + 1)).await;
    let read = reads.categories().await.expect("a read").value;
    assert_eq!((read.categories.len(), read.more), (CATEGORIES_MAX, true));
}

/// The snapshot has to be that of the rows: a transaction is in it exactly if its row is.
#[tokio::test]
async fn a_read_sees_what_its_snapshot_sees() {
    let stage = Stage::new().await;
    let (reads, writes) = (reads(&stage), writes(&stage));
    let written = writes.insert(&super::lamp()).await.expect("written");
    let xid = written.token.expect("a token").xid;
    let after = reads.product(written.product.id).await.expect("a read");
    assert!(after.proof.snapshot.sees(xid) && after.value.is_some());

    let mut open = stage.pool().begin().await.expect("a transaction");
    let running: i64 = sqlx::query_scalar("update products set price = 99 returning pg_current_xact_id()::text::bigint")
        .fetch_one(&mut *open)
        .await
        .expect("an update");
    let during = reads.product(written.product.id).await.expect("a read");
    let running = freshline::coherence::Xid::new(running.cast_unsigned()).expect("an xid");
    assert!(!during.proof.snapshot.sees(running) && during.value == after.value);
    open.commit().await.expect("committed");
    let last = reads.product(written.product.id).await.expect("a read");
    assert!(last.proof.snapshot.sees(running) && last.value != after.value);
}

#[tokio::test]
async fn a_reading_session_cannot_write() {
    let stage = Stage::new().await;
    let pool = read_pool(options(&stage, Login::Api), &session_options());
    let refused = sqlx::query("delete from products").execute(&pool).await.expect_err("a write");
    assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("25006"));
}

/// Every order, with and without a category, walked in pages of several sizes, gives each row once, in order.
#[tokio::test]
async fn pages_give_every_row_once_in_order() {
    let stage = Stage::new().await;
    // Many ties: four prices, three names, two categories.
    stage
        .sql(
            "insert into products (sku, name, category, price)
             select 'S' || n, (array['Zoë', 'apple', 'Apple'])[1 + n % 3], (array['a', 'b'])[1 + n % 2], n % 4 from generate_series(1, 23) as n",
        )
        .await;
    let reads = reads(&stage);
    for sort in Sort::ALL {
        let order = match sort {
            Sort::Newest => "id desc",
            Sort::Price => "price, id",
            Sort::PriceDescending => "price desc, id desc",
            Sort::Name => "name, id",
        };
        for category in [None, Some("a"), Some("none such")] {
            let all = format!("select id from products where category = $1 or $1 is null order by {order}");
            let all = sqlx::query_scalar(sqlx::AssertSqlSafe(all)).bind(category);
            let all: Vec<Uuid> = all.fetch_all(stage.pool()).await.expect("ids");
            for limit in [1, 2, 3, 22, 23, 24, 100] {
                let pages = walk(&reads, sort, category, limit).await;
                let (full, size) = (pages.iter().rev().skip(1), usize::from(limit));
                assert!(full.into_iter().all(|page| page.ids.len() == size), "a page that is not full has a next one");
                assert_eq!(pages.len(), all.len().div_ceil(size).max(1), "an empty last page");
                let ids: Vec<Uuid> = pages.into_iter().flat_map(|page| page.ids).collect();
                assert_eq!(ids, all, "{sort} {category:?} in pages of {limit}");
            }
        }
    }
}

async fn walk(reads: &Reads, sort: Sort, category: Option<&str>, limit: u16) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let mut list = List::new(sort, limit).expect("a limit");
        if let Some(category) = category {
            list = list.in_category(category).expect("a category");
        }
        if let Some(cursor) = after {
            // As a client sends it back.
            list = list.after(Cursor::parse(&cursor.to_string(), sort).expect("a cursor")).expect("the same order");
        }
        let read = reads.page(&list).await.expect("a page");
        assert!(read.proof.source.is_some());
        after = read.value.next.clone();
        pages.push(read.value);
        if after.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_by_what_it_calls_for() {
    let stage = Stage::own().await;
    let stranger = Reads::new(read_pool(options(&stage, Login::Api).database("nowhere"), &session_options()), DEADLINE);
    let refused = stranger.product(Uuid::nil()).await.expect_err("no such database");
    assert_eq!(refused.kind(), Kind::Permanent);
    assert!(refused.remedy().is_some());

    let reads = reads(&stage);
    stage.sql("alter table products rename to goods").await;
    assert_eq!(reads.product(Uuid::nil()).await.expect_err("no such table").kind(), Kind::Permanent);
    stage.sql("alter table goods rename to products").await;
    assert!(reads.product(Uuid::nil()).await.is_ok());

    let mut locked = stage.pool().begin().await.expect("a transaction");
    sqlx::query("lock products").execute(&mut *locked).await.expect("locked");
    let hasty = Reads::new(read_pool(options(&stage, Login::Api), &session_options()), std::time::Duration::from_millis(50));
    assert_eq!(hasty.product(Uuid::nil()).await.expect_err("no time").kind(), Kind::Transient);
    locked.rollback().await.expect("unlocked");

    stage.postgres().stop(Shutdown::Immediate).await.expect("stopped");
    assert_eq!(reads.product(Uuid::nil()).await.expect_err("no server").kind(), Kind::Transient);
    stage.postgres().start_again().await.expect("started");
    stage.until("reads again, with the same pool", async || reads.product(Uuid::nil()).await.is_ok()).await;
}

/// What the API serves is what the change stream tells, once both are encoded.
#[tokio::test]
async fn bodies_are_json_objects_of_the_row() {
    let stage = Stage::new().await;
    let written = writes(&stage).insert(&super::lamp()).await.expect("written");
    let body: BTreeMap<String, Value> = serde_json::from_slice(&written.product.body).expect("JSON");
    assert_eq!(body["price"], json!("12.50"));
    assert_eq!(body["stock_quantity"], json!(3));
    assert_eq!(body["attributes"], json!({"socket": "E27", "watts": {"max": 40}}));
    let read = reads(&stage).product(written.product.id).await.expect("a read").value;
    assert_eq!(read, Some(written.product), "a write answers with what a read answers with");
}
