//! Who writes and who reads while things break: SQL, the API with its tokens, readers on both replicas, warm runs.

use std::time::Duration;

use freshline::coherence::{Control, Token};
use reqwest::{Method, StatusCode};
use stage::Random;

use super::Race;
use crate::{
    support::{Answer, Api},
    town::{is_hit, items},
};

/// How often each writer writes: often enough that changes race with fills, seldom enough that there is something to hit.
const WRITE_EVERY: Duration = Duration::from_millis(15);

/// How often the position of the cache is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The categories that rows move between.
pub const CATEGORIES: [&str; 3] = ["red", "green", "blue"];

/// The orders of lists.
pub const SORTS: [&str; 4] = ["newest", "price", "-price", "name"];

/// The pages that begin with the newest beacon, each under a tag of its own.
pub const PAGES: [&str; 2] = ["/products?category=beacon&sort=newest&limit=1", "/products?limit=10"];

impl Race<'_> {
    /// Rows change, go and come by plain SQL, now and then in a subtransaction.
    pub async fn write_by_sql(&self, mut random: Random) {
        let mut pace = tokio::time::interval(WRITE_EVERY);
        while !self.is_over() {
            pace.tick().await;
            let at = random.below(self.ledger.rows().len());
            let row = self.ledger.row(at);
            let mut version = row.version.lock().await;
            let (next, id, price) = (version.number + 1, &row.id, random.below(1000));
            let category = random.pick(&CATEGORIES);
            let sql = match (version.exists, random.below(8)) {
                (false, _) => format!(
                    "insert into products (id, sku, name, category, price, stock_quantity) values ('{id}', '{id}', 'n{price}', '{category}', {price}, {next})"
                ),
                (true, 0) => format!("delete from products where id = '{id}'"),
                (true, 1) => format!("update products set name = 'n{price}', stock_quantity = {next} where id = '{id}'"),
                (true, 2) => format!(
                    "begin; savepoint a; update products set price = {price}, stock_quantity = {next} where id = '{id}'; release a; commit"
                ),
                (true, _) => format!(
                    "update products set price = {price}, category = '{category}', stock_quantity = {next} where id = '{id}'"
                ),
            };
            let exists = !sql.starts_with("delete");
            if !exists {
                row.goes_at(next);
            }
            let end = self.town.stage.sql(&sql).await;
            self.ledger.committed(at, next, end);
            (version.number, version.exists) = (next, exists);
            self.tally.writes();
        }
    }

    /// Rows change by the API, and are read with the token of that write.
    pub async fn write_by_api(&self, mut random: Random) {
        let mut pace = tokio::time::interval(WRITE_EVERY);
        while !self.is_over() {
            pace.tick().await;
            let at = random.below(self.ledger.rows().len());
            let row = self.ledger.row(at);
            let mut version = row.version.lock().await;
            if !version.exists {
                continue;
            }
            let (next, path) = (version.number + 1, format!("/products/{}", row.id));
            let json =
                format!(r#"{{"stock_quantity":{next},"price":{},"category":"{}"}}"#, random.below(1000), random.pick(&CATEGORIES));
            let written = self.some_replica(&mut random).send(Method::PATCH, &path, &json).await;
            assert_eq!(written.status, StatusCode::OK, "{written:?}");
            version.number = next;
            drop(version);
            self.tally.writes();
            self.wrote(at, next, &written);
            let paths = [path, format!("/products/batch?ids={}", row.id)];
            self.read_after(at, next, &written, &paths).await;
        }
    }

    /// New rows, each the first of its pages: by the API and by SQL in turn.
    pub async fn light_beacons(&self) {
        let mut pace = tokio::time::interval(WRITE_EVERY * 3);
        for version in 2.. {
            if self.is_over() {
                return;
            }
            pace.tick().await;
            self.tally.writes();
            if version % 2 == 0 {
                let end = self.town.stage.sql(&beacon(version)).await;
                self.ledger.pages().for_each(|page| self.ledger.committed(page, version, end));
                continue;
            }
            let json =
                format!(r#"{{"sku":"beacon-{version}","name":"n","category":"beacon","price":1,"stock_quantity":{version}}}"#);
            let written = self.town.replicas[0].send(Method::POST, "/products", &json).await;
            assert_eq!(written.status, StatusCode::CREATED, "{written:?}");
            for page in self.ledger.pages() {
                self.wrote(page, version, &written);
                self.read_after(page, version, &written, &[self.ledger.row(page).id.clone()]).await;
            }
        }
    }

    /// Reads at random, on either replica.
    pub async fn read(&self, mut random: Random) {
        while !self.is_over() {
            let path = self.some_path(&mut random);
            let floors = self.ledger.floors();
            let answer = self.some_replica(&mut random).get(&path).await;
            self.check(&floors, &path, &answer, "");
        }
    }

    /// One warm run after another.
    pub async fn warm(&self, mut random: Random) {
        let runs: [&[&str]; 3] = [&["--all"], &["--newest", "30"], &["--all", "--chunk", "3", "--concurrency", "2"]];
        while !self.is_over() {
            self.town.warm(random.pick(&runs)).await;
            self.tally.warm_runs();
        }
    }

    /// Tells the ledger how far the cache has come.
    pub async fn watch(&self) {
        let mut pace = tokio::time::interval(LOOK_EVERY);
        while !self.is_over() {
            pace.tick().await;
            let bytes: Option<Vec<u8>> = self.redis(&["GET", &self.town.ctl()]).await;
            let control = bytes.and_then(|bytes| Control::decode(&bytes));
            self.ledger.applied(control.map(|control| control.position.get()));
        }
    }

    /// Every path that is read, for the last look.
    pub fn paths(&self) -> Vec<String> {
        let ids: Vec<_> = self.ledger.rows().iter().map(|row| row.id.as_str()).collect();
        let lists = CATEGORIES.iter().flat_map(|category| SORTS.map(|sort| list(category, sort)));
        let rows = ids.iter().map(|id| format!("/products/{id}"));
        let batch = format!("/products/batch?ids={}", ids.join(","));
        lists.chain(rows).chain([batch]).chain(PAGES.map(str::to_owned)).collect()
    }

    fn some_replica(&self, random: &mut Random) -> &Api {
        &self.town.replicas[random.below(self.town.replicas.len())]
    }

    fn some_path(&self, random: &mut Random) -> String {
        let rows = self.ledger.rows();
        let some_id = |random: &mut Random| rows[random.below(rows.len())].id.as_str();
        match random.below(10) {
            0..=4 => format!("/products/{}", some_id(random)),
            5 | 6 => {
                let ids: Vec<_> = (0..4).map(|_| some_id(random)).collect();
                format!("/products/batch?ids={}", ids.join(","))
            }
            7 => list(random.pick(&CATEGORIES), random.pick(&SORTS)),
            _ => random.pick(&PAGES).to_owned(),
        }
    }

    /// Notes a write by the API.
    fn wrote(&self, at: usize, version: u64, written: &Answer) {
        let token: Token = written.header("freshline-token").parse().expect("a token");
        self.ledger.committed(at, version, token.lsn.get());
    }

    /// A read with the token of a write is never older, on either replica.
    async fn read_after(&self, at: usize, version: u64, written: &Answer, paths: &[String]) {
        let token = written.header("freshline-token");
        let read = async |api: &Api| {
            for path in paths {
                let floors = self.ledger.floors().with(at, version);
                let answer = api.get_after(token, path).await;
                self.check(&floors, path, &answer, "with its token");
            }
        };
        let [one, other] = &self.town.replicas;
        futures::join!(read(one), read(other));
    }

    /// Compares what was answered with what had to be answered at least.
    fn check(&self, floors: &super::Floors, path: &str, answer: &Answer, how: &str) {
        let is_hit = is_hit(answer);
        let saw = |at, version| {
            let what = || format!("{path} {how} {:?} {}", answer.headers, answer.body);
            self.ledger.saw(floors, at, version, is_hit, what);
        };
        self.tally.read(is_hit);
        if answer.status == StatusCode::NOT_FOUND {
            let id = path.rsplit('/').next().unwrap_or_default();
            return saw(self.ledger.find(id).expect("a row of ours"), None);
        }
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        let body = answer.json();
        let mut beacon = None;
        for item in items(&body) {
            let version = item["stock_quantity"].as_u64();
            match self.ledger.find(item["id"].as_str().unwrap_or_default()) {
                Some(at) => saw(at, version),
                None => beacon = beacon.max(version),
            }
        }
        if let Some(page) = self.ledger.find(path) {
            saw(page, beacon);
        }
        for id in body["missing"].as_array().into_iter().flatten() {
            saw(self.ledger.find(id.as_str().unwrap_or_default()).expect("a row of ours"), None);
        }
    }
}

/// What lights a beacon.
pub fn beacon(version: u64) -> String {
    format!(
        "insert into products (sku, name, category, price, stock_quantity) values ('beacon-{version}', 'n', 'beacon', 1, {version})"
    )
}

fn list(category: &str, sort: &str) -> String {
    format!("/products?category={category}&sort={sort}&limit=6")
}
