//! Three products and the lists that show them, all of it cached and watched: what every test of the suite looks at.

use freshline::{
    cache::{Origin, Want},
    catalog::Sort,
    coherence::Generation,
};
use serde_json::Value;
use stage::Source;
use uuid::Uuid;

use crate::{
    house::House,
    reader::{Reader, Watched},
};

/// Longer than Postgres keeps in a row, and nothing that it could compress.
const LONG_TEXT: &str = "(select string_agg(md5(n::text), '') from generate_series(1, 250) n)";

/// A house with a shelf in it.
pub struct Shelf {
    pub house: House,
    pub reader: Reader,
    /// The generation in which all of it was cached.
    pub generation: Generation,
    watched: Vec<Watched>,
}

/// The id of the n-th product; there are three, and names for more.
pub fn id(n: u8) -> Uuid {
    Uuid::from_u128(0x0192_d3a0_0000_7000_8000_0000_0000_0000 + u128::from(n))
}

impl Shelf {
    /// On the servers that all tests share.
    pub async fn new(source: Source) -> Self {
        Self::in_house(House::new(source).await).await
    }

    /// On servers of its own.
    pub async fn own(source: Source) -> Self {
        Self::in_house(House::own(source).await).await
    }

    /// On a Postgres of its own.
    pub async fn own_postgres(source: Source) -> Self {
        Self::in_house(House::own_without(source, &[]).await).await
    }

    async fn in_house(house: House) -> Self {
        for n in 1..=3 {
            let row = format!("'{}', 'sku-{n}', 'thing {n}', {LONG_TEXT}, 'audio', 10.00", id(n));
            house.stage.sql(&format!("insert into products (id, sku, name, description, category, price) values ({row})")).await;
        }
        house.drained().await;
        let rows = (1..=5).map(|n| Watched::Row(id(n))); // two of them are not there, which is cached as well
        let lists =
            [(Sort::Newest, None), (Sort::Newest, Some("audio")), (Sort::Price, Some("audio")), (Sort::Newest, Some("video"))];
        let watched = rows.chain(lists.map(|(sort, category)| Watched::list(sort, category))).collect();
        let (reader, generation) = (Reader::on(&house.stage, &house.stripes), house.opened().await.generation);
        let shelf = Self { house, reader, generation, watched };
        shelf.cached().await;
        shelf
    }

    /// Waits until all of it is cached.
    pub async fn cached(&self) {
        for watched in &self.watched {
            self.reader.cached(watched).await;
        }
    }

    /// Watches this, too, once it is cached.
    pub async fn watch(&mut self, watched: Watched) {
        self.reader.cached(&watched).await;
        self.watched.push(watched);
    }

    /// Runs SQL, and waits until all of it has been applied.
    pub async fn change(&self, sql: &str) {
        self.house.stage.sql(sql).await;
        self.house.drained().await;
    }

    /// Whether the next read of a row is served from the cache.
    pub async fn is_hit(&self, n: u8) -> bool {
        self.reader.get(&Watched::Row(id(n)), &Want::default()).await.origin == Origin::Redis
    }

    /// Whether the cache serves a row with this value.
    pub async fn sees(&self, n: u8, column: &str, value: impl Into<Value>) -> bool {
        let row = self.reader.cached(&Watched::Row(id(n))).await.value.expect("a row");
        serde_json::from_slice::<Value>(&row).expect("JSON")[column] == value.into()
    }

    /// The rows that the cache shows in a category.
    pub async fn shows(&self, category: &str) -> Vec<Uuid> {
        let page = self.reader.cached(&Watched::list(Sort::Newest, Some(category))).await.value.expect("a page");
        serde_json::from_slice(&page).expect("ids")
    }

    /// All that is read is true, and nothing of it was given up for that.
    pub async fn assert_kept(&self) {
        self.reader.assert_true(&self.watched).await;
        let generation = self.house.opened().await.generation;
        let told = self.house.invalidator.lines().into_iter().filter(|line| !line.contains("DEBUG")).collect::<Vec<_>>().join("\n");
        assert_eq!(generation, self.generation, "nothing was lost, so nothing is given up; the invalidator says:\n{told}");
    }

    /// What is read is true, whether the cache serves it now or not.
    pub async fn assert_no_read_is_untrue(&self) {
        for watched in &self.watched {
            let found = self.reader.get(watched, &Want::default()).await;
            assert_eq!(found.value, self.reader.truth(watched).await, "{watched:?} was read from {:?}", found.origin);
        }
    }

    /// All that is read is true, after everything that was cached has been given up at once.
    pub async fn assert_anew(&self) {
        self.house.reopened(self.generation).await;
        self.reader.assert_true(&self.watched).await;
    }

    /// A change is seen, through all that stands between.
    pub async fn assert_alive(&self) {
        self.cached().await;
        self.change("update products set price = price + 1, name = name || '+' where category = 'audio'").await;
        self.reader.assert_true(&self.watched).await;
    }
}
