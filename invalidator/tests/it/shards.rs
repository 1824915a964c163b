//! Two shards for two stripes: each applies its own share of the changes, and needs nothing of the other.

use freshline::{
    cache::{Origin, Want},
    catalog::keys,
    coherence::{Control, Stripe, Stripes},
};
use stage::{Feed, Process, Source, Stage};

use crate::{
    house::launch,
    reader::{Reader, Watched},
    shelf::id,
};

stage::over_sources! { [postgres: Postgres, nats: Nats, kafka: Kafka] [one_that_is_killed_takes_nothing_from_the_other] }

const ROWS: u8 = 12;

/// Servers with two invalidators, each with one of two stripes.
struct Shards {
    shards: [Process; 2],
    reader: Reader,
    stripes: Stripes,
    stage: Stage,
    _feed: Feed,
}

impl Shards {
    async fn new(source: Source) -> Self {
        let stage = Stage::new().await;
        let feed = Feed::new(&stage, source).await;
        let stripes = Stripes::new(stage.name(), 2).expect("a layout");
        let shards = ["1/2", "2/2"].map(|shard| {
            let launch = launch(&stage).variables(feed.variables(&stage)).variable("FRESHLINE_STRIPES", "2");
            Process::start(launch.argument("--shard").argument(shard)).expect("a shard starts")
        });
        let reader = Reader::on(&stage, &stripes);
        Self { shards, reader, stripes, stage, _feed: feed }
    }

    /// The rows of a stripe.
    fn rows(&self, stripe: Stripe) -> Vec<Watched> {
        let ids = (1..=ROWS).map(id);
        ids.filter(|id| self.stripes.of(keys::product(*id).as_str()) == stripe).map(Watched::Row).collect()
    }

    /// Waits until a stripe has come so far.
    async fn drained(&self, stripe: Stripe, position: u64) {
        let mut redis = self.stage.redis().connect().await.expect("Redis answers");
        let mut command = redis::cmd("GET");
        command.arg(self.stripes.ctl(stripe));
        self.stage
            .until("all is applied", async || {
                let bytes: Option<Vec<u8>> = command.query_async(&mut redis).await.expect("Redis answers");
                bytes.and_then(|bytes| Control::decode(&bytes)).is_some_and(|control| control.position.get() >= position)
            })
            .await;
    }
}

async fn one_that_is_killed_takes_nothing_from_the_other(source: Source) {
    let mut s = Shards::new(source).await;
    let stripes: Vec<Stripe> = s.stripes.all().collect();
    let (its, others) = (s.rows(stripes[0]), s.rows(stripes[1]));
    assert!(!its.is_empty() && !others.is_empty(), "{its:?} and {others:?}");
    let all: Vec<Watched> = its.iter().chain(&others).cloned().collect();
    let insert = |n: u8| format!("('{}', 'sku-{n}', 'thing {n}', 'audio', 10.00)", id(n));
    let values: Vec<String> = (1..=ROWS).map(insert).collect();
    let end = s.stage.sql(&format!("insert into products (id, sku, name, category, price) values {}", values.join(", "))).await;
    for stripe in &stripes {
        s.drained(*stripe, end).await;
    }
    s.reader.assert_true(&all).await;

    let end = s.stage.sql("update products set price = price + 1").await;
    for stripe in &stripes {
        s.drained(*stripe, end).await;
    }
    s.reader.assert_true(&all).await;

    s.shards[0].kill().await.expect("it is killed");
    let end = s.stage.sql("update products set price = price + 1").await;
    s.drained(stripes[1], end).await;
    s.reader.assert_true(&others).await;
    // Nobody tells of these any more: they are served for as long as the bound allows, and then read from Postgres.
    for row in &its {
        let is_true = async || {
            let found = s.reader.get(row, &Want::default()).await;
            found.origin == Origin::Postgres && found.value == s.reader.truth(row).await
        };
        s.stage.until("it is read from Postgres", is_true).await;
    }

    s.shards[0].restart().await.expect("it starts again");
    let end = s.stage.sql("update products set price = price + 1").await;
    for stripe in &stripes {
        s.drained(*stripe, end).await;
    }
    s.reader.assert_true(&all).await;
}
