//! Management calls, on an open cache, without Redis, and without the token.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use stage::{Fault, Login, Stage, until};

use crate::{
    cached::{HIT, Town, hit},
    support::{Answer, Api, launch},
};

const TOKEN: &str = "a-token-of-many-characters";

async fn asked(api: &Api, method: Method, path: &str) -> Answer {
    Answer::of(api.request(method, path)).await
}

#[tokio::test]
async fn what_was_cached_is_read_anew_after_the_cache_was_cleared() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    let cleared = asked(&town.one, Method::DELETE, "/cache/clear").await;
    assert_eq!((cleared.status, &cleared.json()["closed"]), (StatusCode::OK, &json!(1)), "{cleared:?}");
    assert_eq!(cleared.json()["is_open"], true);
    let explained = town.other.get(&format!("{path}?explain=true")).await.json();
    assert_ne!(explained["explanation"]["refused_first_by"], Value::Null, "{explained}");
    town.hit(&path).await;
}

#[tokio::test]
async fn clearing_without_an_invalidator_says_that_nobody_has_opened_it_again() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    let cleared = until("Redis is there", async || {
        let answer = asked(&api, Method::POST, "/cache/clear").await;
        (answer.status != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    });
    let cleared = cleared.await;
    assert_eq!(cleared.status, StatusCode::ACCEPTED);
    let told = cleared.json();
    assert_eq!((&told["closed"], &told["is_open"], &told["generation"]), (&json!(0), &json!(false), &Value::Null));
}

#[tokio::test]
async fn what_depends_on_a_tag_is_read_anew_and_nothing_else_is() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    for list in ["/products", "/products?category=audio"] {
        town.hit(list).await;
    }
    let removed = asked(&town.one, Method::DELETE, "/cache/tags/products:category=audio").await;
    assert_eq!(removed.json(), json!({"tag": "products:category=audio", "was_there": true}));
    let refused = town.other.get("/products?category=audio&explain=true").await.json();
    assert_eq!(refused["explanation"]["page"]["refused_first_by"], "tag-changed", "{refused}");
    for untouched in ["/products", path.as_str()] {
        assert_eq!(town.other.get(untouched).await.header("cache-status"), HIT, "{untouched}");
    }
    town.hit("/products?category=audio").await;
    let unknown = asked(&town.one, Method::DELETE, "/cache/tags/products:category=a%2Fb%20c").await;
    assert_eq!(unknown.json(), json!({"tag": "products:category=a/b c", "was_there": false}));
    let long = "x".repeat(513);
    asked(&town.one, Method::DELETE, &format!("/cache/tags/{long}")).await.problem(400, "bad-request");
}

#[tokio::test]
async fn keys_are_paged_until_each_was_shown() {
    let town = Town::new().await;
    town.stage
        .sql("insert into products (sku, name, category, price) select 'S-' || n, 'n', 'audio', n from generate_series(1, 400) n")
        .await;
    let ids: Vec<String> = sqlx::query_scalar("select id::text from products").fetch_all(town.stage.pool()).await.expect("ids");
    town.cached("A-1").await;
    for some in ids.chunks(100) {
        town.hit(&format!("/products/batch?ids={}", some.join(","))).await;
    }
    town.hit("/products").await;
    let pages = async |prefix: &str| {
        let (mut names, mut pages, mut cursor) = (BTreeSet::new(), 0, None::<String>);
        loop {
            let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let page = town.one.get(&format!("/cache/keys?prefix={prefix}{after}")).await.json();
            for key in page["keys"].as_array().expect("keys") {
                assert!(key["bytes"].as_u64() > Some(60) && key["ttl_ms"].as_u64() > Some(0), "{key}");
                names.insert(key["key"].as_str().expect("a name").to_owned());
            }
            pages += 1;
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return (names, pages);
            }
        }
    };
    let (rows, count) = pages("products:0").await;
    assert!(ids.iter().all(|id| rows.contains(&format!("products:{id}"))), "each row is shown");
    assert!(count > 1, "401 keys are more than a page");
    assert_eq!(rows.len(), ids.len() + 1);
    assert_eq!(pages("products:list:").await.0.len(), 1);
    assert_eq!(pages("*").await.0.len(), 0, "a star is a star");
    for wrong in ["cursor=x", "cursor=-1", "cursor=01", "prefix=a&prefix=b", "limit=1"] {
        town.one.get(&format!("/cache/keys?{wrong}")).await.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn a_key_is_explained_as_the_control_command_does() {
    let town = Town::new().await;
    let (product, path) = town.cached("A-1").await;
    let key = path.replace("/products/", "products:");
    let told = town.other.get(&format!("/cache/explain/{key}")).await.json();
    assert!(told["is_served"] == true && told["verdict"].as_str().is_some_and(|verdict| verdict.starts_with("served")), "{told}");
    assert_eq!((&told["row"]["agrees"], &told["row"]["value"]["sku"]), (&json!(true), &product["sku"]), "{told}");
    assert_eq!(told["unseen"], json!([]));
    let list = "products:list:sort=newest:category=%25N:limit=20:after=%25N";
    let told = town.other.get(&format!("/cache/explain/{list}")).await.json();
    assert_eq!((&told["look"]["rule"], &told["look"]["tags"][0]["name"]), (&json!("missing"), &json!("products:newest")), "{told}");
    assert_eq!((&told["row"], &told["lease"]), (&Value::Null, &Value::Null));
    let odd = town.other.get("/cache/explain/products:%F0%9F%98%80%00").await.json();
    assert_eq!(odd["row"]["is_there"], false, "{odd}");
}

#[tokio::test]
async fn the_numbers_are_those_of_what_was_read() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    let before = town.one.get("/cache/stats").await.json();
    for _ in 0..3 {
        town.one.get(&path).await;
    }
    town.one.get("/products?limit=7").await;
    town.one.get("/categories").await;
    let after = town.one.get("/cache/stats").await.json();
    let grown = |pointer: &str| {
        let number = |stats: &Value| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer}: {stats}"));
        number(&after) - number(&before)
    };
    // The row of the page is a product that was read as well.
    assert_eq!((grown("/process/product/hits"), grown("/process/product/misses")), (4, 0));
    assert_eq!((grown("/process/page/misses"), grown("/process/categories/misses")), (1, 1));
    assert_eq!((grown("/process/all/hits"), grown("/process/refusals/missing")), (4, 2));
    assert!(grown("/redis/commands/processed") > 4);
    for some in ["/redis/memory/used_bytes", "/redis/clients/connected", "/redis/keyspace/keys", "/redis/keyspace/hits"] {
        assert!(after.pointer(some).and_then(Value::as_u64) > Some(0), "{some}: {after}");
    }
    let cache = &after["cache"];
    assert_eq!((&cache["stripes"], &cache["open"]), (&json!(1), &json!(1)));
    assert!(cache["position"].is_string() && cache["freshness_us"].is_u64() && cache["fenced"].is_u64(), "{cache}");
    assert_eq!(after["unseen"], json!([]));
}

#[tokio::test]
async fn reads_are_compared_and_bounded() {
    let town = Town::new().await;
    town.cached("A-1").await;
    let told = town.one.get("/cache/performance?n=50&keys=5").await.json();
    assert_eq!((&told["n"], &told["keys"], &told["hits"], &told["is_complete"]), (&json!(50), &json!(1), &json!(50), &json!(true)));
    for pointer in ["/cache/p50_us", "/cache/p99_us", "/postgres/p50_us", "/postgres/max_us", "/ratio/p50"] {
        assert!(told.pointer(pointer).and_then(Value::as_f64).is_some_and(|number| number > 0.0), "{pointer}: {told}");
    }
    for wrong in ["n=0", "n=1001", "n=1.5", "keys=101", "reads=5"] {
        town.one.get(&format!("/cache/performance?{wrong}")).await.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn a_second_measurement_is_told_to_come_again() {
    let stage = Stage::new().await;
    let api = Api::start(launch(&stage).variable("FRESHLINE_API_STATEMENT_MS", "20000")).await;
    let mut holder = stage.pool().begin().await.expect("a transaction");
    sqlx::query("lock table products in access exclusive mode").execute(&mut *holder).await.expect("a lock");
    let meanwhile = async {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        until("the first one waits", async || stage.value::<i64>(waiting).await > 0).await;
        let second = api.get("/cache/performance").await;
        holder.commit().await.expect("the lock goes");
        second
    };
    let (first, second) = futures::join!(api.get("/cache/performance"), meanwhile);
    second.problem(429, "measuring");
    assert_eq!(second.header("retry-after"), "10");
    assert_eq!((first.status, &first.json()["keys"], &first.json()["ratio"]), (StatusCode::OK, &json!(0), &Value::Null));
    assert_eq!(api.get("/cache/performance").await.status, StatusCode::OK, "it is the only one again");
}

#[tokio::test]
async fn without_redis_management_says_so_and_the_numbers_are_those_of_the_process() {
    let stage = Stage::new().await;
    let proxy = stage.redis_proxy().await;
    proxy.set(Fault::Refuse);
    let api = Api::start(launch(&stage).variable("FRESHLINE_REDIS_URL", proxy.before(&stage.redis_url(Login::Api)))).await;
    for (method, path) in [
        (Method::POST, "/cache/clear"),
        (Method::DELETE, "/cache/tags/a"),
        (Method::GET, "/cache/keys"),
        (Method::GET, "/cache/explain/products:1"),
    ] {
        let answer = asked(&api, method, path).await;
        answer.problem(503, "cache-unavailable");
        assert_eq!(answer.header("retry-after"), "1", "{path}");
    }
    let told = api.get("/cache/stats").await.json();
    assert!(told["redis"].is_null() && told["cache"].is_null() && told["unseen"][0].is_string(), "{told}");
    assert_eq!(told["process"]["all"], json!({"hits": 0, "from_fallback": 0, "misses": 0, "hit_rate_percent": null}));
}

#[tokio::test]
async fn only_the_token_manages_and_readers_need_none() {
    let stage = Stage::new().await;
    let api = Api::start(launch(&stage).variable("FRESHLINE_API_MANAGE_TOKEN", TOKEN)).await;
    let calls = [
        (Method::GET, "/cache/stats"),
        (Method::POST, "/cache/clear"),
        (Method::DELETE, "/cache/clear"),
        (Method::DELETE, "/cache/tags/a"),
        (Method::GET, "/cache/performance"),
        (Method::GET, "/cache/keys"),
        (Method::GET, "/cache/explain/a"),
        (Method::GET, "/events"),
    ];
    for (method, path) in calls {
        for shown in [None, Some("Bearer another-token-of-many"), Some("Basic YTpi")] {
            let request = api.request(method.clone(), path);
            let answer = Answer::of(if let Some(shown) = shown { request.header("authorization", shown) } else { request }).await;
            answer.problem(401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer "), "{answer:?}");
            assert!(!answer.body.contains("another-token"), "{answer:?}");
        }
    }
    let stats = Answer::of(api.request(Method::GET, "/cache/stats").bearer_auth(TOKEN)).await;
    assert_eq!(stats.status, StatusCode::OK);
    for open in ["/", "/products", "/health", "/health/cache", "/openapi.json", "/readyz?verbose"] {
        assert_ne!(api.get(open).await.status, StatusCode::UNAUTHORIZED, "{open}");
    }
}

#[tokio::test]
async fn management_at_a_port_of_its_own_is_nowhere_else() {
    let stage = Stage::new().await;
    let mut api = Api::start(launch(&stage).variable("FRESHLINE_API_MANAGE_ADDRESS", "127.0.0.1:0")).await;
    let line = api.process.line("management calls are answered on ").await;
    let apart = format!("http://{}", line.rsplit(' ').next().expect("an address"));
    let at_port = async |path: &str| Answer::of(api.client.get(format!("{apart}{path}"))).await;
    assert_eq!(at_port("/cache/stats").await.status, StatusCode::OK);
    for elsewhere in ["/cache/stats", "/events", "/"] {
        api.get(elsewhere).await.problem(404, "no-such-route");
    }
    // The page there is whole: it reads and writes products as well.
    for beside in ["/", "/products", "/livez"] {
        assert_eq!(at_port(beside).await.status, StatusCode::OK, "{beside}");
    }
    let paths = |document: Value| document["paths"].as_object().expect("paths").keys().cloned().collect::<Vec<_>>();
    assert!(paths(at_port("/openapi.json").await.json()).iter().any(|path| path.starts_with("/cache/")));
    assert!(paths(api.get("/openapi.json").await.json()).iter().all(|path| !path.starts_with("/cache/")));
    // It ends with the process, in order.
    api.process.terminate().expect("asked to end");
    assert!(api.process.wait(std::time::Duration::from_secs(20)).await.expect("it ends").success());
}

#[tokio::test]
async fn a_port_for_everybody_without_a_token_is_refused_at_start() {
    let stage = Stage::new().await;
    let refused = launch(&stage).variable("FRESHLINE_API_ADDRESS", "0.0.0.0:0");
    let mut process = stage::Process::start(refused.clone()).expect("started");
    let line = process.line("FRESHLINE_API_MANAGE_TOKEN").await;
    assert!(line.contains("FRESHLINE_API_MANAGE_WITHOUT_TOKEN=true"), "{line}");
    assert!(!process.wait(std::time::Duration::from_secs(20)).await.expect("it ends").success());
    let mut process = stage::Process::start(refused.variable("FRESHLINE_API_MANAGE_WITHOUT_TOKEN", "true")).expect("started");
    process.line("listening on ").await;
}

#[tokio::test]
async fn two_replicas_agree_on_what_was_cleared() {
    let town = Town::new().await;
    let (_, path) = town.cached("A-1").await;
    hit(&town.other, &path).await;
    asked(&town.one, Method::POST, "/cache/clear").await;
    let stale = town.other.get(&path).await;
    assert_ne!(stale.header("cache-status"), HIT, "the other replica serves what was cleared");
    hit(&town.other, &path).await;
}
