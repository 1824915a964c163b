//! The least rights in Redis: under those that the documentation tells operators to give, everything works, and nothing else does.

use reqwest::{Method, StatusCode};
use stage::{Login, until};

use crate::{
    support::{Answer, Api},
    town::{Town, hit},
};

/// What operators are told to load.
const USERS: &str = include_str!("../../../docs/redis-users.acl");

/// The rights of a user, for the keys of this namespace.
fn rights(user: &str, namespace: &str) -> Vec<String> {
    let line = USERS.lines().find(|line| line.split(' ').nth(1) == Some(user)).unwrap_or_else(|| panic!("{user} is not in it"));
    let rules = line.split(' ').skip(2).filter(|rule| !rule.starts_with('>'));
    rules.map(|rule| rule.replace("freshline", namespace)).collect()
}

/// What operators ask, one call of each kind.
async fn manage(one: &Api) {
    let tag = Answer::of(one.request(Method::DELETE, "/cache/tags/products:newest")).await;
    assert_eq!(tag.json()["was_there"], true, "{tag:?}");
    for seen in [
        "/cache/stats",
        "/cache/keys?prefix=products",
        "/cache/explain/products:newest",
        "/cache/performance",
        "/health",
        "/health/cache",
    ] {
        let seen = one.get(seen).await;
        assert!(seen.status == StatusCode::OK && !seen.body.contains("NOPERM"), "{seen:?}");
    }
    assert_eq!(Answer::of(one.request(Method::POST, "/cache/clear")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn under_the_documented_rights_everything_works_and_nothing_else_does() {
    let town = Town::new().await;
    let redis = town.stage.redis();
    for login in Login::ROLES {
        let rules = rights(login.redis_name(), town.stage.name());
        let words: Vec<&str> = ["ACL", "SETUSER", login.redis_name(), "resetkeys", "resetchannels"]
            .into_iter()
            .chain(rules.iter().map(String::as_str))
            .collect();
        redis.run::<()>(&words).await.expect("rules that Redis takes");
    }
    redis.run::<()>(&["ACL", "LOG", "RESET"]).await.expect("forgotten");
    redis.run::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.expect("all connect anew");

    // Reads, lists, batches, tags, leases, fills, tokens; writes and what they remove, replace and fence; a new generation; a warm run.
    let [one, other] = &town.replicas;
    let product = one.made("sku-1", "1").await;
    let path = format!("/products/{}", product["id"].as_str().expect("an id"));
    let batch = format!("/products/batch?ids={}", product["id"].as_str().expect("an id"));
    town.opened().await;
    for path in [path.as_str(), "/products", "/products?category=audio&sort=price", &batch] {
        hit(one, path).await;
        hit(other, path).await;
    }
    let patched = one.send(Method::PATCH, &path, r#"{"price":2}"#).await;
    let own = other.get_after(patched.header("freshline-token"), &path).await;
    assert_eq!((own.status, own.json()["price"].as_str()), (StatusCode::OK, Some("2.00")));
    town.drained().await;
    town.assert_true([path.as_str(), "/products"]).await;
    assert_eq!(one.send(Method::DELETE, &path, "").await.status, StatusCode::NO_CONTENT);
    town.stage.sql("truncate products").await;
    town.stage
        .sql("insert into products (sku, name, category, price) select 'n' || n, 'n', 'audio', n from generate_series(1, 50) n")
        .await;
    town.drained().await;
    manage(one).await;
    until("all is warm", async || town.warm(&["--all"]).await).await;
    assert!(town.warm(&["--all"]).await, "it is there already");
    town.restart_invalidator().await;
    town.opened().await;
    redis.run::<()>(&["DEL", &town.ctl()]).await.expect("closed");
    town.opened().await;
    town.assert_true(["/products"]).await;

    let denied: Vec<redis::Value> = redis.run(&["ACL", "LOG"]).await.expect("a log");
    assert!(denied.is_empty(), "{denied:#?}");

    for login in Login::ROLES {
        assert_nothing_else(&town, login).await;
    }
}

/// Whatever no process of ours needs is refused.
async fn assert_nothing_else(town: &Town, login: Login) {
    let client = redis::Client::open(town.stage.redis_url(login)).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    for words in [
        &["FLUSHALL"][..],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["CONFIG", "GET", "*"],
        &["KEYS", "*"],
        &["EVAL", "return 1", "0"],
        &["SCRIPT", "FLUSH"],
        &["ACL", "LIST"],
        &["CLIENT", "LIST"],
        &["DEBUG", "SLEEP", "0"],
        &["SHUTDOWN", "NOSAVE"],
        &["REPLICAOF", "NO", "ONE"],
        &["MONITOR"],
        &["GET", "another's"],
        &["SET", "{other.0}ctl", "x"],
    ] {
        let refused = redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut connection).await;
        let refused = refused.expect_err(&format!("{login:?} may {words:?}"));
        assert_eq!(refused.code(), Some("NOPERM"), "{login:?} {words:?}: {refused}");
    }
}
