//! What HTTP offers beside the body: conditions, codings, HEAD, and what browsers and caches of others may do.

use std::io::Read;

use futures::future::join_all;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use stage::{
    Stage,
    servers::{Home, NGINX_CACHE, Nginx},
    until,
};

use crate::support::{Answer, Api, launch};

/// An API with a product, and the product's path and validator.
async fn with_product(stage: &Stage) -> (Api, String, String) {
    let api = Api::on(stage).await;
    let path = format!("/products/{}", api.made("A-1", "10").await["id"].as_str().expect("an id"));
    let etag = api.get(&path).await.header("etag").to_owned();
    (api, path, etag)
}

/// A change of this price, on a condition.
async fn priced(api: &Api, path: &str, if_match: &str, price: &str) -> Answer {
    let request = api.request(Method::PATCH, path).header(header::IF_MATCH, if_match);
    let request = request.header(header::CONTENT_TYPE, "application/merge-patch+json");
    Answer::of(request.body(format!("{{\"price\":{price}}}"))).await
}

#[tokio::test]
async fn a_write_on_what_is_not_there_any_more_is_refused_and_says_what_is() {
    let stage = Stage::new().await;
    let (api, path, seen) = with_product(&stage).await;
    stage.sql("update products set price = 11").await;
    let refused = priced(&api, &path, &seen, "12").await;
    refused.problem(412, "product-changed");
    assert_eq!(stage.value::<String>("select price::text from products").await, "11.00");
    let now = refused.header("etag").to_owned();
    let written = priced(&api, &path, &format!("\"another\", {now}"), "12").await;
    assert_eq!((written.status, &written.json()["price"]), (StatusCode::OK, &Value::from("12.00")));

    for (if_match, status) in [(&*now, StatusCode::PRECONDITION_FAILED), ("*", StatusCode::NO_CONTENT)] {
        let deleted = Answer::of(api.request(Method::DELETE, &path).header(header::IF_MATCH, if_match)).await;
        assert_eq!(deleted.status, status, "{deleted:?}");
    }
    // Without the product there is nothing that could have changed.
    priced(&api, &path, &now, "13").await.problem(404, "no-such-product");
}

#[tokio::test]
async fn of_many_who_change_the_same_thing_at_once_one_does() {
    let stage = Stage::new().await;
    let (api, path, seen) = with_product(&stage).await;
    let prices: Vec<String> = (20..36).map(|price| price.to_string()).collect();
    let answers = join_all(prices.iter().map(|price| priced(&api, &path, &seen, price))).await;
    let written: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::OK).collect();
    let refused = answers.iter().filter(|answer| answer.status == StatusCode::PRECONDITION_FAILED).count();
    assert_eq!((written.len(), refused), (1, 15), "{answers:?}");
    assert_eq!(written[0].json()["price"], stage.value::<String>("select price::text from products").await);
}

fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut plain).expect("gzip"),
        "br" => brotli::Decompressor::new(body, 4_096).read_to_end(&mut plain).expect("brotli"),
        "zstd" => return zstd::stream::decode_all(body).expect("zstd"),
        other => panic!("no coding {other}"),
    };
    plain
}

#[tokio::test]
async fn a_long_answer_comes_in_the_coding_that_is_asked_for_and_each_has_its_own_validator() {
    let stage = Stage::new().await;
    let api = Api::on(&stage).await;
    stage
        .sql("insert into products (sku, name, category, price) select 's-' || n, 'thing', 'c', n from generate_series(1, 30) n")
        .await;
    let plain = api.get("/products").await;
    assert!(!plain.headers.contains_key(header::CONTENT_ENCODING));
    let mut etags = vec![plain.header("etag").to_owned()];
    for coding in ["gzip", "br", "zstd"] {
        let ask = || api.request(Method::GET, "/products").header(header::ACCEPT_ENCODING, coding);
        let answer = ask().send().await.expect("an answer");
        assert_eq!(answer.headers()["content-encoding"], coding);
        assert_eq!(answer.headers()["vary"], "accept-encoding, freshline-token");
        let etag = answer.headers()["etag"].to_str().expect("text").to_owned();
        let body = answer.bytes().await.expect("a body");
        assert!(body.len() * 2 < plain.body.len(), "{coding}: {} bytes of {}", body.len(), plain.body.len());
        assert_eq!(decoded(coding, &body), plain.body.as_bytes());
        let known = Answer::of(ask().header(header::IF_NONE_MATCH, &etag)).await;
        assert_eq!((known.status, known.header("etag"), known.body.as_str()), (StatusCode::NOT_MODIFIED, etag.as_str(), ""));
        etags.push(etag);
    }
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 4, "{etags:?}");
}

#[tokio::test]
async fn a_head_is_a_read_without_its_body() {
    let stage = Stage::new().await;
    let (api, path, _) = with_product(&stage).await;
    for path in [path.as_str(), "/products", "/products/01920000-0000-7000-8000-000000000000"] {
        let (read, head) = (api.get(path).await, Answer::of(api.request(Method::HEAD, path)).await);
        assert_eq!((head.status, head.body.as_str()), (read.status, ""), "{path}");
        for name in ["etag", "content-type", "content-length", "cache-control", "vary"] {
            assert_eq!(head.headers.get(name), read.headers.get(name), "{name} of {path}");
        }
        assert!(head.header("server-timing").starts_with("app;dur="), "{head:?}");
    }
}

#[tokio::test]
async fn a_request_keeps_the_id_that_its_caller_gave_it() {
    let stage = Stage::new().await;
    let mut api = Api::on(&stage).await;
    let asked = async |api: &Api, id: &str| Answer::of(api.request(Method::GET, "/products").header("x-request-id", id)).await;
    assert_eq!(asked(&api, "cart-42").await.header("x-request-id"), "cart-42");
    let (one, other) = (api.get("/products").await, asked(&api, "two words").await);
    for answer in [&one, &other] {
        assert_eq!(answer.header("x-request-id").len(), 36, "{answer:?}");
    }
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    stage.sql("revoke all on products from freshline_api").await;
    let failed = asked(&api, "cart-43").await;
    assert_eq!(failed.problem(500, "internal")["instance"], "urn:freshline:request:cart%2D43");
    assert_eq!(failed.header("x-request-id"), "cart-43");
    assert!(api.process.line("request cart-43 failed").await.contains("permission denied"));
}

#[tokio::test]
async fn only_the_pages_that_are_named_may_ask_from_a_browser() {
    let stage = Stage::new().await;
    let none = Api::on(&stage).await;
    let some =
        Api::start(launch(&stage).variable("FRESHLINE_API_CORS_ORIGINS", "https://shop.example,http://localhost:3000")).await;
    let allowed = async |api: &Api, origin: &str| {
        let read = Answer::of(api.request(Method::GET, "/products").header(header::ORIGIN, origin)).await;
        read.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|origin| origin.to_str().expect("text").to_owned())
    };
    assert_eq!(allowed(&none, "https://shop.example").await, None);
    assert_eq!(allowed(&some, "https://shop.example").await.as_deref(), Some("https://shop.example"));
    assert_eq!(allowed(&some, "https://evil.example").await, None);

    let preflight = some.request(Method::OPTIONS, "/products/01920000-0000-7000-8000-000000000000");
    let preflight =
        preflight.header(header::ORIGIN, "http://localhost:3000").header(header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH");
    let preflight = Answer::of(preflight.header(header::ACCESS_CONTROL_REQUEST_HEADERS, "if-match, freshline-token")).await;
    assert_eq!(preflight.status, StatusCode::OK);
    let (methods, headers) = (preflight.header("access-control-allow-methods"), preflight.header("access-control-allow-headers"));
    assert!(methods.contains("PATCH") && headers.contains("if-match") && headers.contains("freshline-token"), "{preflight:?}");
}

/// An nginx in front of an API whose answers may be kept for so many seconds.
async fn behind_nginx(stage: &Stage, max_age: &str) -> (Api, Nginx, String) {
    let launch = launch(stage).variables([("FRESHLINE_API_PRODUCT_MAX_AGE_S", max_age), ("FRESHLINE_API_LIST_MAX_AGE_S", max_age)]);
    let api = Api::start(launch).await;
    let path = format!("/products/{}", api.made("A-1", "10").await["id"].as_str().expect("an id"));
    let nginx = Nginx::start(Home::scratch().expect("a home"), api.address()).await.expect("nginx starts");
    (api, nginx, path)
}

/// A read through nginx: what its cache made of it, and the price.
async fn read(api: &Api, nginx: &Nginx, path: &str, headers: &[(&str, &str)]) -> (String, Answer) {
    let request = api.client.get(format!("http://{}{path}", nginx.address()));
    let answer = Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await;
    (answer.header(NGINX_CACHE).to_owned(), answer)
}

#[tokio::test]
async fn behind_a_cache_that_was_told_nothing_every_read_is_ours() {
    let stage = Stage::new().await;
    let (api, nginx, path) = behind_nginx(&stage, "0").await;
    for price in ["10.00", "11.00", "12.00"] {
        stage.sql(&format!("update products set price = {price}")).await;
        let (cache, answer) = read(&api, &nginx, &path, &[]).await;
        assert_eq!((cache.as_str(), &answer.json()["price"]), ("MISS", &Value::from(price)));
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
}

#[tokio::test]
async fn a_cache_that_may_keep_answers_keeps_each_kind_apart_and_none_that_is_for_one_caller() {
    let stage = Stage::new().await;
    let (api, nginx, path) = behind_nginx(&stage, "600").await;
    let (_, first) = read(&api, &nginx, &path, &[]).await;
    assert_eq!(first.header("cache-control"), "public, max-age=600");
    assert_eq!(first.header("cache-tag"), path.trim_start_matches('/').replace('/', ":"));
    assert_eq!(read(&api, &nginx, &path, &[]).await.0, "HIT");

    // The promise ends here: nobody tells nginx of a change.
    let token = priced(&api, &path, "*", "11").await.header("freshline-token").to_owned();
    let (cache, stale) = read(&api, &nginx, &path, &[]).await;
    assert_eq!((cache.as_str(), &stale.json()["price"]), ("HIT", &Value::from("10.00")));
    for _ in 0..2 {
        let (cache, own) = read(&api, &nginx, &path, &[("freshline-token", &token)]).await;
        assert_eq!((cache.as_str(), &own.json()["price"]), ("MISS", &Value::from("11.00")));
        assert_eq!(own.header("cache-control"), "private, no-store");
    }
    nginx.forget().expect("forgotten");
    let (cache, fresh) = read(&api, &nginx, &path, &[]).await;
    assert_eq!((cache.as_str(), &fresh.json()["price"]), ("MISS", &Value::from("11.00")));

    stage
        .sql("insert into products (sku, name, category, price) select 's-' || n, 'thing', 'c', n from generate_series(1, 30) n")
        .await;
    for _ in 0..2 {
        let (_, plain) = read(&api, &nginx, "/products", &[]).await;
        assert!(!plain.headers.contains_key(header::CONTENT_ENCODING) && plain.json()["items"].is_array());
        let request = api.client.get(format!("http://{}/products", nginx.address())).header(header::ACCEPT_ENCODING, "gzip");
        let coded = request.send().await.expect("an answer");
        assert_eq!(coded.headers()["content-encoding"], "gzip");
        assert_eq!(decoded("gzip", &coded.bytes().await.expect("a body")), plain.body.as_bytes());
    }
}

#[tokio::test]
async fn a_cache_whose_answer_is_too_old_asks_whether_it_still_holds() {
    let stage = Stage::new().await;
    let (api, nginx, path) = behind_nginx(&stage, "1").await;
    read(&api, &nginx, &path, &[]).await;
    let revalidated = async || {
        let (cache, answer) = read(&api, &nginx, &path, &[]).await;
        if cache == "REVALIDATED" { Ok(Some(answer)) } else { Err(cache) }
    };
    assert_eq!(until("nginx has asked", revalidated).await.json()["price"], "10.00");
    stage.sql("update products set price = 11").await;
    let renewed = async || {
        let (cache, answer) = read(&api, &nginx, &path, &[]).await;
        if answer.json()["price"] == "11.00" { Ok(Some(cache)) } else { Err(cache) }
    };
    assert_eq!(until("nginx has the new one", renewed).await, "EXPIRED");
}
