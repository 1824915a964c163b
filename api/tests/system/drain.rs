//! How processes end while there is work: in order, so that no request fails and no change is lost; and by -9, so that it heals.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use futures::future::join_all;
use reqwest::{Client, Method, StatusCode};
use stage::until;

use crate::{
    support::{Api, launch},
    town::{Town, hit},
};

/// Callers at a time, half of them on connections that are kept.
const CALLERS: usize = 12;

/// How many requests are answered between two events.
const SOME: u64 = 300;

/// The grace that processes have by default, and time for a busy machine to notice that they are gone.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// How long a replica goes on accepting after it was asked to end: longer than the balancer takes to notice, on a busy machine too.
const LAME_DUCK: (&str, &str) = ("FRESHLINE_API_LAME_DUCK_MS", "2000");

/// How often the balancer asks each replica whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A load balancer before the replicas: it sends no more to one that says it is not ready, and goes to the next where nobody listens.
struct Balancer {
    /// Their addresses, and whether they are ready.
    replicas: Mutex<Vec<(String, bool)>>,
    turn: AtomicUsize,
    answered: AtomicU64,
    /// Requests that broke; only a replica that is killed may break any.
    broken: AtomicU64,
    over: AtomicBool,
}

impl Balancer {
    fn before(replicas: &[Api]) -> Self {
        Self {
            replicas: Mutex::new(replicas.iter().map(|api| (api.address().to_owned(), true)).collect()),
            turn: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    fn add(&self, api: &Api) {
        self.replicas().push((api.address().to_owned(), true));
    }

    fn replicas(&self) -> std::sync::MutexGuard<'_, Vec<(String, bool)>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the replicas whether they are ready, over and over.
    async fn look(&self) {
        let (client, mut pace) = (Client::new(), tokio::time::interval(LOOK_EVERY));
        while !self.over.load(SeqCst) {
            pace.tick().await;
            let addresses: Vec<_> = self.replicas().iter().map(|(address, _)| address.clone()).collect();
            for (at, address) in addresses.iter().enumerate() {
                let answer = client.get(format!("http://{address}/readyz")).send().await;
                self.replicas()[at].1 = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
            }
        }
    }

    /// The replicas that are ready, another one first each time; all of them where none is.
    fn in_turn(&self) -> Vec<String> {
        let mut replicas = self.replicas().clone();
        if replicas.iter().any(|(_, is_ready)| *is_ready) {
            replicas.retain(|(_, is_ready)| *is_ready);
        }
        let first = self.turn.fetch_add(1, Relaxed) % replicas.len();
        replicas.rotate_left(first);
        replicas.into_iter().map(|(address, _)| address).collect()
    }

    /// One request; the body of its answer, or nothing where the connection broke.
    async fn call(&self, client: &Client, method: &Method, path: &str, json: &str) -> Option<String> {
        for address in self.in_turn() {
            let request = client.request(method.clone(), format!("http://{address}{path}"));
            let answer = match request.header("content-type", "application/json").body(json.to_owned()).send().await {
                Ok(answer) => answer,
                Err(error) if error.is_connect() => continue,
                Err(error) => return self.broke(&address, &error),
            };
            let status = answer.status();
            let body = match answer.text().await {
                Ok(body) => body,
                Err(error) => return self.broke(&address, &error),
            };
            assert_eq!(status, StatusCode::OK, "{method} {path}: {body}");
            self.answered.fetch_add(1, SeqCst);
            return Some(body);
        }
        panic!("no replica listens");
    }

    /// Sends no more to a replica that broke a request, until it is seen to be ready: connections that are kept to it are gone as well.
    fn broke(&self, at: &str, error: &reqwest::Error) -> Option<String> {
        println!("a request broke: {error:?}");
        self.broken.fetch_add(1, SeqCst);
        self.replicas().iter_mut().filter(|(address, _)| address == at).for_each(|(_, is_ready)| *is_ready = false);
        None
    }

    /// Callers until [`Self::end`]: they read all paths, and one of four writes the first.
    async fn load(&self, paths: &[String]) {
        let kept = Client::new();
        let unkept = Client::builder().pool_max_idle_per_host(0).build().expect("a client");
        let caller = async |n: usize| {
            let client = if n.is_multiple_of(2) { &kept } else { &unkept };
            let mut quantity = 0;
            while !self.over.load(SeqCst) {
                quantity += 1;
                if n.is_multiple_of(4) {
                    let json = format!(r#"{{"stock_quantity":{quantity}}}"#);
                    self.call(client, &Method::PATCH, &paths[0], &json).await;
                } else {
                    self.call(client, &Method::GET, &paths[(n + quantity) % paths.len()], "").await;
                }
            }
        };
        futures::join!(join_all((0..CALLERS).map(caller)), self.look());
    }

    async fn some_answers(&self) {
        let target = self.answered.load(SeqCst) + SOME;
        until("some requests are answered", async || self.answered.load(SeqCst) >= target).await;
    }

    fn end(&self) {
        self.over.store(true, SeqCst);
    }
}

/// Three products, and the paths by which they are read.
async fn paths(town: &Town) -> Vec<String> {
    town.stage
        .sql("insert into products (sku, name, category, price) select 'sku-' || n, 'n', 'c', n from generate_series(1, 3) n")
        .await;
    let ids: Vec<String> = sqlx::query_scalar("select id::text from products").fetch_all(town.stage.pool()).await.expect("ids");
    town.drained().await;
    let rows = ids.iter().map(|id| format!("/products/{id}"));
    rows.chain([format!("/products/batch?ids={}", ids.join(",")), "/products?sort=price".to_owned()]).collect()
}

#[tokio::test]
async fn replicas_are_replaced_one_by_one_and_no_request_fails() {
    let mut town = Town::with(&[LAME_DUCK]).await;
    let paths = paths(&town).await;
    let balancer = Balancer::before(&town.replicas);
    let replacing = async {
        for old in &mut town.replicas {
            balancer.some_answers().await;
            let new = Api::start(launch(&town.stage)).await;
            balancer.add(&new);
            balancer.some_answers().await;
            old.process.terminate().expect("it runs");
            let status = old.process.wait(ENDS_WITHIN).await.expect("it ends within its grace");
            assert!(status.success(), "{}", old.process.tail());
            *old = new;
        }
        balancer.some_answers().await;
        balancer.end();
    };
    futures::join!(balancer.load(&paths), replacing);
    assert_eq!(balancer.broken.load(SeqCst), 0, "requests that had been taken broke");
    town.drained().await;
    town.assert_true(&paths).await;
}

#[tokio::test]
async fn an_invalidator_that_is_asked_to_end_does_so_at_once_and_loses_nothing() {
    let town = Town::new().await;
    let paths = paths(&town).await;
    let before = town.opened().await.generation;
    let balancer = Balancer::before(&town.replicas);
    let replacing = async {
        balancer.some_answers().await;
        {
            let mut invalidator = town.invalidator.lock().await;
            invalidator.terminate().expect("it runs");
            let status = invalidator.wait(ENDS_WITHIN).await.expect("it ends within its grace");
            assert!(status.success(), "{}", invalidator.tail());
        }
        balancer.some_answers().await; // what is written now waits in the slot
        town.restart_invalidator().await;
        balancer.some_answers().await;
        balancer.end();
    };
    futures::join!(balancer.load(&paths), replacing);
    assert_eq!(balancer.broken.load(SeqCst), 0);
    town.drained().await;
    assert_eq!(town.opened().await.generation, before, "nothing was lost, so nothing is given up");
    town.assert_true(&paths).await;
}

#[tokio::test]
async fn a_replica_that_is_killed_costs_its_open_requests_and_nothing_else() {
    let mut town = Town::new().await;
    let paths = paths(&town).await;
    let balancer = Balancer::before(&town.replicas);
    let killing = async {
        balancer.some_answers().await;
        // Values go, so that it dies with leases in its hands.
        town.stage.redis().run::<()>(&["FLUSHALL"]).await.expect("Redis answers");
        town.opened().await;
        town.replicas[0].process.kill().await.expect("killed");
        balancer.some_answers().await;
        town.replicas[0] = Api::start(launch(&town.stage)).await;
        balancer.add(&town.replicas[0]);
        balancer.some_answers().await;
        balancer.end();
    };
    futures::join!(balancer.load(&paths), killing);
    let broken = balancer.broken.load(SeqCst);
    assert!(broken <= CALLERS as u64, "{broken} requests broke, and {CALLERS} were open at most");
    town.drained().await;
    town.assert_true(&paths).await;
}

#[tokio::test]
async fn a_warm_run_that_is_killed_leaves_nothing_that_hinders_the_next() {
    let town = Town::new().await;
    let paths = paths(&town).await;
    let insert =
        "insert into products (sku, name, category, price) select 'more-' || n, 'n', 'more', 1 from generate_series(1, 300) n";
    town.stage.sql(insert).await;
    town.drained().await;
    let mut run = town.start_warm(&["--all", "--chunk", "5", "--rate", "100"]);
    until("some are warm", async || town.stage.redis().run::<u64>(&["DBSIZE"]).await.expect("Redis answers") > 20).await;
    run.kill().await.expect("killed");
    town.stage.sql("update products set stock_quantity = 7").await;
    until("all is warm", async || town.warm(&["--all"]).await).await;
    town.drained().await;
    assert!(hit(&town.replicas[0], &paths[0]).await.body.contains(r#""stock_quantity":7"#));
    town.assert_true(&paths).await;
}
