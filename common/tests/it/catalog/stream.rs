//! What the reads serve and name, and what the rules make of the change stream, is the same.

use std::collections::BTreeSet;

use bytes::Bytes;
use freshline::catalog::{List, Reads, Sort, keys};
use freshline::change::{Event, Operation, RowChange};
use freshline::coherence::Tag;
use freshline::replication::pgoutput::Decoder;
use freshline::rules::TablePlan;
use sqlx::AssertSqlSafe;
use stage::Stage;
use uuid::Uuid;

use super::reads;

/// The changes of a test's products, as the invalidator sees them.
struct Changes<'a> {
    stage: &'a Stage,
    decoder: Decoder,
}

impl<'a> Changes<'a> {
    async fn of(stage: &'a Stage) -> Self {
        stage.sql(&format!("select pg_create_logical_replication_slot('{}', 'pgoutput')", stage.name())).await;
        Self { stage, decoder: Decoder::new() }
    }

    /// The one change that a statement makes, and the rules for it.
    async fn by(&mut self, sql: &str) -> (RowChange, TablePlan) {
        self.stage.sql(sql).await;
        let get = format!(
            "select data from pg_logical_slot_get_binary_changes('{}', null, null, 'proto_version', '1', 'publication_names', 'freshline')",
            self.stage.name()
        );
        let messages: Vec<Vec<u8>> =
            sqlx::query_scalar(AssertSqlSafe(get)).fetch_all(self.stage.pool()).await.expect("the changes");
        let mut changes = Vec::new();
        for message in messages {
            if let Some(Event::Row(change)) = self.decoder.decode(&Bytes::from(message)).expect("a message") {
                changes.push(change);
            }
        }
        let change = changes.pop().filter(|_| changes.is_empty()).expect("one change");
        let rules = freshline::catalog::rules().expect("the rules");
        let plan = rules.bind(&change.relation).expect("they fit").expect("rules for the table");
        (change, plan)
    }

    /// The tags that a statement touches.
    async fn tags(&mut self, sql: &str) -> BTreeSet<String> {
        let (change, plan) = self.by(sql).await;
        let mut touched = Vec::new();
        plan.tags(&change, &mut touched).expect("all its columns");
        touched.iter().map(|tag: &Tag| tag.as_str().to_owned()).collect()
    }
}

async fn check(reads: &Reads, (change, plan): (RowChange, TablePlan), id: Uuid) {
    assert_eq!(plan.keys(&change).expect("its columns").row, keys::product(id));
    if change.operation == Operation::Delete {
        return;
    }
    let mut image = Vec::new();
    plan.image(&change, &mut image).expect("all its columns");
    let read = reads.product(id).await.expect("a read").value.expect("a product");
    assert_eq!(std::str::from_utf8(&image), std::str::from_utf8(&read.body));
}

#[tokio::test]
async fn a_row_has_one_name_and_one_body_whether_read_or_streamed() {
    let stage = Stage::new().await;
    let reads = reads(&stage);
    let mut changes = Changes::of(&stage).await;
    let id: Uuid = "0194214e-cd00-7000-8000-000000000001".parse().expect("a uuid");
    for sql in [
        r#"insert into products (id, sku, name, description, category, price, stock_quantity, attributes) values ('ID', 'A "1"',
               E'Lämp \\ \u0001\n\t''', null, 'a:b%', 12.5, 3, '{"b": [1, 2.50, 1e3, -0.0], "a": null, "é\n": "\u0007\"\\"}')"#,
        "update products set price = 0, created_at = '2025-03-04 05:06:07+02'",
        "update products set created_at = '1900-01-01', description = ''",
        "update products set created_at = '0044-03-15 BC'",
        "update products set created_at = 'infinity'",
        "update products set created_at = '2025-03-04 05:06:07.12'",
        // Large, and so left out of the next update's new row: it is taken from the old one.
        "update products set description = (select string_agg(md5(n::text), '') from generate_series(1, 300) as n)",
        "update products set stock_quantity = 7",
        // A column that neither the rules nor the reads name.
        "alter table products add colour text default 'blue'; update products set price = 9999999999.99",
        "delete from products",
    ] {
        let change = changes.by(&sql.replace("ID", &id.to_string())).await;
        check(&reads, change, id).await;
    }
}

#[tokio::test]
async fn a_change_touches_the_pages_that_it_can_change_and_no_others() {
    let stage = Stage::new().await;
    let mut changes = Changes::of(&stage).await;
    let page = |sort, category: Option<&str>| {
        let list = List::new(sort, 20).expect("a limit");
        let list = category.map_or(Some(list.clone()), |category| list.in_category(category)).expect("a category");
        keys::page_tag(&list).as_str().to_owned()
    };
    let pages = |sorts: &[Sort], categories: &[Option<&str>]| -> BTreeSet<String> {
        sorts.iter().flat_map(|sort| categories.iter().map(|category| page(*sort, *category))).collect()
    };
    let and_categories = |mut pages: BTreeSet<String>| {
        pages.insert(keys::categories_tag().as_str().to_owned());
        pages
    };
    let (a, b) = (Some("a:1"), Some("b%"));
    let id = "0194214e-cd00-7000-8000-000000000001";
    let cases = [
        (
            format!("insert into products (id, sku, name, category, price) values ('{id}', 'A', 'a', 'a:1', 1)"),
            and_categories(pages(&Sort::ALL, &[None, a])),
        ),
        ("update products set stock_quantity = 7, description = 'x'".into(), pages(&[], &[])),
        ("update products set price = 2".into(), pages(&[Sort::Price], &[None, a])),
        ("update products set name = 'b'".into(), pages(&[Sort::Name], &[None, a])),
        ("update products set category = 'b%'".into(), and_categories(pages(&Sort::ALL, &[a, b]))),
        ("update products set id = '0194214e-cd00-7000-8000-000000000002'".into(), pages(&Sort::ALL, &[None, b])),
        ("delete from products".into(), and_categories(pages(&Sort::ALL, &[None, b]))),
    ];
    for (sql, touched) in cases {
        assert_eq!(changes.tags(&sql).await, touched, "{sql}");
    }
}
