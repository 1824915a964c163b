//! What only a topic can bring.

use freshline::{
    cache::Want,
    coherence::{Control, Fill, Lsn, Refusal, Stripes},
};
use stage::{Feed, Process, Source, Stage};

use crate::{
    hands,
    house::{House, launch},
    life::{PRICE_1, insert, key},
    reader::{Reader, Watched},
    shelf,
};

#[tokio::test]
async fn without_the_end_of_its_commit_a_row_is_removed_and_not_replaced() {
    let house = House::new(Source::KafkaPartitions).await;
    insert(&house, 3).await;
    for n in 1..=3 {
        assert_eq!(house.load(&key(n), &format!("select price from products where sku = 'sku-{n}'")).await, Fill::Filled);
    }
    house.stage.sql("update products set price = price + 1").await;
    house.drained().await;
    for n in 1..=3 {
        assert_eq!(house.served(&key(n)).await, Err(Refusal::Missing));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_and_what_it_names_is_gone() {
    let house = House::new(Source::Kafka).await;
    insert(&house, 1).await;
    assert_eq!(house.load(&key(1), PRICE_1).await, Fill::Filled);
    let before = house.opened().await.generation;
    // Its transaction and its row can be told, but not its tags: everything is emptied.
    let xid: String = house.stage.value("select pg_current_xact_id()::text").await;
    let id = "0192d3a0-0000-7000-8000-000000000001";
    let value =
        format!(r#"{{"op":"u","after":{{"id":7}},"source":{{"schema":"public","table":"products","txId":{xid},"lsn":9}}}}"#);
    hands::publish(&house, format!(r#"{{"id":"{id}"}}"#).as_bytes(), value.as_bytes()).await;
    let before = house.reopened(before).await.generation;
    assert_eq!(house.served(&key(1)).await, Err(Refusal::OtherGeneration));

    // Nothing of it can be told: the cache is closed, and opened when nothing can be missing.
    hands::publish(&house, b"?", b"{\"no\": \"envelope\"").await;
    house.reopened(before).await;
    let kept: Vec<(String, Vec<u8>)> = sqlx::query_as("select reason, raw from freshline.dead_letters order by id")
        .fetch_all(house.stage.pool())
        .await
        .expect("the dead letters");
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].0.contains("column id has a value that its type does not have"), "{kept:?}");
    assert_eq!(kept[1].1, b"{\"no\": \"envelope\"");
}

/// What a connector does that is set up by its documentation alone.
#[tokio::test]
async fn where_no_marker_comes_back_the_age_of_each_entry_proves_it_fresh() {
    let stage = Stage::new().await;
    let feed = Feed::new(&stage, Source::KafkaTables).await;
    let (id, stripes) = (shelf::id(1), Stripes::new(stage.name(), 1).expect("a layout"));
    stage
        .sql(&format!("insert into products (id, sku, name, category, price) values ('{id}', 'sku-1', 'thing', 'audio', 10)"))
        .await;
    let mut invalidator = Process::start(launch(&stage).variables(feed.variables(&stage))).expect("it starts");
    let told = invalidator.line("only the age of each entry proves it fresh").await;
    assert!(told.contains("RegexRouter"), "{told}");

    let (reader, row) = (Reader::on(&stage, &stripes), Watched::Row(id));
    reader.assert_true([&row]).await;
    for _ in 0..2 {
        stage.sql("update products set price = price + 1").await;
        let is_true = async || reader.get(&row, &Want::default()).await.value == reader.truth(&row).await;
        stage.until("the change is applied", is_true).await;
        reader.assert_true([&row]).await;
    }
    let mut redis = stage.redis().connect().await.expect("Redis answers");
    let ctl = redis::cmd("GET").arg(stripes.ctl(stripes.all().next().expect("one"))).query_async::<Vec<u8>>(&mut redis).await;
    let control = Control::decode(&ctl.expect("it is there")).expect("a control record");
    assert_eq!((control.position, control.at.as_micros()), (Lsn::ZERO, 0), "nothing is known but what each entry says of itself");
}
