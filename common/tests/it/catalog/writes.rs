//! Writes, and what they prove.

use freshline::catalog::{DatabaseError, NewProduct, ProductPatch, WriteError, Writes, Written, write_pool};
use freshline::coherence::Token;
use freshline::fault::{Classified, Kind};
use rstest::rstest;
use serde_json::{Value, json};
use stage::{Login, Stage};
use uuid::Uuid;

use super::{DEADLINE, json as raw, lamp, options, reads, session_options, writes};

fn body(written: &Written) -> Value {
    serde_json::from_slice(&written.product.body).expect("JSON")
}

fn token(written: &Written) -> &Token {
    written.token.as_ref().expect("a token")
}

#[tokio::test]
async fn each_write_answers_with_the_row_and_its_token() {
    let stage = Stage::new().await;
    let (reads, writes) = (reads(&stage), writes(&stage));
    let inserted = writes.insert(&lamp()).await.expect("written");
    let id = inserted.product.id;
    assert_eq!(id.get_version_num(), 7);
    let patch = ProductPatch { price: "9.99".parse().ok(), ..ProductPatch::default() };
    let patched = writes.patch(id, &patch, None).await.expect("written").expect("it is there");
    let whole = NewProduct { name: "Other lamp".into(), description: None, ..lamp() };
    let updated = writes.update(id, &whole, None).await.expect("written").expect("it is there");
    assert_eq!(reads.product(id).await.expect("a read").value.as_ref(), Some(&updated.product));
    let deleted = writes.delete(id, None).await.expect("written").expect("it is there");
    assert_eq!(deleted.product, updated.product, "what was deleted");

    assert_eq!((&body(&patched)["price"], &body(&patched)["name"]), (&json!("9.99"), &json!("Lamp")));
    assert_eq!((&body(&updated)["price"], &body(&updated)["name"]), (&json!("12.50"), &json!("Other lamp")));
    assert_eq!(body(&updated)["description"], Value::Null);
    assert_eq!(body(&updated)["created_at"], body(&inserted)["created_at"]);

    let source = stage.value::<Option<String>>("select freshline.source()").await;
    let after = reads.product(id).await.expect("a read");
    assert_eq!(after.value, None);
    let writes = [&inserted, &patched, &updated, &deleted];
    for written in writes {
        assert_eq!(Some(token(written).source.to_string()), source);
        assert!(after.proof.snapshot.sees(token(written).xid));
    }
    for pair in writes.windows(2) {
        assert!(token(pair[0]).xid < token(pair[1]).xid && token(pair[0]).lsn < token(pair[1]).lsn);
    }
}

/// The position is taken after the commit: a stream that has come so far has the commit.
#[tokio::test]
async fn the_position_of_a_write_lies_above_its_commit() {
    let stage = Stage::new().await;
    stage.sql(&format!("select pg_create_logical_replication_slot('{}', 'test_decoding')", stage.name())).await;
    let written = writes(&stage).insert(&lamp()).await.expect("written");
    let below = format!(
        "select count(*) from pg_logical_slot_peek_changes('{}', '{}', null) where data like 'COMMIT {}'",
        stage.name(),
        token(&written).lsn,
        token(&written).xid
    );
    assert_eq!(stage.value::<i64>(&below).await, 1);
}

#[tokio::test]
async fn the_xid_of_a_write_is_that_of_its_row() {
    let stage = Stage::new().await;
    let written = writes(&stage).insert(&lamp()).await.expect("written");
    let xmin = stage.value::<i64>("select xmin::text::bigint from products").await;
    assert_eq!(i64::try_from(token(&written).xid.get()).ok(), Some(xmin), "this server has not wrapped around");
}

#[tokio::test]
async fn a_product_that_is_not_there_is_not_written() {
    let stage = Stage::new().await;
    let writes = writes(&stage);
    assert!(writes.update(Uuid::nil(), &lamp(), None).await.expect("an answer").is_none());
    assert!(writes.patch(Uuid::nil(), &ProductPatch::default(), None).await.expect("an answer").is_none());
    assert!(writes.delete(Uuid::nil(), None).await.expect("an answer").is_none());
}

#[tokio::test]
async fn a_patch_changes_what_it_has_and_nothing_else() {
    let stage = Stage::new().await;
    let writes = writes(&stage);
    let before = writes.insert(&lamp()).await.expect("written");
    let cases = [
        (ProductPatch { sku: Some("LAMP-2".into()), ..ProductPatch::default() }, "sku", json!("LAMP-2")),
        (ProductPatch { name: Some("Torch".into()), ..ProductPatch::default() }, "name", json!("Torch")),
        (ProductPatch { description: Some(None), ..ProductPatch::default() }, "description", Value::Null),
        (ProductPatch { description: Some(Some("Small.".into())), ..ProductPatch::default() }, "description", json!("Small.")),
        (ProductPatch { category: Some("tools".into()), ..ProductPatch::default() }, "category", json!("tools")),
        (ProductPatch { price: "0".parse().ok(), ..ProductPatch::default() }, "price", json!("0.00")),
        (ProductPatch { stock_quantity: Some(0), ..ProductPatch::default() }, "stock_quantity", json!(0)),
        (
            ProductPatch { attributes: Some(raw(r#"{"socket": null, "watts": {"min": 5}}"#)), ..ProductPatch::default() },
            "attributes",
            json!({"watts": {"min": 5, "max": 40}}),
        ),
        (ProductPatch::default(), "name", json!("Torch")),
    ];
    let mut expected = body(&before);
    for (patch, field, value) in cases {
        let patched = writes.patch(before.product.id, &patch, None).await.expect("written").expect("it is there");
        expected[field] = value;
        let mut now = body(&patched);
        expected["updated_at"] = now["updated_at"].take();
        now["updated_at"] = expected["updated_at"].clone();
        assert_eq!(now, expected, "{patch:?}");
    }
}

fn field(result: Result<impl std::fmt::Debug, WriteError>) -> &'static str {
    match result.expect_err("refused") {
        WriteError::Invalid { field, reason } => {
            assert!(reason.starts_with("must "), "{reason}");
            field
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_product_is_refused_by_field() {
    let stage = Stage::new().await;
    let writes = writes(&stage);
    let id = writes.insert(&lamp()).await.expect("written").product.id;
    let deep = "{\"a\":".repeat(20_000) + "1" + &"}".repeat(20_000);
    let cases: [(&str, NewProduct); 16] = [
        ("sku", NewProduct { sku: " ".into(), ..lamp() }),
        ("sku", NewProduct { sku: "x".repeat(65), ..lamp() }),
        ("sku", NewProduct { sku: "a\0".into(), ..lamp() }),
        ("name", NewProduct { name: String::new(), ..lamp() }),
        ("name", NewProduct { name: "x".repeat(201), ..lamp() }),
        ("name", NewProduct { name: "\0".into(), ..lamp() }),
        ("description", NewProduct { description: Some("x".repeat(10_001)), ..lamp() }),
        ("description", NewProduct { description: Some("\0".into()), ..lamp() }),
        ("category", NewProduct { category: "x".repeat(65), ..lamp() }),
        ("stock_quantity", NewProduct { stock_quantity: -1, ..lamp() }),
        ("attributes", NewProduct { attributes: raw("[]"), ..lamp() }),
        ("attributes", NewProduct { attributes: raw("null"), ..lamp() }),
        ("attributes", NewProduct { attributes: raw(r#"{"a": "\u0000"}"#), ..lamp() }),
        ("attributes", NewProduct { attributes: raw(r#"{"a": "\ud800"}"#), ..lamp() }),
        ("attributes", NewProduct { attributes: raw(r#"{"a": 1e999999}"#), ..lamp() }),
        ("attributes", NewProduct { attributes: raw(&deep), ..lamp() }),
    ];
    for (named, product) in cases {
        assert_eq!(field(writes.update(id, &product, None).await), named, "update: {product:.200?}");
        let other = NewProduct { sku: product.sku.replace("LAMP-1", "LAMP-2"), ..product };
        assert_eq!(field(writes.insert(&other).await), named, "insert: {other:.200?}");
    }
    let patch = ProductPatch { attributes: Some(raw("7")), ..ProductPatch::default() };
    assert_eq!(field(writes.patch(id, &patch, None).await), "attributes");
    let deep =
        ProductPatch { attributes: Some(raw(&("{\"a\":".repeat(3000) + "1" + &"}".repeat(3000)))), ..ProductPatch::default() };
    assert_eq!(field(writes.patch(id, &deep, None).await), "attributes");
}

#[tokio::test]
async fn a_sku_that_is_taken_is_named() {
    let stage = Stage::new().await;
    let writes = writes(&stage);
    writes.insert(&lamp()).await.expect("written");
    let other = writes.insert(&NewProduct { sku: "LAMP-2".into(), ..lamp() }).await.expect("written").product.id;
    let patch = ProductPatch { sku: Some("LAMP-1".into()), ..ProductPatch::default() };
    for taken in
        [writes.insert(&lamp()).await.map(Some), writes.update(other, &lamp(), None).await, writes.patch(other, &patch, None).await]
    {
        let taken = taken.expect_err("taken");
        assert!(matches!(&taken, WriteError::SkuTaken { sku } if &**sku == "LAMP-1"), "{taken:?}");
        assert_eq!(taken.kind(), Kind::Permanent);
    }
}

#[rstest]
#[case::a_standby_or_read_only("alter database DB set default_transaction_read_only = on")]
#[case::a_lock_held_too_long("alter database DB set lock_timeout = 1")]
#[tokio::test]
async fn what_may_pass_by_itself_is_transient(#[case] set: &str) {
    let stage = Stage::new().await;
    let id = writes(&stage).insert(&lamp()).await.expect("written").product.id;
    let mut locked = stage.pool().begin().await.expect("a transaction");
    sqlx::query("select 1 from products for update").execute(&mut *locked).await.expect("locked");
    stage.sql(&set.replace("DB", stage.name())).await; // for sessions that begin from here on
    let error = writes(&stage).delete(id, None).await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Transient, "{error:?}");
    locked.rollback().await.expect("unlocked");
}

/// A commit is a statement of its own that can fail. A row that was answered before it is not yet written.
#[tokio::test]
async fn a_commit_that_fails_is_no_write() {
    let stage = Stage::new().await;
    stage
        .sql(
            "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'at commit'; end $$;
             create constraint trigger refuse after insert on products deferrable initially deferred
                 for each row execute function refuse()",
        )
        .await;
    let error = writes(&stage).insert(&lamp()).await.expect_err("the commit failed");
    assert!(matches!(error, WriteError::Database(DatabaseError::Unexpected(_))), "{error:?}");
    assert_eq!(stage.value::<i64>("select count(*) from products").await, 0);
}

/// Without a source nothing can be proven; what was written stays written, and the caller learns both.
#[tokio::test]
async fn a_write_without_a_source_is_told_as_written_and_unproven() {
    let stage = Stage::new().await;
    stage.sql("create or replace function freshline.source() returns text language sql as 'select null::text'").await;
    let written = writes(&stage).insert(&lamp()).await.expect("written");
    let unproven = written.token.expect_err("no source");
    assert_eq!(unproven.kind(), Kind::Permanent);
    assert!(unproven.remedy().is_some_and(|remedy| remedy.contains("pg_read_all_stats")));
}

#[tokio::test]
async fn a_role_without_rights_is_told_the_remedy() {
    let stage = Stage::new().await;
    let writes = Writes::new(write_pool(options(&stage, Login::Warmer), &session_options()), DEADLINE);
    let error = writes.insert(&lamp()).await.expect_err("the warmer may not write");
    assert_eq!(error.kind(), Kind::Permanent);
    assert!(error.remedy().is_some());
}
